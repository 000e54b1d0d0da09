"""The tree of modules: rows that add up whatever is shared, the peers' wrong totals, and forwards that go wrong."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import paraminspect
from paraminspect.errors import UserError
from paraminspect.experiments.selection import Ranking, Request
from paraminspect.experiments.summary import summary
from paraminspect.modules.subject import Subject
from paraminspect.render import render
from paraminspect.report import LayerTensor, OwnedElsewhere, Report, Source, TreeLayer
from paraminspect.report.report_schema import report_schema
from paraminspect.sources.examples import batch_of
from paraminspect.text.escape import ASCII, Glyphs, View
from tests.cases import each


def rows(report: Report) -> dict[str, TreeLayer]:
    return {layer.module: layer for layer in report.layers if isinstance(layer, TreeLayer)}


def own(report: Report) -> dict[str, int | None]:
    """Return the parameters that each row counts, those that have some."""
    return {name: row.own_parameters for name, row in rows(report).items() if row.own_parameters != 0}


class _Residual(nn.Module):
    """Adds to the input what some layers made of it, each called as often as it is told to be."""

    def __init__(self, layers: list[nn.Module], hidden: list[nn.Module], times: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(layers)
        self.hidden, self.times = hidden, times
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.inner, *self.hidden):
            for _ in range(self.times):
                x = x + self.gain * layer(x)
        return x


@st.composite
def trees(draw: st.DrawFn) -> nn.Module:
    """Draw modules in modules, some of them one object in several places, some parameters one, some frozen."""
    made: list[nn.Module] = []

    def build(depth: int) -> nn.Module:
        kind = draw(st.sampled_from(("linear", "linear", "relu", "norm", "again", "sequence", "residual")))
        if kind == "again" and made:
            return draw(st.sampled_from(made))
        if depth and kind in ("sequence", "residual"):
            inner = [build(depth - 1) for _ in range(draw(st.integers(0, 3)))]
            lost = [build(0) for _ in range(draw(st.integers(0, 1)))]
            module: nn.Module = (
                nn.Sequential(*inner) if kind == "sequence" else _Residual(inner, lost, draw(st.integers(0, 2)))
            )
        elif kind in ("relu", "norm"):
            module = nn.ReLU() if kind == "relu" else nn.BatchNorm1d(4)
        else:
            module = nn.Linear(4, 4, bias=draw(st.booleans())).requires_grad_(draw(st.booleans()))
            linear = [one for one in made if isinstance(one, nn.Linear)]
            if linear and draw(st.booleans()):
                module.weight = draw(st.sampled_from(linear)).weight
        made.append(module)
        return module

    return nn.Sequential(*(build(3) for _ in range(draw(st.integers(1, 4)))))


@settings(max_examples=80)
@given(trees())
def test_own_figures_add_up_to_the_totals_whatever_is_shared(net: nn.Module) -> None:
    """And to what torch counts; every module has one row, below its parent, with all its names."""
    report = paraminspect.summary(net, torch.randn(3, 4))
    found = rows(report)
    totals = report.totals
    assert sum(row.own_parameters or 0 for row in found.values()) == sum(p.numel() for p in net.parameters())
    assert sum(row.own_trainable or 0 for row in found.values()) == totals.trainable
    assert sum(row.own_bytes or 0 for row in found.values()) == totals.bytes
    assert sum(row.own_buffers or 0 for row in found.values()) == sum(b.numel() for b in net.buffers())
    assert sum(row.own_flops or 0 for row in found.values()) == totals.flops
    assert sum(row.own_flops_backward or 0 for row in found.values()) == (totals.flops_backward or 0)
    names = {name for name, _ in net.named_modules(remove_duplicate=False)}
    assert names <= {name for row in found.values() for name in (row.module, *row.aliases)}
    assert len(list(net.modules())) == sum(row.module in names for row in found.values())
    named = {f"{row.module}.{leaf}" for row in found.values() for leaf in _leaves(net, row.module)}
    assert {one.name for row in found.values() for one in row.elsewhere} <= named
    for row in found.values():
        below = [other for other in found.values() if other.parent == row.module and other is not row]
        assert row.parameters == (row.own_parameters or 0) + sum(other.parameters or 0 for other in below)
        assert row.parent is None or found[row.parent].index < row.index
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["parameters"] == totals.parameters
    str(report)


def _leaves(net: nn.Module, path: str) -> Iterator[str]:
    modules = dict(net.named_modules(remove_duplicate=False))
    yield from (name for name, _ in modules[path].named_parameters(recurse=False)) if path in modules else ()


# --- where released tools are wrong: facts/peers.md --------------------------------------------------------------


class _Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W, self.c = nn.Parameter(torch.ones(10, 10)), nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W + self.c


def _tied() -> nn.Module:
    net = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 1000, bias=False))
    net[1].weight = net[0].weight
    return net


def _half_tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    net[1].weight = net[0].weight
    return net


def _thrice() -> nn.Module:
    layer = nn.Linear(10, 10)
    return nn.Sequential(layer, layer, layer)


def _on_the_root() -> nn.Module:
    net = nn.Sequential(nn.Sequential(nn.Linear(10, 10)))
    net.register_parameter("free", nn.Parameter(torch.ones(1000)))
    return net


def _bias_alone() -> nn.Module:
    net = nn.Linear(10, 10)
    net.weight.requires_grad_(False)
    return net


def _ten() -> Tensor:
    return torch.ones(2, 10)


TRUTH: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], int, dict[str, int]]] = {
    "a tied embedding": (_tied, lambda: torch.ones(2, 3, dtype=torch.int64), 16_000, {"0": 16_000}),
    "a shared weight": (_half_tied, _ten, 120, {"0": 110, "1": 10}),
    "one layer three times": (_thrice, _ten, 110, {"0": 110}),
    "other names than weight": (_Bare, _ten, 110, {"": 110}),
    "a parameter of the root": (_on_the_root, _ten, 1110, {"": 1000, "0.0": 110}),
    "attention": (
        lambda: nn.MultiheadAttention(16, 4),
        lambda: (torch.ones(3, 2, 16),) * 3,
        1088,
        {"": 816, "out_proj": 272},
    ),
    "a frozen model": (lambda: nn.Linear(10, 10).requires_grad_(False), _ten, 110, {"": 110}),
    "a trainable bias": (_bias_alone, _ten, 110, {"": 110}),
}


@each("name", TRUTH)
def test_totals_that_peers_have_wrong(name: str) -> None:
    build, make, total, counted = TRUTH[name]
    net = build()
    report = paraminspect.summary(net, make())
    assert report.errors == ()
    assert report.totals.parameters == total == sum(p.numel() for p in net.parameters())
    assert own(report) == counted
    assert report.totals.trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)


def test_what_peers_do_not_say() -> None:
    """Names of a shared parameter, calls, buffers, bytes, modules nobody calls or registers, unknown sizes."""
    report = paraminspect.summary(_tied(), torch.ones(2, 3, dtype=torch.int64))
    assert rows(report)["1"].elsewhere == (OwnedElsewhere("1.weight", "0.weight", 16_000),)
    assert "1 Linear" in str(report) and "weight = 0.weight" in str(report)

    report = paraminspect.summary(_thrice(), _ten())
    assert (rows(report)["0"].calls, rows(report)["0"].aliases) == (3, ("1", "2"))
    assert "(2, 10), 3 calls" in str(report) and "= 1" in str(report)

    normed = paraminspect.summary(nn.Sequential(parametrizations.weight_norm(nn.Linear(10, 10))), _ten())
    assert own(normed) == {"0": 10, "0.parametrizations.weight": 110}

    pruned = nn.Sequential(nn.Linear(100, 100))
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    row = rows(paraminspect.summary(pruned, torch.ones(2, 100)))["0"]
    assert (row.own_parameters, row.own_buffers, row.own_buffer_bytes) == (10_100, 10_000, 40_000)

    half = rows(paraminspect.summary(nn.Sequential(nn.Linear(10, 10).half()), _ten().half()))["0"]
    assert (half.own_bytes, half.outputs) == (220, (LayerTensor("", (2, 10), "float16"),))

    lazy = nn.Sequential(nn.LazyLinear(5), nn.Linear(5, 2))
    assert own(paraminspect.summary(lazy, forward=False)) == {"0": None, "1": 12}
    assert own(paraminspect.summary(lazy, torch.ones(2, 3))) == {"0": 20, "1": 12}

    with torch.device("meta"):
        large = nn.Linear(149_000_000, 1, bias=False)
    assert "149,000,000" in str(paraminspect.summary(large, forward=False))

    net = _Residual([nn.Linear(4, 4)], [nn.Linear(4, 4)], 1)
    net.unused = nn.Sequential(nn.Linear(4, 4))
    report = paraminspect.summary(net, torch.ones(2, 4))
    assert own(report) == {"": 4, "inner.0": 20, "unused.0": 20}
    assert [row.calls for row in report.layers] == [1, 0, 1, 0, 0, 1]
    text = str(report)
    assert text.count("not called") == 3 and "not called unused\n" in text
    assert "hidden[0] Linear (forgotten)" in text and rows(report)["hidden[0]"].unregistered == 20

    name = "a_name_of_many_characters_that_would_not_fit_into_any_column_of_80_characters"
    assert name in str(paraminspect.summary(nn.ModuleDict({name: nn.Linear(1, 1)}), forward=False))


# --- shapes, selection, forwards that go wrong ---------------------------------------------------------------------


@dataclasses.dataclass
class _Output:
    logits: Tensor
    extra: dict[Any, Any]


class _Opaque:
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


class _Does(nn.Module):
    def __init__(self, act: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(7, 4)
        self.act = act

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return self.act(self, x)


def _generator(net: Any, x: Tensor) -> Iterator[Tensor]:
    yield net.a(x)


def _caught(net: Any, x: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        net.c(x)
    return net.a(x)  # type: ignore[no-any-return]  # a Linear returns a Tensor


OUTPUTS: dict[str, tuple[Callable[[Any, Tensor], Any], list[tuple[str, tuple[int, ...]]]]] = {
    "one tensor": (lambda net, x: net.a(x), [("", (2, 4))]),
    "a tuple in a tuple": (lambda net, x: (net.a(x), (x[0], None)), [("[0]", (2, 4)), ("[1][0]", (4,))]),
    "a dict": (lambda net, x: {"y": net.a(x), 3: x, "a b": x}, [("y", (2, 4)), ("[3]", (2, 4)), ("['a b']", (2, 4))]),
    "a dataclass": (lambda net, x: _Output(net.a(x), {"k": [x]}), [("logits", (2, 4)), ("extra.k[0]", (2, 4))]),
    "an object": (lambda net, x: _Opaque(net.a(x)), [("hidden", (2, 4))]),
    "nothing": (lambda net, x: net.a(x).sum().item() and None, []),
    "a generator that nobody runs": (_generator, []),
    "a failure that the model deals with": (_caught, [("", (2, 4))]),
}


@each("name", OUTPUTS)
def test_every_tensor_that_a_module_returns_is_named(name: str) -> None:
    act, wanted = OUTPUTS[name]
    report = paraminspect.summary(_Does(act), {"x": torch.ones(2, 4), "mask": torch.ones(2)})
    root = rows(report)[""]
    assert [(one.name, one.shape) for one in root.outputs or ()] == wanted
    assert [(one.name, one.shape) for one in root.inputs or ()] == [("x", (2, 4)), ("mask", (2,))]
    assert report.errors == () and report.totals.macs is not None


def _raise(net: Any, x: Tensor) -> Tensor:
    return net.b(net.c(net.a(x)))  # type: ignore[no-any-return]  # as above


def _exit(net: Any, x: Tensor) -> Tensor:
    net.a(x)
    sys.exit(0)


def _endless(net: Any, x: Tensor) -> Any:
    return net(net.a(x))


FAILURES: dict[str, tuple[Callable[[Any, Tensor], Any], str, str]] = {
    "a layer that raises": (_raise, "c", "Linear expects (…, 7) of float32, got (2, 4) float32"),
    "an exit": (_exit, "", "_Does called exit(0)"),
    "a module that calls itself for ever": (_endless, "", "_Does never stopped calling itself"),
}


# At the recursion limit our hooks have no room either, wherever the limit happens to fall: torch warns of it.
@pytest.mark.filterwarnings("ignore:global module forward hook")
@pytest.mark.parametrize("name", FAILURES)
def test_a_forward_that_fails_leaves_what_ran_up_to_there(name: str) -> None:
    act, failed, message = FAILURES[name]
    report = paraminspect.summary(_Does(act), torch.ones(2, 4))
    found = rows(report)
    (error,) = report.errors
    assert (error.code, [row.module for row in found.values() if row.failed]) == ("forward-failed", [failed])
    assert message in error.message
    assert found["a"].outputs == (LayerTensor("", (2, 4), "float32"),) and found["a"].macs is not None
    assert (found["b"].calls, found["b"].macs, report.totals.macs) == (0, None, None)
    text = str(report)
    assert text.count("not reached") >= 1 and " failed" in text and "not called" not in text


def test_modules_are_picked_by_name_or_by_that_of_a_parameter() -> None:
    net = _Residual([nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)], [], 1)
    picked = paraminspect.summary(net, torch.ones(2, 4), modules=["inner.2", "g*"])
    assert [row.module for row in picked.layers] == ["", "inner.2"]
    assert (picked.totals.parameters, picked.totals.shown, picked.totals.macs) == (44, 24, 64)
    assert [row.name for row in picked.parameters] == ["gain", "inner.2.weight", "inner.2.bias"]
    alone = paraminspect.summary(net, torch.ones(2, 4), layer="inner")
    assert [row.module for row in alone.layers] == ["", "0", "1", "2"] and alone.totals.macs == 64
    with pytest.raises(UserError, match=r"'inner\.3' matches no module"):
        paraminspect.summary(net, torch.ones(2, 4), modules="inner.3")


def test_blocks_fold_as_rows_of_parameters_do() -> None:
    net = nn.Sequential(*(_Residual([nn.Linear(4, 4)], [], 1) for _ in range(6)))
    text = str(paraminspect.summary(net, torch.ones(2, 4)))
    table = text.partition("\nSequential ")[2].partition("total")[0]
    assert [line.partition(" ×6")[0] for line in table.splitlines()[1:4]] == [
        "└─ {0..5} _Residual",
        "   └─ {0..5}.inner ModuleList",
        "      └─ {0..5}.inner.0 Linear",
    ]


class Cache:
    """What grows from block to block, as a cache of keys and values does."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, cache: Cache) -> torch.Tensor:
        cache.seen.append(x)
        return self.linear(x)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Remembering() for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cache = Cache()
        for block in self.blocks:
            x = block(x, cache=cache)
        return x


