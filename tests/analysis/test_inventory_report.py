"""Modules that misbehave get a report all the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.modules.subject import Subject
from paraminspect.report import Source


def look(module, foreign=True):
    return show(Subject(module, Source("module", "m"), 0, None, "no input", foreign=foreign), Request("show"))


def printing(returned):
    """Return a Linear whose repr is made by `returned`."""

    class Printing(nn.Linear):
        def __repr__(self):
            return returned()

    return Printing(3, 2)


class Text(str):
    def __str__(self):
        raise RuntimeError("user code ran")


def fail(error):
    raise error


def parent_inside():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].parent = module
    return module


def doubled(depth):
    module = nn.Linear(3, 2)
    for _ in range(depth):
        module = nn.ModuleDict({"a": module, "b": module})
    return module


REPRS = {
    "raises": (lambda: printing(lambda: fail(ValueError("no"))), "Printing (its repr failed: ValueError)"),
    "exits": (lambda: printing(lambda: fail(SystemExit(0))), "Printing (its repr failed: SystemExit)"),
    "no text": (lambda: printing(lambda: 3), "Printing (its repr failed: TypeError)"),
    "text of one's own": (lambda: printing(lambda: Text("mine")), "mine"),
    "cycle": (parent_inside, "Sequential (its repr failed: RecursionError)"),
    "too many paths": (lambda: doubled(40), "ModuleDict (its repr would not end: modules go by too many names)"),
}


@pytest.mark.parametrize(("build", "text"), REPRS.values(), ids=REPRS)
def test_any_repr_leaves_a_report(build, text):
    report = look(build())
    assert report.model.repr == text
    assert type(report.model.repr) is str
    assert report.totals.parameters == 8
    assert sum(row.numel for row in report.parameters) == 8


def test_what_a_repr_prints_is_no_part_of_the_answer(capfd):
    def talk():
        print("noise")
        return "quiet"

    assert look(printing(talk)).model.repr == "quiet"
    assert capfd.readouterr().out == ""


def test_control_characters_in_names_stay_in_the_json_and_leave_the_repr():
    module = nn.Module()
    module.register_module("a\x1b[31m\nb", nn.Linear(3, 2))
    report = look(module)
    assert [row.name for row in report.parameters] == ["a\x1b[31m\nb.weight", "a\x1b[31m\nb.bias"]
    assert report.model.repr == "Module(\n  (a\\x1b[31m\\x0ab): Linear(in_features=3, out_features=2, bias=True)\n)"


def test_rows_say_what_they_are():
    module = nn.Linear(3, 2)
    module.register_buffer("kept", torch.zeros(2))
    module.register_buffer("lost", torch.zeros(2), persistent=False)
    module.blocks = [nn.PReLU()]
    note = "its module is in a plain list: no optimizer sees it, state_dict lacks it; use nn.ModuleList"
    assert [
        (row.name, row.kind, row.module, row.module_type, row.persistent, row.note) for row in look(module).parameters
    ] == [
        ("weight", "parameter", "", "Linear", None, None),
        ("bias", "parameter", "", "Linear", None, None),
        ("kept", "buffer", "", "Linear", True, None),
        ("lost", "buffer", "", "Linear", False, None),
        ("blocks[0].weight", "unregistered", "blocks[0]", "PReLU", None, note),
    ]


def test_rows_that_do_not_add_up_are_refused(monkeypatch):
    monkeypatch.setattr("paraminspect.experiments.measured.counted_by_torch", lambda *_: 7)
    with pytest.raises(AssertionError, match="the rows add up to 8 parameters, the module has 7"):
        look(nn.Linear(3, 2))
