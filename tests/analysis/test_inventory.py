"""Every tensor of any module has its row, under torch's own names, against what torch itself says."""

from __future__ import annotations

import collections
import enum
import warnings

import pytest
import torch
import torch.ao.nn.quantized as quantized
import torch.ao.nn.quantized.dynamic as dynamic
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from paraminspect.analysis.inventory import Inventory, TensorEntry, count, counted_by_torch, take_inventory
from paraminspect.modules import hidden_weights
from paraminspect.modules.walk import names_of_parameters
from paraminspect.report import Totals
from tests.cases import each
from tests.zoo import HEALTHY


def rows(module, kind=None):
    return {entry.name: entry for entry in take_inventory(module).entries if kind in (None, entry.kind)}


def quiet(build, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return build(*args, **kwargs)


class Odd(nn.Module):
    """Parameters in every place torch has for them; one shared, one that is None, a buffer nobody saves."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.ones(2, 3))
        self.register_parameter("none", None)
        self.inner = nn.Sequential(collections.OrderedDict(first=nn.Linear(3, 2), nothing=nn.Identity()))
        self.again = self.inner
        self.rest = nn.ParameterList([nn.Parameter(torch.ones(3)), self.W])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(4))})
        self.missing = None
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("lost", torch.zeros(5), persistent=False)
        self.inner.register_buffer("kept", self.kept)


MODELS = {
    **{name: lambda build=build: build().module for name, build in HEALTHY.items()},
    "odd": Odd,
    "scripted": lambda: quiet(torch.jit.script, nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))),
    "traced": lambda: quiet(torch.jit.trace, nn.Linear(3, 2), torch.ones(1, 3)),
    "compiled": lambda: quiet(torch.compile, nn.Linear(3, 2), backend="eager"),
    "parallel": lambda: nn.DataParallel(nn.Linear(3, 2)),
}


@each("build", MODELS.values(), ids=MODELS)
def test_the_rows_are_what_torch_registers(build):
    module = build()
    inventory = take_inventory(module)
    for kind, named in (("parameter", module.named_parameters), ("buffer", module.named_buffers)):
        expected = {}
        for name, tensor in named(remove_duplicate=False):
            expected.setdefault(id(tensor), []).append(name)
        assert [list(entry.names) for entry in inventory.of_kind(kind)] == [*expected.values()]
    registered = dict(module.named_modules(remove_duplicate=False))
    assert list(inventory.modules.items())[: len(registered)] == list(registered.items())
    saved = module.state_dict()
    assert [entry.name for entry in inventory.of_kind("buffer") if entry.persistent] == [
        entry.name for entry in inventory.of_kind("buffer") if entry.name in saved
    ]
    assert inventory.notes == ()


@each("build", MODELS.values(), ids=MODELS)
def test_the_totals_are_what_torch_counts(build):
    module = build()
    known = [p for p in module.parameters() if not nn.parameter.is_lazy(p)]
    buffers = [b for b in module.buffers() if not nn.parameter.is_lazy(b)]
    totals = count(take_inventory(module))
    assert totals.parameters == sum(p.numel() for p in known) == counted_by_torch(module)
    assert totals.trainable == sum(p.numel() for p in known if p.requires_grad)
    assert totals.bytes == sum(p.numel() * p.element_size() for p in known)
    assert (totals.buffers, totals.buffer_bytes) == (
        sum(b.numel() for b in buffers),
        sum(b.numel() * b.element_size() for b in buffers),
    )
    assert totals.unknown == sum(map(nn.parameter.is_lazy, (*module.parameters(), *module.buffers())))


@each("build", MODELS.values(), ids=MODELS)
def test_names_of_groups_the_names_of_each_parameter(build):
    module = build()
    expected = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        expected.setdefault(id(parameter), []).append(name)
    assert [(id(p), [*names]) for p, names in names_of_parameters(module)] == [*expected.items()]


def test_one_buffer_under_two_names_is_saved_if_one_of_them_is():
    module = Odd()
    assert {name: (entry.names, entry.persistent) for name, entry in rows(module, "buffer").items()} == {
        "kept": (("kept", "inner.kept", "again.kept"), True),
        "lost": (("lost",), False),
    }


# --- weights that are computed -----------------------------------------------------------------------------------


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def pruned():
    layer = nn.Linear(4, 3)
    prune.l1_unstructured(layer, "weight", 0.5)
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


def old_weight_norm():
    return quiet(nn.utils.weight_norm, nn.Linear(4, 3))


def run_without_gradient(layer):
    with torch.no_grad():
        layer(torch.ones(2, 4))
    return layer


def by_hand():
    """A norm of one's own, in torch's old way: the stored tensors are parameters, the weight an attribute."""
    layer = nn.Linear(4, 3)
    layer.weight_orig = layer.weight
    del layer.weight
    layer.weight = layer.weight_orig.detach() * 2
    return layer


def doubled():
    layer = parametrizations.spectral_norm(nn.Linear(4, 3))
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


COMPUTED = {
    "pruned": (pruned, {"weight_orig": "prune", "weight_mask": "prune"}),
    "old weight_norm": (old_weight_norm, {"weight_g": "weight_norm", "weight_v": "weight_norm"}),
    "old weight_norm, run without gradient": (
        lambda: run_without_gradient(old_weight_norm()),
        {"weight_g": "weight_norm", "weight_v": "weight_norm"},
    ),
    "old spectral_norm": (
        lambda: nn.utils.spectral_norm(nn.Linear(4, 3)),
        {"weight_orig": "spectral_norm", "weight_u": "spectral_norm", "weight_v": "spectral_norm"},
    ),
    "weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
        {f"parametrizations.weight.original{i}": "weight_norm" for i in (0, 1)},
    ),
    "spectral_norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
        {"parametrizations.weight.original": "spectral_norm"},
    ),
    "orthogonal": (
        lambda: parametrizations.orthogonal(nn.Linear(4, 3)),
        {"parametrizations.weight.original": "orthogonal"},
    ),
    "two in a row": (doubled, {"parametrizations.weight.original": "spectral_norm and Doubled"}),
    "by hand": (by_hand, {"weight_orig": "its module"}),
}
COMPUTED_IN_LSTM = {
    "old weight_norm": (nn.utils.weight_norm, {"weight_hh_l0_g", "weight_hh_l0_v"}),
    "weight_norm": (
        parametrizations.weight_norm,
        {"parametrizations.weight_hh_l0.original0", "parametrizations.weight_hh_l0.original1"},
    ),
}


@each(("build", "stored"), COMPUTED.values(), ids=COMPUTED)
def test_stored_tensors_are_rows_that_say_what_is_computed(build, stored):
    module = nn.Sequential(build())
    entries = take_inventory(module).entries
    assert {entry.name: entry.note for entry in entries if entry.note} == {
        f"0.{name}": f"stored for '0.weight', which {how} computes" for name, how in stored.items()
    }
    assert {entry.name for entry in entries} == set(module.state_dict())


@pytest.mark.parametrize(("norm", "stored"), COMPUTED_IN_LSTM.values(), ids=COMPUTED_IN_LSTM)
def test_flat_weights_of_a_recurrent_layer_are_not_forgotten(norm, stored):
    entries = take_inventory(quiet(norm, nn.LSTM(3, 4), "weight_hh_l0")).entries
    assert {entry.name for entry in entries if entry.note} == stored
    assert {entry.kind for entry in entries} == {"parameter"}
    assert sum(entry.numel for entry in entries) == 16 * 3 + 16 * 4 + 16 + 16 + 16


def test_looking_does_not_compute_a_parametrised_weight():
    layer = parametrizations.spectral_norm(nn.Linear(4, 3)).train()
    before = layer.parametrizations.weight[0]._u.clone()
    take_inventory(layer)
    assert torch.equal(before, layer.parametrizations.weight[0]._u)


# --- quantised layers --------------------------------------------------------------------------------------------

PACKED = {
    "static linear": (
        lambda: quantized.Linear(4, 3),
        {"_packed_params._packed_params[0]": ("qint8", 12, 12), "_packed_params._packed_params[1]": ("float32", 3, 12)},
    ),
    "linear in half precision": (
        lambda: dynamic.Linear(4, 3, dtype=torch.float16),
        {
            "_packed_params._packed_params[0]": ("float16", 12, 24),
            "_packed_params._packed_params[1]": ("float32", 3, 12),
        },
    ),
    "convolution": (
        lambda: quantized.Conv2d(3, 4, 3),
        {"weight": ("qint8", 108, 108), "bias": ("float32", 4, 16)},
    ),
    "embedding": (lambda: quantized.Embedding(5, 12), {"_packed_params._packed_weight": ("quint8", 60, 60)}),
    "lstm": (
        lambda: dynamic.LSTM(3, 4),
        {
            "_all_weight_values.0.param[0]": ("qint8", 48, 48),
            "_all_weight_values.0.param[1]": ("float32", 16, 64),
            "_all_weight_values.0.param[2]": ("qint8", 64, 64),
            "_all_weight_values.0.param[3]": ("float32", 16, 64),
        },
    ),
}


@pytest.mark.parametrize(("build", "expected"), PACKED.values(), ids=PACKED)
def test_packed_weights_are_unpacked_and_counted(build, expected):
    found = rows(quiet(build))
    assert {
        name: (str(entry.tensor.dtype).removeprefix("torch."), entry.numel, entry.bytes)
        for name, entry in found.items()
    } == expected
    assert {(entry.kind, entry.persistent, entry.note) for entry in found.values()} == {
        ("buffer", True, hidden_weights.UNPACKED)
    }


def test_a_packed_weight_that_torch_let_go_of_is_unknown(monkeypatch):
    def fail(*_):
        raise RuntimeError("Cannot unpack weights")

    monkeypatch.setattr(hidden_weights, "_parts", fail)
    inventory = take_inventory(quiet(quantized.Linear, 4, 3))
    (entry,) = inventory.entries
    assert (entry.name, entry.numel, entry.note) == ("_packed_params._packed_params", None, hidden_weights.NOT_UNPACKED)
    assert count(inventory).unknown == 1


# --- counts and bytes --------------------------------------------------------------------------------------------

TENSORS = {
    "half": (lambda: torch.zeros(3, 4, dtype=torch.half), 12, 24),
    "bool": (lambda: torch.zeros(7, dtype=torch.bool), 7, 7),
    "complex": (lambda: torch.zeros(3, dtype=torch.complex128), 3, 48),
    "8-bit float": (lambda: torch.zeros(3).to(torch.float8_e4m3fn), 3, 3),
    "expanded": (lambda: torch.zeros(1, 3).expand(1000, 3), 3000, 12000),
    "empty": (lambda: torch.zeros(0, 3), 0, 0),
    "scalar": (lambda: torch.tensor(1.0), 1, 4),
    "beyond 64 bits of bytes": (lambda: torch.empty(2**31, 2**28, device="meta"), 2**59, 2**61),
    "quantised": (lambda: torch.quantize_per_tensor(torch.ones(3, 5), 0.1, 0, torch.qint8), 15, 15),
    "two to a byte": (
        lambda: torch.quantize_per_channel(torch.ones(4, 8), torch.ones(4), torch.zeros(4), 0, torch.quint4x2),
        32,
        16,
    ),
    "sparse": (lambda: torch.eye(3).to_sparse(), 9, 3 * 4 + 2 * 3 * 8),
    "compressed": (lambda: torch.eye(3).to_sparse_csr(), 9, 3 * 4 + (4 + 3) * 8),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), 5, 20),
}


@each(("build", "numel", "size"), TENSORS.values(), ids=TENSORS)
def test_counts_and_bytes(build, numel, size):
    module = nn.Module()
    tensor = quiet(build)
    module.register_buffer("t", tensor)
    if tensor.dtype.is_floating_point:
        module.p = nn.Parameter(tensor)
    entries = take_inventory(module).entries
    assert {(entry.numel, entry.bytes) for entry in entries} == {(numel, size)}
    totals = count(take_inventory(module))
    assert (totals.buffers, totals.buffer_bytes) == (numel, size)
    assert all(type(figure) is int for figure in vars(totals).values() if figure is not None)


def test_what_has_no_shape_yet_is_unknown():
    found = rows(nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d()))
    assert {name for name, entry in found.items() if (entry.shape, entry.numel, entry.bytes) == ((), None, None)} == {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    }


# --- the walk ----------------------------------------------------------------------------------------------------


def nested(depth, *names):
    """Put a Linear below `depth` modules, each of which holds the next under all of `names`."""
    module = nn.Linear(1, 1)
    for _ in range(depth):
        outer = nn.Module()
        for name in names:
            outer.register_module(name, module)
        module = outer
    return module


@pytest.mark.parametrize("depth", [40, 5_000])
def test_any_depth(depth):
    inventory = take_inventory(nested(depth, "a"))
    assert [entry.names for entry in inventory.entries] == [("a." * depth + "weight",), ("a." * depth + "bias",)]
    assert len(inventory.modules) == depth + 1
    assert inventory.notes == ()


def test_few_enough_names_are_all_listed():
    inventory = take_inventory(nested(10, "a", "b"))
    assert len(inventory.entries[0].names) == 2**10
    assert count(inventory).as_named == 2 * 2**10
    assert inventory.notes == ()


def test_too_many_names_are_cut_and_no_tensor_is_lost():
    module = nested(40, "a", "b")
    module.last = nn.Linear(2, 2)
    inventory = take_inventory(module)
    assert [(entry.name, entry.numel) for entry in inventory.entries] == [
        ("a." * 40 + "weight", 1),
        ("a." * 40 + "bias", 1),
        ("last.weight", 4),
        ("last.bias", 2),
    ]
    assert len(inventory.modules) < 11_000
    assert inventory.notes == ("modules go by more than 10,000 further names: some are left out, no tensor is",)


def test_a_long_row_of_one_layer_is_listed_in_full():
    (weight, _bias) = take_inventory(nn.Sequential(*[nn.Linear(1, 1)] * 12_000)).entries
    assert weight.names == tuple(f"{i}.weight" for i in range(12_000))


def above(module):
    """Hold a module as ``0`` without asking it anything."""
    outer = nn.Sequential()
    outer._modules["0"] = module
    return outer


class Child(nn.Module):
    """Registers its parent, which is a common slip."""

    def __init__(self, parent):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.parent = parent


def test_a_child_that_registers_its_parent():
    module = nn.Sequential(nn.Linear(1, 1))
    for _ in range(4):
        module.append(Child(module))
    inventory = take_inventory(module)
    assert [name for entry in inventory.entries for name in entry.names] == [
        "0.weight",
        "0.bias",
        "1.w",
        "2.w",
        "3.w",
        "4.w",
    ]
    assert list(inventory.modules) == ["", "0", "1", "2", "3", "4"]
    assert inventory.notes == (
        "left out, for they lead back to a module above them: '1.parent', '2.parent', '3.parent' and 1 more",
    )
    assert counted_by_torch(module) == 6


# --- modules that misbehave --------------------------------------------------------------------------------------


class Evil(nn.Module):
    """Whatever is asked of it raises; what it holds can still be read."""

    def fail(self, *args, **kwargs):
        raise RuntimeError("user code ran")

    __getattr__ = __eq__ = __hash__ = __repr__ = __bool__ = __len__ = __iter__ = __getitem__ = fail
    named_parameters = named_modules = named_children = children = modules = parameters = state_dict = fail
    weight = property(fail)
    __dict__ = property(fail)


def evil():
    module = nn.Module()
    module.layer = nn.Linear(2, 2)
    module.hidden = [nn.Linear(3, 3)]
    module.__class__ = Evil
    return module


def test_no_code_of_the_module_runs():
    inventory = take_inventory(above(evil()))
    assert [entry.name for entry in inventory.entries] == [
        "0.layer.weight",
        "0.layer.bias",
        "0.hidden[0].weight",
        "0.hidden[0].bias",
    ]


class Trainable(nn.Linear):
    def parameters(self, recurse=True):
        return [self.bias]


class Uninitialised(nn.Module):
    def __init__(self):
        pass


@pytest.mark.parametrize(
    ("build", "truth", "note"),
    [
        (evil, None, "Evil has its own parameters()"),
        (lambda: above(evil()), None, "Evil has its own named_modules()"),
        (lambda: Trainable(3, 2), None, "Trainable has its own parameters()"),
        (lambda: nn.Sequential(Trainable(3, 2)), 8, None),
        (Uninitialised, None, None),
        (lambda: nested(5_000, "a"), None, None),
    ],
    ids=["evil", "evil inside", "own parameters", "own parameters inside", "uninitialised", "deep"],
)
def test_torch_is_asked_only_where_it_can_tell(build, truth, note):
    module = build()
    assert counted_by_torch(module) == truth
    expected = () if note is None else (f"{note}: the rows are what is registered, which is what state_dict saves",)
    assert take_inventory(module).notes == expected


class Key(enum.StrEnum):
    A = "a"


def test_names_are_torchs_also_where_they_are_no_plain_text():
    module = nn.ModuleDict({Key.A: nn.Linear(1, 1)})
    assert set(rows(module)) == set(module.state_dict()) == {"a.weight", "a.bias"}


class Guarded(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("user code ran")


def test_no_code_of_a_tensor_runs():
    module = nn.Linear(2, 2)
    with torch._C.DisableTorchFunctionSubclass():
        vars(module)["_parameters"]["weight"] = torch.ones(2, 3).as_subclass(Guarded)
    inventory = take_inventory(module)
    assert [(entry.name, entry.shape, entry.numel, entry.bytes) for entry in inventory.entries] == [
        ("weight", (2, 3), 6, 24),
        ("bias", (2,), 2, 8),
    ]
    assert count(inventory).parameters == counted_by_torch(module) == 8


def test_a_huge_model_is_counted_to_the_last_parameter():
    module = nn.Linear(10**5, 149, bias=False, device="meta")
    module.register_parameter("offset", nn.Parameter(torch.empty(3, device="meta")))
    totals = count(take_inventory(module))
    assert (totals.parameters, totals.bytes) == (14_900_003, 59_600_012)


def test_named_tensors_without_a_module_make_an_inventory() -> None:
    weight, view = torch.ones(2, 3), torch.ones(4)[:2]
    entries = (TensorEntry(("w", "tied"), weight, "parameter"), TensorEntry(("v",), view, "buffer"))
    inventory = Inventory(entries)
    assert [(inventory.identity(entry.tensor), inventory.storage(entry.tensor)) for entry in entries] == [
        (1, 1),
        (2, 2),
    ]
    assert count(inventory) == Totals(parameters=6, frozen=6, as_named=12, bytes=24, buffers=2, buffer_bytes=8)