def test_what_hangs_on_an_object_beside_a_tensor_is_no_input() -> None:
    """Blocks that differ in how much a cache holds already are alike."""
    report = paraminspect.summary(Decoder(), torch.rand(2, 3))
    blocks = [layer for layer in report.layers if layer.type == "Remembering"]
    assert [[one.name for one in layer.inputs or ()] for layer in blocks] == [["[0]"]] * 4
    assert "blocks.{0..3} Remembering ×4" in str(report)


def test_every_format_has_every_module_and_the_same_totals() -> None:
    """CSV adds up, JSON satisfies its schema, HTML nests as modules do, plain text and markdown cut nothing."""
    net = nn.Sequential(nn.Linear(4, 4), _Residual([nn.Linear(4, 4), nn.ReLU()], [], 2))
    report = paraminspect.summary(net, torch.ones(2, 4))
    modules = [layer.module for layer in report.layers]
    table = list(csv.DictReader(io.StringIO("".join(render(report, "csv", View())))))
    assert [row["module"] for row in table] == modules == [name for name, _ in net.named_modules()]
    assert sum(int(row["own_parameters"]) for row in table) == int(table[0]["parameters"]) == 44
    assert sum(int(row["own_macs"]) for row in table) == report.totals.macs == 32 * 3
    jsonschema.Draft202012Validator(report_schema()).validate(report.to_dict())
    html = report._repr_html_()
    assert (html.count("<details"), html.count("</details>")) == (3, 3)
    assert html.count('class="row leaf"') == 3 and "4 calls" not in html and html.count("2 calls") == 2
    for form in ("plain", "markdown"):
        text = "".join(render(report, form, View(width=20)))
        assert all(name in text for name in modules) and "44" in text


