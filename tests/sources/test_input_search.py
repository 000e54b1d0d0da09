"""Which input is found for a model that is given none, and what finding it leaves behind: nothing."""

from __future__ import annotations

import random
import runpy
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

import paraminspect
from paraminspect.modules.subject import InputFound
from paraminspect.sources.examples import example_maker
from tests.cases import each
from tests.conftest import Ran

Run = Callable[..., Ran]


class Net(nn.Module):
    """Layers by name, attributes beside them, and the forward that a test gives them."""

    def __init__(self, forward: Callable[..., Any], layers: dict[str, nn.Module], **attributes: Any) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        for name, value in attributes.items():
            setattr(self, name, value)
        self.forward = forward.__get__(self)


def search(module: nn.Module) -> InputFound:
    make, find = example_maker(module)
    return InputFound(make) if find is None else find.find()


# --- what runs -------------------------------------------------------------------------------------------------


def lenet(self: Any, x: Tensor) -> Tensor:
    x = max_pool2d(max_pool2d(self.a(x), 2).relu(), 2)
    return self.fc(x.flatten(1))


def patches(self: Any, x: Tensor) -> Tensor:
    tokens = self.embed(x).flatten(2).transpose(1, 2)
    return torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1) + self.place


def both(self: Any, x: Tensor, ids: Tensor) -> Tensor:
    return self.line(x) + self.words(ids).mean(1)


def asked(self: Any, input_ids: Any = None, pixel_values: Any = None) -> Tensor:
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    return self.words(input_ids).sum() + self.conv(pixel_values).sum()


