"""Where released tools are wrong about a model: the truth, which plain torch confirms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.modules.subject import Batch, Given, Subject
from paraminspect.render import render
from paraminspect.report import Parameter, Report, Source
from paraminspect.text.escape import View


def look(module: nn.Module, *inputs: Tensor, command: str = "show") -> Report:
    """Inspect a module; without inputs nothing runs."""

    def make_input() -> Batch:
        return Batch(tuple(map(Given, inputs)))

    subject = Subject(module, Source("module", "m"), 0, make_input if inputs else None, "no input")
    return show(subject, Request(command, all_uses=command == "grad"))


def counts(report: Report) -> dict[str, int | None]:
    return {row.name: row.numel for row in report.parameters if row.kind == "parameter"}


def row_of(report: Report, name: str) -> Parameter:
    (row,) = (row for row in report.parameters if row.name == name)
    return row


def statuses(report: Report) -> dict[str, str]:
    return {row.name: row.gradient.status for row in report.parameters if row.gradient}


def tied() -> nn.Module:
    module = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 1000, bias=False))
    module[1].weight = module[0].weight
    return module


def test_a_tied_weight_counts_once_and_both_names_show() -> None:
    report = look(tied(), torch.tensor([[1, 2]]))
    (row,) = report.parameters
    assert (row.name, row.aliases, row.numel) == ("0.weight", ("1.weight",), 16_000)
    assert (report.totals.parameters, report.totals.as_named) == (16_000, 32_000)
    assert [shared.names for shared in report.sharing] == [("0.weight", "1.weight")]


def test_layers_that_share_only_a_weight() -> None:
    module = nn.ModuleDict({"a": nn.Linear(10, 10), "b": nn.Linear(10, 10)})
    module["b"].weight = module["a"].weight
    report = look(module)
    assert counts(report) == {"a.weight": 100, "a.bias": 10, "b.bias": 10}
    assert row_of(report, "a.weight").aliases == ("b.weight",)
    assert report.totals.parameters == sum(p.numel() for p in module.parameters()) == 120


class ThreeTimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(self.layer(x)))


def test_a_layer_called_three_times() -> None:
    report = look(ThreeTimes(), torch.ones(2, 10), command="grad")
    assert report.totals.parameters == 110
    assert [layer.module for layer in report.layers] == ["layer"] * 3
    assert {name: sum(use.parameter == name for use in report.uses) for name in counts(report)} == {
        "layer.weight": 3,
        "layer.bias": 3,
    }


class OwnNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W, self.c = nn.Parameter(torch.ones(10, 10)), nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W + self.c


def test_parameters_of_any_name() -> None:
    report = look(OwnNames(), torch.ones(2, 10))
    assert counts(report) == {"W": 100, "c": 10}
    assert report.totals.parameters == 110
    assert statuses(report) == {"W": "ok", "c": "ok"}


def test_a_parameter_on_the_root_beside_a_nested_child() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(10, 10)))
    module.register_parameter("own", nn.Parameter(torch.ones(1000)))
    report = look(module)
    assert counts(report) == {"own": 1000, "0.0.weight": 100, "0.0.bias": 10}
    assert (row_of(report, "own").module, row_of(report, "own").module_type) == ("", "Sequential")


def test_attention_has_parameters() -> None:
    module = nn.MultiheadAttention(16, 4)
    report = look(module, *[torch.ones(3, 2, 16)] * 3)
    assert counts(report) == {
        "in_proj_weight": 768,
        "in_proj_bias": 48,
        "out_proj.weight": 256,
        "out_proj.bias": 16,
    }
    assert report.totals.parameters == 1_088


def test_weight_norm_has_three_named_rows() -> None:
    report = look(parametrizations.weight_norm(nn.Linear(10, 10)), torch.ones(2, 10))
    assert counts(report) == {
        "bias": 10,
        "parametrizations.weight.original0": 10,
        "parametrizations.weight.original1": 100,
    }
    assert report.totals.parameters == 120
    assert {row.note for row in report.parameters} == {None, "stored for 'weight', which weight_norm computes"}
    assert report.totals.unregistered == 0


def test_pruning_stores_all_and_a_mask_beside() -> None:
    module = nn.Linear(100, 100)
    prune.l1_unstructured(module, "weight", 0.5)
    report = look(module, torch.ones(2, 100))
    assert counts(report) == {"weight_orig": 10_000, "bias": 100}
    assert (report.totals.parameters, report.totals.buffer_bytes) == (10_100, 40_000)
    assert row_of(report, "weight_mask").kind == "buffer"
    assert report.totals.unregistered == 0


def test_all_frozen() -> None:
    report = look(nn.Linear(10, 10).requires_grad_(False), torch.ones(2, 10))
    assert (report.totals.parameters, report.totals.trainable, report.totals.frozen) == (110, 0, 110)
    assert statuses(report) == {"weight": "frozen", "bias": "frozen"}


def test_a_frozen_weight_with_a_bias_that_trains() -> None:
    module = nn.Linear(10, 10)
    module.weight.requires_grad_(False)
    report = look(module, torch.ones(2, 10))
    assert (report.totals.trainable, report.totals.frozen) == (10, 100)
    assert statuses(report) == {"weight": "frozen", "bias": "ok"}


class NeverCalled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(10, 10), nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_layer_that_is_never_called() -> None:
    report = look(NeverCalled(), torch.ones(2, 10))
    assert report.totals.parameters == 220
    assert statuses(report) == {
        "used.weight": "ok",
        "used.bias": "ok",
        "spare.weight": "unused",
        "spare.bias": "unused",
    }


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Linear(10, 10)
        self.blocks = [nn.Linear(10, 10)]
        self.scale = torch.ones(3, requires_grad=True)


def test_what_nobody_registers_has_rows_of_its_own() -> None:
    report = look(Forgetful())
    assert report.totals.parameters == 110
    assert {row.name: row.numel for row in report.parameters if row.kind == "unregistered"} == {
        "blocks[0].weight": 100,
        "blocks[0].bias": 10,
        "scale": 3,
    }
    assert report.totals.unregistered == 113


def test_a_large_buffer_has_its_row_and_total() -> None:
    module = nn.Linear(10, 10)
    module.register_buffer("table", torch.zeros(2**20))
    report = look(module)
    assert row_of(report, "table").bytes == report.totals.buffer_bytes == 4 * 2**20
    assert (report.totals.parameters, report.totals.bytes) == (110, 440)


def test_bytes_follow_the_dtype() -> None:
    report = look(nn.Linear(10, 10).half())
    assert (report.totals.parameters, report.totals.bytes) == (110, 220)


def test_a_lazy_layer_is_unknown_until_it_has_run() -> None:
    report = look(nn.LazyLinear(10))
    assert counts(report) == {"weight": None, "bias": None}
    assert report.totals.unknown == 2
    assert "an unknown number of parameters" in "".join(render(report, "table", View()))
    assert counts(look(nn.LazyLinear(10), torch.ones(2, 5))) == {"weight": 50, "bias": 10}


def test_large_counts_are_exact() -> None:
    report = look(nn.Linear(149_000, 1_000, bias=False, device="meta"))
    assert report.totals.parameters == 149_000_000
    assert "149,000,000" in "".join(render(report, "table", View()))
    assert report.parameters[0].values is None


def test_the_spread_is_the_standard_deviation() -> None:
    torch.manual_seed(0)
    module = nn.Linear(300, 300, bias=False)
    nn.init.normal_(module.weight, std=0.02)
    values = look(module).parameters[0].values
    assert values is not None
    assert values.std == pytest.approx(float(module.weight.detach().double().std(correction=0)), rel=1e-12)
    assert values.std == pytest.approx(0.02, rel=0.01)


NAME = "a_name_of_exactly_seventy-five_characters_that_no_pipe_may_cut_in_any_way__"


@pytest.mark.parametrize("form", ["table", "plain", "markdown", "csv"])
def test_a_long_name_costs_no_column_in_a_pipe(form: str) -> None:
    assert len(NAME) == 75
    module = nn.Sequential()
    module.register_parameter(NAME, nn.Parameter(torch.full((123, 7), 0.5)))
    (line,) = (line for line in "".join(render(look(module), form, View())).splitlines() if NAME in line)
    assert "861" in line
    assert "float32" in line
    assert "0.5" in line


def test_a_forward_that_raises_leaves_the_static_table() -> None:
    module = nn.Sequential(nn.Linear(10, 10), nn.Linear(7, 3))
    report = look(module, torch.ones(2, 10))
    assert counts(report) == {"0.weight": 100, "0.bias": 10, "1.weight": 21, "1.bias": 3}
    assert report.totals.parameters == 134
    assert [(error.code, error.where) for error in report.errors] == [("forward-failed", "layer '1'")]
    assert all(row.values is not None for row in report.parameters)
    assert set(statuses(report).values()) == {"not-run"}


def test_deep_nesting() -> None:
    """Each level is one path: a walk that doubles at each would never come to an end."""
    module: nn.Module = nn.Linear(3, 3)
    for _ in range(60):
        module = nn.Sequential(module)
    report = look(module, torch.ones(2, 3))
    prefix = "0." * 60
    assert counts(report) == {f"{prefix}weight": 9, f"{prefix}bias": 3}
    assert [layer.module for layer in report.layers] == [prefix[:-1]]