@each("glyphs", [Glyphs(), ASCII])
def test_the_marks_of_a_tree_are_never_cut(glyphs: Glyphs) -> None:
    """Where a name would have to be, a level takes one column; the names give way only then."""
    net: nn.Module = nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4))
    for _ in range(4):
        net = nn.Sequential(net, nn.Linear(4, 4))
    report = paraminspect.summary(net, torch.ones(2, 4), forward=False)
    marks = f" {glyphs.trunk}{glyphs.branch}{glyphs.last_branch}"

    def guides(width: int | None) -> list[str]:
        lines = "".join(render(report, "table", View(width, glyphs=glyphs, fold=False))).split("\n")
        first = next(at for at, line in enumerate(lines, 2) if line.startswith("layer"))
        rows = lines[first : first + len(report.layers)]
        assert all(len(line) <= (width or 1000) and line.strip(marks) for line in rows)
        return [line[: len(line) - len(line.lstrip(marks))] for line in rows]

    wide = guides(None)
    narrow = [f"{guide[::3]} " if guide else "" for guide in wide]
    found = [guides(width) for width in range(12, 100)]
    assert all(one in (wide, narrow) for one in found)
    assert found[0] == narrow != wide == found[-1]


_RANKED = {"parameters": "own_parameters", "macs": "own_macs", "saved": "own_saved_bytes", "bytes": "own_bytes"}


