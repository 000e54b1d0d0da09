"""Invariants that hold for every spec: rows add up, the report survives JSON, the script gives the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.init.rules import bind_rules
from paraminspect.report import Report
from paraminspect.script.write import script
from paraminspect.sources.sequential import build, load
from paraminspect.spec.model import Spec
from paraminspect.spec.parse import parse_spec
from tests.script.test_write import assert_same, execute

WIDTH = 3

leaves = st.sampled_from(
    [{"Linear": [WIDTH, WIDTH]}, {"Linear": [WIDTH, WIDTH, False]}, "ReLU", "Tanh", {"LayerNorm": WIDTH}, {"PReLU": 1}]
)


def nested(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(items, min_size=1, max_size=3)
    return st.one_of(
        st.builds(lambda layers: {"Sequential": layers}, lists),
        st.builds(lambda layers: {"Residual": layers}, lists),
        st.builds(lambda times, layers: {"Repeat": {"times": times, "layers": layers}}, st.integers(1, 3), lists),
    )


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    layers = [{"Linear": [4, WIDTH]}, *draw(st.lists(st.recursive(leaves, nested, max_leaves=6), max_size=4))]
    if draw(st.booleans()):
        layers += [{"Linear": [WIDTH, WIDTH]}, {"ref": len(list(_numbered(layers)))}]
    text = {
        "seed": draw(st.integers(0, 2**64 - 1)),
        "layers": layers,
        "input": {"shape": [2, 4], "sample": draw(st.sampled_from(["uniform", "normal", "ones"]))},
        "loss": draw(st.sampled_from(["sum", "mean", "mse", "cross_entropy"])),
        "dtype": draw(st.sampled_from(["float32", "float64", "bfloat16"])),
    }
    if draw(st.booleans()):
        text["init"] = [
            {"params": "*weight*", "scheme": draw(st.sampled_from(["normal", "uniform", "ones", "textbook"]))}
        ]
    return parse_spec(json.dumps(text), "spec.json")


def _numbered(layers: list[Any]) -> Any:
    from paraminspect.spec.model import numbered

    return numbered(parse_spec(json.dumps({"layers": layers}), "spec.json").layers)


def report_of(spec: Spec) -> Report:
    request = Request("show", values=True)
    return show(load(spec), request, bind_rules(spec.init, allow_code=False))


@given(specs())
@settings(max_examples=40)
def test_rows_add_up_to_what_torch_counts_and_the_report_survives_json(spec: Spec) -> None:
    report = report_of(spec)
    truth = sum(p.numel() for p in build(spec).parameters())
    rows = [row for row in report.parameters if row.kind == "parameter"]
    assert sum(row.numel for row in rows) == report.totals.parameters == truth
    assert sum(row.numel * (1 + len(row.aliases)) for row in rows) == report.totals.as_named
    written = report.to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written


@given(specs())
@settings(max_examples=25)
def test_spec_to_script_gives_the_same_numbers(spec: Spec) -> None:
    source = script(spec, bind_rules(spec.init, allow_code=False), "torch")
    assert_same(report_of(spec).to_dict(), execute(source))


@given(specs())
@settings(max_examples=12)
def test_the_same_seed_gives_the_same_report(spec: Spec) -> None:
    first = report_of(spec)
    torch.manual_seed(99)
    assert report_of(spec) == first
    assert report_of(replace(spec, name="other")).parameters == first.parameters


def test_what_the_gradient_of_a_use_adds_up_to() -> None:
    report = report_of(parse_spec("layers: [Linear: [3, 3], Tanh, ref: 0, Tanh, ref: 0]\ninput: [2, 3]", "s.yaml"))
    for row in report.parameters:
        parts = [torch.tensor(use.gradient.data).double() for use in report.uses if use.parameter == row.name]
        assert len(parts) == 3
        torch.testing.assert_close(sum(parts), torch.tensor(row.gradient.data).double(), rtol=1e-6, atol=1e-7)


def test_mean_squared_plus_std_squared_is_rms_squared() -> None:
    for row in report_of(parse_spec("layers: [Linear: [30, 40]]", "s.yaml")).parameters:
        assert row.values.mean**2 + row.values.std**2 == pytest.approx(row.values.rms**2, rel=1e-13)
