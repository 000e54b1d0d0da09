"""Which groups reach the report: those of the rows that are wanted, with ties as seen from one layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.modules.subject import Subject, Ties
from paraminspect.report import Source

TIES = Ties((("m.b.weight", "m.a.weight"), ("m.gone", "m.a.weight"), ("out.weight", "m.a.weight")), "ties")


def module() -> nn.Module:
    torch.manual_seed(0)
    inner = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in "abc"})
    inner["b"].weight = nn.Parameter(inner["a"].weight.data)
    return nn.ModuleDict({"m": inner, "out": nn.Linear(2, 2, bias=False)})


BROKEN = ("same-view", ("m.a.weight", "m.b.weight"), "broken")
MISSING = ("not-shared", ("m.gone", "m.a.weight"), "missing")
OUT = ("not-shared", ("m.a.weight", "out.weight"), "broken")


@pytest.mark.parametrize(
    ("params", "layer", "wanted"),
    [
        ((), None, [BROKEN, OUT, MISSING]),
        (("out.*",), None, [OUT]),
        (("m.b.*",), None, [BROKEN]),
        (("m.c.*",), None, []),
        (
            (),
            "m",
            [("same-view", ("a.weight", "b.weight"), "broken"), ("not-shared", ("gone", "a.weight"), "missing")],
        ),
        ((), "out", []),
    ],
)
def test_the_groups_of_the_rows_that_are_wanted(
    params: tuple[str, ...], layer: str | None, wanted: list[tuple[str, tuple[str, ...], str]]
) -> None:
    subject = Subject(module(), Source("module", "m"), 0, None, ties=TIES)
    report = show(subject, Request("share", params, layer, forward=False))
    assert [(one.kind, one.names, one.verdict) for one in report.sharing] == wanted


class Rotary(nn.Module):
    """Frequencies as every rotary embedding computes them, a counter of its own, and a matrix to turn."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10_000.0 ** -(torch.arange(0, 8, 2) / 8), persistent=False)
        self.original = self.inv_freq.clone()
        self.linear = nn.Linear(2, 2, bias=False)


def test_buffers_and_constants_that_are_computed_alike_are_no_broken_tie() -> None:
    model = nn.Sequential(Rotary(), Rotary())
    model[1].linear.load_state_dict(model[0].linear.state_dict())
    subject = Subject(model, Source("module", "m"), 0, None)
    found = show(subject, Request("share", forward=False)).sharing
    frequencies = ("0.inv_freq", "1.inv_freq", "0.original", "1.original")
    assert [(one.kind, one.names, one.verdict) for one in found] == [
        ("equal-not-shared", ("0.linear.weight", "1.linear.weight"), None),
        ("equal-buffers", frequencies, None),
    ]
    declared = replace(subject, ties=Ties((("1.inv_freq", "0.inv_freq"),), "_tied_weights_keys"))
    found = show(declared, Request("share", forward=False)).sharing
    assert [(one.kind, one.names) for one in found if one.verdict == "broken"] == [
        ("equal-not-shared", ("0.inv_freq", "1.inv_freq"))
    ]


def test_the_outermost_module_that_is_one_object() -> None:
    """By hand: `enc` is `dec`; a Linear alone is two of a list; a tie of two Linears has no module."""
    block = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2, bias=False)))
    same, tied, other = (nn.Linear(2, 2, bias=False) for _ in range(3))
    other.weight = tied.weight
    outer = nn.ModuleDict({"enc": block, "dec": block})
    whole = nn.ModuleDict({"m": outer, "list": nn.ModuleList([same, same]), "tied": tied, "other": other})
    found = show(Subject(whole, Source("module", "m"), 0, None), Request("share", forward=False))
    assert {
        group.names[0]: (group.module_names, group.module_type) for group in found.sharing if group.same_module
    } == {
        "m.enc.0.weight": (("m.enc", "m.dec"), "Sequential"),
        "m.enc.0.bias": (("m.enc", "m.dec"), "Sequential"),
        "m.enc.1.0.weight": (("m.enc", "m.dec"), "Sequential"),
        "list.0.weight": (("list.0", "list.1"), "Linear"),
    }
    (tie,) = [group for group in found.sharing if group.kind == "same-parameter" and not group.same_module]
    assert (tie.names, tie.module_names, tie.module_type) == (("tied.weight", "other.weight"), (), None)