@each("key", [None, *_RANKED, "name"])
@each("top", [None, 1, 3, 99])
@each("depth", [None, 1])
def test_modules_in_order_of_what_they_have_themselves(key: str | None, top: int | None, depth: int | None) -> None:
    """The first ones are those of plain sorting, with their parameters; the totals are those of the model all the same."""
    net = nn.Sequential(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 32)), nn.Linear(32, 2), nn.LayerNorm(2))
    subject = Subject(net, Source("module", "net"), 0, lambda: batch_of(torch.zeros(5, 8)))
    plain = summary(subject, Request("summary"))
    report = summary(subject, Request("summary", ranking=Ranking(key, top, depth)))
    every = [row for row in plain.layers if isinstance(row, TreeLayer) and (depth is None or row.depth <= depth)]

    def own(row: TreeLayer) -> int:
        name = _RANKED[key or "parameters"]
        return getattr(row, name.removeprefix("own_") if row.depth == depth else name) or 0

    wanted = sorted(every, key=(lambda row: row.module) if key == "name" else (lambda row: -own(row)))[:top]
    assert [row.module for row in report.layers] == [row.module for row in wanted]
    assert dataclasses.replace(report.totals, shown=0) == dataclasses.replace(plain.totals, shown=0)
    assert report.totals.shown == sum(row.own_parameters or 0 for row in wanted)
    assert report.headline == plain.headline
    for form in ("table", "plain", "markdown", "csv", "html"):
        assert "".join(render(report, form, View(depth=depth)))
