"""Which groups reach the report: those of the rows that are wanted, with ties as seen from one layer."""

from __future__ import annotations

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