def scored(self: Any, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
    if targets is None:
        raise ValueError("targets should not be None when in training mode")
    boxes = torch.cat([target["boxes"] for target in targets])
    return {"loss": sum(self.conv(image[None]).mean() for image in images) * boxes.mean()}


scored.__annotations__ = {"images": list[Tensor], "targets": list[dict[str, Tensor]] | None}


def unpacks(self: Any, x: Tensor) -> Tensor:
    _batch, _steps, _features = x.shape
    return self.line(x)


def named(self: Any, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
    assert sample.shape[2:] == (16, 16)
    return self.conv(sample).mean() + self.line(encoder_hidden_states).mean() * timestep.float().mean()


def graph(self: Any, x: Tensor, edge_index: Tensor) -> Tensor:
    return self.line(x).index_select(0, edge_index[0])


def sound(self: Any, input_values: Tensor) -> Tensor:
    return self.conv(input_values[:, None])


def alone(self: Any, x: Tensor) -> Tensor:
    return self.conv(x)


CONV = nn.Conv2d(3, 4, 16, stride=16)
CONFIG = {
    "clip": SimpleNamespace(vocab_size=11, vision_config={"image_size": 48, "num_channels": 3}),
    "diffusers": {"sample_size": 16, "in_channels": 3, "cross_attention_dim": 5},
    "wave": SimpleNamespace(conv_dim=[4], vocab_size=7),
}
FOUND: dict[str, tuple[Callable[[], nn.Module], list[tuple[str | None, Any]], str]] = {
    "flattened": (
        lambda: Net(lenet, {"a": nn.Conv2d(1, 3, 3, padding=1), "fc": nn.Linear(3 * 7 * 7, 2)}),
        [(None, (2, 1, 28, 28))],
        "inferred",
    ),
    "the head is registered first": (
        lambda: Net(lambda self, x: self.head(self.conv(x).mean((2, 3))), {"head": nn.Linear(4, 9), "conv": CONV}),
        [(None, (2, 3, 32, 32))],
        "inferred",
    ),
    "a cls_token of its own": (
        lambda: Net(
            patches,
            {"embed": nn.Conv2d(3, 8, 16, 16)},
            cls_token=nn.Parameter(torch.zeros(1, 1, 8)),
            place=nn.Parameter(torch.zeros(1, 10, 8)),
            img_size=(48, 48),
        ),
        [(None, (2, 3, 48, 48))],
        "img_size",
    ),
    "a size that is usual": (
        lambda: Net(patches, {"embed": CONV}, cls_token=torch.zeros(1, 1, 4), place=torch.zeros(1, 197, 4)),
        [(None, (2, 3, 224, 224))],
        "inferred",
    ),
    "timm's word": (
        lambda: Net(alone, {"conv": nn.Conv2d(1, 4, 16)}, pretrained_cfg={"input_size": (3, 40, 56)}),
        [(None, (2, 1, 40, 56))],
        "pretrained_cfg",
    ),
    "two arguments": (
        lambda: Net(both, {"line": nn.Linear(3, 4), "words": nn.Embedding(7, 4)}),
        [("x", (2, 3)), ("ids", (2, 3))],
        "inferred",
    ),
    "an argument that the error names": (
        lambda: Net(
            asked, {"words": nn.Embedding(11, 4), "conv": CONV}, main_input_name="input_ids", config=CONFIG["clip"]
        ),
        [("input_ids", (2, 16)), ("pixel_values", (2, 3, 48, 48))],
        "config",
    ),
    "a detector": (
        lambda: Net(scored, {"conv": CONV}),
        [("images", [(3, 128, 128)] * 2), ("targets", None)],
        "argument names",
    ),
    "a sequence": (lambda: Net(unpacks, {"line": nn.Linear(5, 4)}), [(None, (2, 4, 5))], "inferred"),
    "what is denoised": (
        lambda: Net(named, {"conv": nn.Conv2d(3, 4, 3), "line": nn.Linear(5, 2)}, config=CONFIG["diffusers"]),
        [("sample", (2, 3, 16, 16)), ("timestep", (2,)), ("encoder_hidden_states", (2, 16, 5))],
        "config",
    ),
    "a graph": (
        lambda: Net(graph, {"line": nn.Linear(5, 4)}),
        [("x", (16, 5)), ("edge_index", (2, 32))],
        "argument names",
    ),
    "sound": (
        lambda: Net(sound, {"conv": nn.Conv1d(1, 4, 10, 5)}, config=CONFIG["wave"]),
        [("input_values", (2, 16_000))],
        "config",
    ),
    "torch's own with two": (
        lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        [("src", (2, 4, 8)), ("tgt", (2, 4, 8))],
        "inferred",
    ),
}


def outline(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return [tuple(item.shape) for item in value] if isinstance(value[0], Tensor) else None


@each("name", FOUND)
def test_what_is_found_runs(name: str) -> None:
    build, wanted, origin = FOUND[name]
    module = build()
    make = search(module).make_input
    assert make is not None
    batch = make()
    assert [(one.name, outline(one.value)) for one in batch.given] == wanted
    assert batch.origin == origin
    module(*batch.args, **batch.kwargs)
    report = paraminspect.inspect(module, statistics=False)
    assert (report.errors, report.forward and report.forward.origin) == ((), origin)


# --- what it leaves behind -------------------------------------------------------------------------------------


class Tracked(nn.Module):
    """Draws, counts, caches and changes its mode in a forward that comes to its end on 64 pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.calls, self.seen = 0, []
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        self.norm.train()
        y = self.norm(self.conv(x) + torch.rand(1) + np.random.rand() + random.random())
        self.conv.weight.data.add_(1.0)
        self.cache = y
        if x.shape[-1] != 64:
            raise ValueError(f"an image of 64 pixels is needed, got {x.shape[-1]}")
        return y


def test_the_trials_leave_no_trace() -> None:
    module = Tracked()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), {*vars(module)}
    found = search(module)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist(), {*vars(module)}) == before[1:]
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert (module.calls, module.seen, module.norm.training, module.training) == (0, [], False, True)
    assert found.make_input is not None and len(found.attempts) >= 1
    drawn = found.make_input().args[0]
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2, 3, 64, 64))


# --- the command line ------------------------------------------------------------------------------------------

CODE = """
from dataclasses import dataclass
import torch
from torch import nn

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)
    def forward(self, x):
        return self.b(self.a(x))

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.line = nn.Embedding(9, 4), nn.Linear(3, 4)
    def forward(self, ids, x):
        return self.words(ids).mean(1) + self.line(x)

@dataclass
class Graph:
    nodes: torch.Tensor
    names: dict

class OfGraph(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 4)
    def forward(self, graph, scale=1.0):
        return self.line(graph.nodes) * graph.names["w"][0] * scale

def pair(): return torch.randint(0, 9, (5, 6)), torch.rand(5, 3)
def by_name(): return {"x": torch.rand(5, 3), "ids": torch.randint(0, 9, (5, 6))}
def graph(): return Graph(torch.rand(7, 3), {"w": [torch.rand(1)]})
def nothing(): pass
"""


@pytest.fixture
def nets(code: Callable[..., str]) -> None:
    code(CODE)


@pytest.mark.usefixtures("nets")
def test_what_nothing_fits_is_shown_without_a_forward(run: Run) -> None:
    ran = run("show", "m.py:Broken", "--json")
    report = ran.report
    assert (ran.code, report["errors"], report["forward"]) == (0, [], None)
    assert {one["error"]["module"] for one in report["attempts"]} >= {"b"}
    assert len(report["parameters"]) == 4
    for command in ("show", "grad", "share", "summary"):
        ran = run(command, "m.py:Broken")
        assert ran.code == 0
        (note,) = [line for line in ran.err.splitlines() if "no forward" in line]
        assert note.endswith("pass --input x=SHAPE")
        says = "note: nothing was run: the forward does not take any of the"
        assert says in ran.out or command in ("share", "summary")
    assert run("show", "m.py:Broken", "--input", "2,3").code == 2


@pytest.mark.usefixtures("nets")
def test_functions_draw_what_a_forward_takes(run: Run) -> None:
    """The seed's promise: as a script that seeds, builds, and calls the function."""
    m = SimpleNamespace(**runpy.run_path("m.py"))

    for cls, function, option in (
        ("Pair", "pair", "m.py:pair"),
        ("Pair", "by_name", "m:by_name"),
        ("OfGraph", "graph", "graph=m.py:graph"),
        ("OfGraph", "graph", "m.py:graph"),
    ):
        torch.manual_seed(4)
        module, value = getattr(m, cls)(), getattr(m, function)()
        args = value if isinstance(value, tuple) else () if isinstance(value, dict) else (value,)
        wanted = module(*args, **(value if isinstance(value, dict) else {})).sum().item()
        report = run("show", f"m.py:{cls}", "--seed", "4", "--input", option, "--json").report
        assert (report["errors"], report["forward"]["origin"]) == ([], "--input")
        assert report["forward"]["loss"] == pytest.approx(wanted, rel=1e-6)
    ran = run("show", "m.py:Pair", "--input", "m.py:nothing")
    assert (ran.code, "m.py:nothing returned None" in ran.err) == (2, True)
    assert "drawn from its shape" in run("show", "mlp", "--input", "m.py:pair").err


@pytest.mark.usefixtures("nets")
def test_a_shape_alone_keeps_indices_indices_and_what_is_missing_is_named(run: Run) -> None:
    for given in (["5,6", "5,3"], ["x=5,3", "ids=5,6"]):
        ran = run("show", "m.py:Pair", "--json", *[word for text in given for word in ("--input", text)])
        found = {tuple(one["shape"]): (one["dtype"], one["sample"]) for one in ran.report["forward"]["input"]}
        assert (ran.code, found) == (0, {(5, 6): ("int64", "0..8"), (5, 3): ("float32", "uniform")})
    ran = run("show", "m.py:Pair", "--input", "5,6:float32", "--input", "5,3")
    assert (ran.code, "Embedding expects integers" in ran.err) == (2, True)
    ran = run("show", "m.py:Pair", "--input", "5,6")
    assert (ran.code, ran.out) == (2, "")
    assert "forward(ids, x) needs x too" in ran.err and "--input x=SHAPE" in ran.err


class Telling(nn.Module):
    """Print and warn in every forward, and take no other batch than of 2 channels and `sides`."""

    def __init__(self, sides: int) -> None:
        super().__init__()
        self.conv, self.sides = nn.Conv2d(2, 3, 3), sides

    def forward(self, image: Tensor) -> Tensor:
        print(f"sides {image.shape[-1]}")
        warnings.warn("told", stacklevel=1)
        if image.shape[-1] != self.sides:
            raise ValueError(f"input height {image.shape[-1]} doesn't match the model's: {self.sides}")
        return self.conv(image)


@pytest.mark.parametrize("sides", [32, 40])
def test_the_run_is_the_first_trial_and_nothing_is_heard_of_one_that_fails(
    sides: int, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = 32
    calls: list[int] = []
    net = Telling(sides)
    net.register_forward_pre_hook(lambda _module, args: calls.append(args[0].shape[-1]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        report = paraminspect.inspect(net)
    assert report.forward is not None and report.forward.input[0].shape[-1] == sides
    assert capsys.readouterr().out.splitlines() == [f"sides {sides}"]
    assert calls[-1] == sides and (len(calls) == 1) == (sides == usual)
    assert len(report.attempts) == (sides != usual)
    assert [str(one.message) for one in told] == ["told"]
