"""Which weights mix inputs and which are gains: torch's layers, those of other packages, and what only looks like one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from paraminspect.modules.mixing_weights import is_norm, is_of_norm, mixes_inputs
from tests.cases import each


def mixing(module: nn.Module) -> set[str]:
    """Return the leaves of a module's own parameters called weight that mix inputs."""
    own = module.named_parameters(recurse=False)
    return {name for name, p in own if "weight" in name and mixes_inputs(module, name, tuple(p.shape))}


NORMS = [
    nn.BatchNorm1d(4),
    nn.BatchNorm3d(1),
    nn.SyncBatchNorm(4),
    nn.InstanceNorm2d(4, affine=True),
    nn.GroupNorm(2, 4),
    nn.LayerNorm(4),
    nn.LayerNorm((4, 4)),
    nn.LayerNorm((4, 4), bias=False),
    nn.RMSNorm((3, 4)),
    nn.LocalResponseNorm(2),
]


@each("module", NORMS, ids=repr)
def test_norms_of_torch(module: nn.Module) -> None:
    assert is_norm(module)
    assert mixing(module) == set()


LAYERS = [
    nn.Linear(4, 3),
    nn.Conv1d(1, 4, 1),
    nn.Conv2d(4, 4, 1, groups=4),
    nn.ConvTranspose2d(4, 2, 3),
    nn.Bilinear(2, 3, 4),
    nn.Embedding(5, 4),
    nn.EmbeddingBag(5, 4),
]


@pytest.mark.parametrize("module", LAYERS, ids=repr)
def test_layers_of_torch(module: nn.Module) -> None:
    assert not is_norm(module)
    assert mixing(module) == {"weight"}


def test_packed_weights() -> None:
    assert mixing(nn.MultiheadAttention(8, 2)) == {"in_proj_weight"}
    apart = {"q_proj_weight", "k_proj_weight", "v_proj_weight"}
    assert mixing(nn.MultiheadAttention(8, 2, kdim=4, vdim=6)) == apart
    assert mixing(nn.LSTM(4, 6, proj_size=3)) == {"weight_ih_l0", "weight_hh_l0", "weight_hr_l0"}
    assert mixing(nn.GRUCell(4, 3)) == {"weight_ih", "weight_hh"}


def test_parametrised_layers_are_what_they_were() -> None:
    assert is_norm(parametrizations.weight_norm(nn.LayerNorm((4, 4))))
    assert mixes_inputs(parametrizations.weight_norm(nn.Linear(4, 3)), "weight", (3, 4))


def of(name: str, base: type[nn.Module] = nn.Module, **shapes: tuple[int, ...]) -> nn.Module:
    """Build a module of a class called `name` with parameters of these shapes; `base` takes (4, 3) if it is torch's."""
    module = type(name, (base,), {"__module__": "elsewhere"})(*(() if base is nn.Module else (4, 3)))
    for leaf, shape in shapes.items():
        setattr(module, leaf, nn.Parameter(torch.ones(shape)))
    return module


GAINS = {
    "LlamaRMSNorm": {"weight": (8,)},
    "LayerNorm2d": {"weight": (1, 8, 1, 1), "bias": (1, 8, 1, 1)},
    "ConvNextLayerNorm": {"weight": (4, 4), "bias": (4, 4)},
    "MyBatchnorm": {"weight": (1, 8), "bias": (1, 8)},
    "BatchNormAct2d": {"weight": (8,), "bias": (8,)},
    "Layer_Norm": {"weight": (4, 4)},
    "BatchNormalization": {"weight": (2, 4), "bias": (2, 4)},
    "L2Normalize": {"weight": (1, 8)},
    "ConvNextV2GRN": {"weight": (1, 1, 1, 8), "bias": (1, 1, 1, 8)},
    "Affine": {"weight": (8,), "bias": (8,)},
    "InPlaceABN": {"weight": (8,), "bias": (8,)},
}


@each("name", GAINS)
def test_norms_of_other_packages(name: str) -> None:
    module = of(name, **GAINS[name])
    assert is_norm(module)
    assert mixing(module) == set()


MATRICES = {
    "Conv1D": {"weight": (4, 12), "bias": (12,)},
    "NormalLinear": {"weight": (4, 3)},
    "NormedLinear": {"weight": (4, 3)},
    "NormalizedEmbedding": {"weight": (4, 3)},
    "LayerNormLinear": {"weight": (4, 3), "bias": (4,)},
    "LogNormalLayer": {"weight": (4, 3)},
    "FusedLayerNorm": {"weight": (4, 3), "bias": (4,)},
    "Experts": {"weight": (2, 4, 3), "bias": (2, 3)},
    "OneInput": {"weight": (1, 8), "bias": (1, 8)},
    "OneOutput": {"weight": (1, 8), "bias": (1,)},
    "ModulatedConv": {"weight": (1, 4, 3, 3, 3)},
    "NormalizingFlow": {"weight": (4, 4)},
}


@each("name", MATRICES)
def test_weights_of_other_packages(name: str) -> None:
    module = of(name, **MATRICES[name])
    assert not is_norm(module)
    assert mixing(module) == {"weight"}


def test_what_is_neither_a_norm_nor_mixes() -> None:
    for shape in ((), (8,), (8, 1, 1), (1, 1, 8)):
        module = of("Scale", weight=shape)
        assert not is_norm(module)
        assert mixing(module) == set()
    assert not is_norm(nn.PReLU(4)) and mixing(nn.PReLU(4)) == set()


def test_a_class_is_what_its_base_is() -> None:
    assert is_norm(type("Last", (nn.LayerNorm,), {"__module__": "elsewhere"})((4, 4)))
    assert mixing(of("NormLast", nn.Linear)) == {"weight"}
    assert is_norm(type("Last", (type(of("T5LayerNorm")),), {"__module__": "elsewhere"})())


def test_a_norm_inside_of_a_layer() -> None:
    fused = of("LayerNormLinear", weight=(4, 3), bias=(4,), layer_norm_weight=(3,), layer_norm_bias=(3,))
    assert mixing(fused) == {"weight"}
    assert [name for name, _ in fused.named_parameters() if is_of_norm(fused, name)] == [
        "layer_norm_weight",
        "layer_norm_bias",
    ]


def test_a_line_through_points_has_a_bias() -> None:
    assert not is_norm(of("LinearRegression", weight=(1,), bias=(1,)))
    assert not is_norm(of("Line", weight=(1,), bias=(1,)))
    assert not is_norm(of("Model", weight=(3,), bias=(1,)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_a_script_keeps_its_class() -> None:
    net = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm((4, 4), bias=False)))
    linear, norm = net.children()
    assert mixing(linear) == {"weight"}
    assert is_norm(norm) and mixing(norm) == set()
