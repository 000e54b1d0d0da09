"""Rules for gates and rows: which elements they fill, in torch's own order, and what is said of each slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from paraminspect.errors import UserError
from paraminspect.experiments.init import init
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.init.apply import accounts, apply_rules
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.modules.subject import Subject
from paraminspect.report import Parameter, Report, Source, Values
from paraminspect.sources.examples import batch_of
from tests.cases import each


def rules(*texts: str) -> tuple[BoundRule, ...]:
    return bind_rules(option_rules(None, None, texts), allow_code=True)


def told(
    command: Callable[..., Report], net: nn.Module, *texts: str, x: torch.Tensor | None = None, **asked: Any
) -> Report:
    make = None if x is None else lambda: batch_of(x)
    subject = Subject(net, Source("module", "net"), seed=0, make_input=make)
    return command(subject, Request(command.__name__, **asked), rules(*texts))


# --- which elements ----------------------------------------------------------------------------------------------


def test_the_gates_are_those_of_torchs_formulas() -> None:
    """With its forget gate open and its input gate shut an LSTM keeps its cell; a GRU's update gate keeps the state."""
    x = torch.randn(5, 2, 3)
    lstm, cell = nn.LSTM(3, 4, num_layers=2, bidirectional=True), nn.LSTMCell(3, 4)
    for net in (lstm, cell):
        apply_rules(net, rules("*bias_ih*[forget]=constant:val=200", "*bias_ih*[input]=constant:val=-200"))
    c = torch.randn(4, 2, 4)
    torch.testing.assert_close(lstm(x, (torch.zeros_like(c), c))[1][1], c)
    torch.testing.assert_close(cell(x[0], (c[0], c[1]))[1], c[1])
    gru = nn.GRU(3, 4)
    apply_rules(gru, rules("bias_ih_l0[update]=constant:val=200"))
    torch.testing.assert_close(gru(x, c[:1])[1], c[:1])
    apply_rules(gru, rules("bias_ih_l0[update]=constant:val=-200", "*[new]=zeros", "*[reset]=zeros"))
    torch.testing.assert_close(gru(x, c[:1])[1], torch.zeros(1, 2, 4))
    opened = nn.LSTM(3, 4)
    apply_rules(
        opened, rules("*=zeros", "bias_hh_l0[cell,output]=constant:val=200", "bias_hh_l0[input]=constant:val=9")
    )
    ones = torch.sigmoid(torch.tensor(9.0)) * torch.ones(1, 2, 4)
    torch.testing.assert_close(opened(x[:1])[0], torch.tanh(ones))
    attention = nn.MultiheadAttention(4, 2)
    apply_rules(attention, rules("*=normal", "in_proj_*[value]=zeros"))
    torch.testing.assert_close(attention(c, c, c)[0], attention.out_proj.bias.expand(4, 2, 4))
    apply_rules(attention, rules("in_proj_*[value]=normal", "in_proj_weight[query]=zeros", "in_proj_bias=zeros"))
    torch.testing.assert_close(attention(c, c, c)[1], torch.full((2, 4, 4), 0.25))


LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "LSTM": (lambda: nn.LSTM(3, 4), 4),
    "deep": (lambda: nn.LSTM(3, 4, num_layers=3, bidirectional=True, proj_size=2), 4),
    "without bias": (lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True, bias=False), 3),
    "cell": (lambda: nn.LSTMCell(3, 4), 4),
    "GRUCell": (lambda: nn.GRUCell(3, 4), 3),
    "below": (lambda: nn.Sequential(nn.Linear(2, 2), nn.GRU(3, 4)), 3),
    "attention": (lambda: nn.MultiheadAttention(4, 2), 3),
    "base": (lambda: nn.RNNBase("GRU", 3, 4), 3),
    "subclass": (lambda: type("Mine", (nn.LSTM,), {})(3, 4), 4),
}


@each(("build", "gates"), LAYERS.values(), ids=LAYERS)
@each("scheme", ["orthogonal", "xavier_normal", "kaiming_uniform:mode=fan_out", "eye"])
def test_each_gate_by_itself_has_the_bits_of_a_loop_over_chunks(
    build: Callable[[], nn.Module], gates: int, scheme: str
) -> None:
    torch.manual_seed(0)
    net = build()
    torch.manual_seed(0)
    plain = build()
    torch.manual_seed(7)
    applied = apply_rules(net, rules(f"*weight*[each]={scheme}"))
    torch.manual_seed(7)
    name, _, args = scheme.partition(":")
    function = getattr(nn.init, f"{name}_")
    filled = set()
    for path, weight in plain.named_parameters():
        leaf = path.rpartition(".")[2]
        if leaf.startswith(("weight_ih", "weight_hh", "in_proj_weight")):
            filled.add(path)
            for gate in weight.detach().chunk(gates):
                function(gate, **({"mode": "fan_out"} if args else {}))
    assert filled == {path for path, weight in net.named_parameters() if id(weight) in applied}
    for (_, one), (_, other) in zip(net.named_parameters(), plain.named_parameters(), strict=True):
        assert torch.equal(one, other)


def test_rows_are_counted_as_python_counts_them() -> None:
    for text, expected in (("0:2", [0, 1]), ("-2:", [3, 4]), (":1", [0]), ("1:-1", [1, 2, 3]), (":", [0, 1, 2, 3, 4])):
        net = nn.Linear(3, 5)
        net.bias.data.zero_()
        apply_rules(net, rules(f"bias[{text}]=ones"))
        assert net.bias.nonzero().flatten().tolist() == expected


def test_brackets_of_a_name_or_of_a_character_class_are_no_slice() -> None:
    net = nn.Module()
    for name in ("w[forget]", "w[0:2]", "wa", "wb", "wf"):
        net.register_parameter(name, nn.Parameter(torch.zeros(4)))
    assert len(apply_rules(net, rules("w[forget]=ones"))) == 1
    assert net.get_parameter("w[forget]").sum() == 4
    apply_rules(net, rules("w[0:2]=ones", "w[ab]=ones"))
    assert [p.sum().item() for p in net.parameters()] == [4, 4, 4, 4, 0]


def test_a_weight_that_is_computed_is_set_through_what_computes_it() -> None:
    net = parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    before = net.weight_hh_l0.detach().clone()
    torch.manual_seed(1)
    apply_rules(net, rules("weight_hh_l0[forget]=orthogonal"))
    torch.manual_seed(1)
    before[4:8] = nn.init.orthogonal_(torch.empty(4, 4))
    torch.testing.assert_close(net.weight_hh_l0.detach(), before)


@each(
    ("text", "message", "hint"),
    [
        (
            "lstm.bias_hh_l0[forgett]=ones",
            "'lstm.bias_hh_l0[forgett]': 'forgett' is no slice that is known, and as a character class it matches no "
            "parameter",
            "did you mean 'forget'? 'lstm.bias_hh_l0' has input, forget, cell, output",
        ),
        (
            "lstm.bias_hh_l0[f]=ones",
            "'lstm.bias_hh_l0[f]': 'f' is no slice that is known, and as a character class it matches no parameter",
            "did you mean 'forget'? 'lstm.bias_hh_l0' has input, forget, cell, output",
        ),
        (
            "lstm.*[reset]=ones",
            "'lstm.*[reset]': none of the 4 parameters that 'lstm.*' matches has reset",
            "'lstm.*' has input, forget, cell, output",
        ),
        (
            "lin.bias[forget]=ones",
            "'lin.bias[forget]': 'lin.bias' has no forget",
            "'lin.bias' is of one piece; its rows go by number: [0:5]",
        ),
        ("lin.bias[3]=ones", None, "row 3 alone is [3:4]"),
        (
            "lin.bias[2:6]=ones",
            "[2:6] does not lie in 'lin.bias', which has 5 rows",
            "rows count from 0: [0:5] is all of them; a glob must match only tensors that have those rows",
        ),
        ("lni.bias[0:2]=ones", "'lni.bias[0:2]' matches no parameter", "did you mean 'lin.bias' with [0:2] behind it?"),
        (
            "lin.weight[0:2]=lsuv",
            "lsuv scales whole weights, by what their layers return; 'lin.weight[0:2]' is a slice",
            "leave [0:2] out",
        ),
        (
            "lin.bias[0:2]=orthogonal",
            "orthogonal needs at least 2 dimensions; parameter 'lin.bias[0:2]' has shape (2,)",
            "restrict the rule to weights",
        ),
    ],
)
def test_what_is_wrong_with_a_slice_is_said_before_anything_changes(text: str, message: str | None, hint: str) -> None:
    net = nn.ModuleDict({"lstm": nn.LSTM(3, 4), "lin": nn.Linear(4, 5)})
    before = {name: one.detach().clone() for name, one in net.named_parameters()}
    with pytest.raises(UserError) as raised:
        apply_rules(net, rules("*=normal", text))
    assert message is None or raised.value.message == message
    assert raised.value.hint == hint
    assert all(torch.equal(one, before[name]) for name, one in net.named_parameters())


# --- what is said ------------------------------------------------------------------------------------------------


def test_a_later_rule_wins_where_it_fills_and_nowhere_else() -> None:
    bound = rules("*=zeros", "bias_hh_l0[forget]=ones", "bias_hh_l0[0:4]=normal", "bias_hh_l0[0:8]=ones")
    net = nn.LSTM(3, 4)
    applied = apply_rules(net, bound)
    assert [(one.rule, one.matched, one.kept) for one in accounts(bound, applied, net)] == [
        ("*=zeros", 4, 4),
        ("bias_hh_l0[forget]=ones", 1, 0),
        ("bias_hh_l0[0:4]=normal", 1, 0),
        ("bias_hh_l0[0:8]=ones", 1, 1),
    ]
    assert net.bias_hh_l0.tolist() == [1.0] * 8 + [0.0] * 8
    row = told(init, nn.LSTM(3, 4), *(str(one.rule) for one in bound)).parameters[3]
    assert row.init and row.init.scheme == "slices"
    inits = [part.init for part in row.parts]
    assert [(part.label, one and one.scheme) for part, one in zip(row.parts, inits, strict=True)] == [
        ("[input]", "ones"),
        ("[forget]", "ones"),
        ("[cell]", "zeros"),
        ("[output]", "zeros"),
    ]
    assert inits[0] and inits[0].overridden == ("*=zeros", "bias_hh_l0[forget]=ones", "bias_hh_l0[0:4]=normal")
    again = told(init, nn.LSTM(3, 4), "bias_hh_l0[forget]=ones", "*=zeros").parameters[3]
    assert again.init and again.init.overridden == ("bias_hh_l0[forget]=ones",)
    everything = rules("bias_hh_l0=zeros", "bias_hh_l0[each]=ones")
    assert [one.kept for one in accounts(everything, apply_rules(net, everything), net)] == [0, 1]


def assert_figures(found: Values | None, tensor: torch.Tensor) -> None:
    assert found is not None
    assert found.mean == pytest.approx(tensor.double().mean().item(), rel=1e-12, abs=1e-15)
    assert found.rms == pytest.approx(tensor.double().square().mean().sqrt().item(), rel=1e-12)
    assert (found.min, found.max) == (tensor.min().item(), tensor.max().item())


def test_parts_have_the_figures_of_torchs_chunks_and_are_counted_once() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.gru = nn.LSTM(3, 4, 2, bidirectional=True), nn.GRU(8, 8)
            self.rnn, self.attention = nn.RNN(8, 8), nn.MultiheadAttention(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.rnn(self.gru(self.lstm(x)[0])[0])[0]
            out: torch.Tensor = self.attention(x, x, x)[0]
            return out

    net, x = Net(), torch.randn(3, 2, 3)
    before = {name: one.detach().clone() for name, one in net.named_parameters()}
    report = told(show, net, x=x, gates=True)
    assert (
        report.totals.parameters
        == sum(p.numel() for p in net.parameters())
        == sum(row.numel or 0 for row in report.parameters)
    )
    gates = {"lstm": 4, "gru": 3, "attention": 3}
    for row in report.parameters:
        leaf, parameter = row.name.rpartition(".")[2], net.get_parameter(row.name)
        stacked = leaf.startswith(("weight_ih", "weight_hh", "bias_", "in_proj")) and not row.name.startswith("rnn")
        assert len(row.parts) == (gates[row.name.partition(".")[0]] if stacked else 0), row.name
        chunks = zip(row.parts, before[row.name].chunk(len(row.parts) or 1), strict=stacked)
        for part, chunk in chunks if stacked else ():
            assert part.shape == tuple(chunk.shape)
            assert_figures(part.values, chunk)
        assert parameter.grad is None
    (net(x).sum()).backward()
    for row in report.parameters:
        grad = net.get_parameter(row.name).grad
        assert grad is not None
        for part, chunk in zip(row.parts, grad.chunk(len(row.parts) or 1), strict=False):
            assert part.gradient is not None
            assert part.gradient.rms == pytest.approx(chunk.square().mean().sqrt().item(), rel=1e-4, abs=1e-9)


def test_every_slice_is_judged_by_what_filled_it() -> None:
    """A wrong scale in one gate is found there, and healthy ones are never called off: 60 nets drawn anew."""
    texts = (
        "*=normal:std=0.1",
        "lstm.weight_hh_l0[each]=orthogonal",
        "lstm.bias_hh_l0[forget]=constant:val=1",
        "emb.weight[2:40]=uniform:a=-1,b=1",
        "lin.weight[:10]=kaiming_normal:mode=fan_out",
    )
    for seed in range(60):
        torch.manual_seed(seed)
        net = nn.ModuleDict(
            {"lstm": nn.LSTM(12, 12), "emb": nn.Embedding(50, 9, padding_idx=3), "lin": nn.Linear(9, 24)}
        )
        report = told(init, net, *texts, gates=True)
        judged = {verdict.where: verdict for verdict in report.verdicts if verdict.figure == "std"}
        assert [verdict for verdict in report.verdicts if verdict.verdict.endswith("off")] == []
    assert {"lstm.weight_hh_l0[forget]", "lstm.weight_ih_l0", "lstm.weight_ih_l0[cell]", "lin.weight[0:10]"} <= {
        *judged
    }
    assert "lstm.weight_hh_l0" not in judged
    assert judged["lstm.weight_hh_l0[forget]"].expected == pytest.approx(12**-0.5)
    assert judged["lin.weight[0:10]"].expected == pytest.approx((2 / 10) ** 0.5)


def parts_named(row: Parameter) -> list[str]:
    return [part.label for part in row.parts]


def test_the_parts_follow_the_gates_or_the_rows_that_were_filled() -> None:
    lstm = nn.LSTM(2, 4)
    report = told(init, lstm, "bias_hh_l0[3:5]=ones", "weight_hh_l0[4:8]=zeros")
    assert [parts_named(row) for row in report.parameters] == [
        [],
        ["[input]", "[forget]", "[cell]", "[output]"],
        [],
        ["[0:3]", "[3:5]", "[5:16]"],
    ]
    asked = told(init, lstm, "bias_hh_l0[3:5]=ones", gates=True)
    assert parts_named(asked.parameters[3]) == ["[0:3]", "[3:4]", "[4:5]", "[5:8]", "[cell]", "[output]"]
    assert parts_named(told(init, nn.Embedding(5, 2, padding_idx=4), "weight[padding]=ones").parameters[0]) == [
        "[0:4]",
        "[padding]",
    ]


# --- neighbours: stacked matrices, far bounds, padding rows ---------------------------------------------------------


def notes(net: nn.Module, text: str) -> dict[str, tuple[str, ...]]:
    applied = apply_rules(net, rules(text))
    return {name: applied[id(p)].init.notes for name, p in net.named_parameters() if id(p) in applied}


@pytest.mark.parametrize("scheme", ["orthogonal", "xavier_uniform", "kaiming_normal:mode=fan_out", "eye"])
def test_a_scheme_that_takes_stacked_gates_for_one_matrix_says_so_and_what_to_type(scheme: str) -> None:
    found = notes(nn.LSTM(3, 4), f"weight*={scheme}")
    assert len(set(found.values())) == 1
    (note,) = found["weight_hh_l0"]
    assert note.startswith(f"{scheme.partition(':')[0]} takes the 4 gates for one matrix, whose std is smaller")
    typed = note.partition("--rule '")[2].partition("'")[0]
    assert all(not any("takes" in one for one in said) for said in notes(nn.LSTM(3, 4), typed).values())


def test_where_the_gates_alone_would_be_drawn_alike_nothing_is_said_of_one_matrix() -> None:
    for scheme in ("normal", "zeros", "kaiming_normal", "lecun_normal", "sparse:sparsity=0.5"):
        assert not [one for said in notes(nn.GRU(3, 4), f"weight*={scheme}").values() for one in said if "takes" in one]
    assert notes(nn.RNN(3, 4), "weight*=orthogonal") == {"weight_ih_l0": (), "weight_hh_l0": ()}


@pytest.mark.parametrize(
    ("args", "far"),
    [
        ("std=0.02", "the bounds -2 and 2 lie 100 std away or more: nothing is cut, it is a plain normal; "
         "a=-0.04,b=0.04 cut at 2 std"),
        ("std=0.5,mean=1,a=-9,b=9", "the bounds -9 and 9 lie 16 std away or more: nothing is cut, it is a plain normal; "
         "a=0,b=2 cut at 2 std"),
        ("std=1", ""),
        ("std=0.02,a=-0.04,b=0.04", ""),
        ("std=0.02,a=-0.04", ""),
    ],
)  # fmt: skip
def test_bounds_that_cut_nothing_are_said(args: str, far: str) -> None:
    assert notes(nn.Linear(30, 30), f"weight=trunc_normal:{args}")["weight"] == ((far,) if far else ())


def test_a_padding_row_that_is_not_zero_is_said_with_its_rms_and_healthy_ones_are_not() -> None:
    def rows(net: nn.Module, *texts: str) -> list[tuple[str | None, float]]:
        found = told(show, net, *texts, forward=False)
        return [(one.where, one.measured) for one in found.verdicts if one.about == "padding"]

    kinds = (nn.Embedding(6, 4, padding_idx=0), nn.EmbeddingBag(6, 4, padding_idx=-1), nn.Embedding(6, 4))
    net = nn.ModuleList(kinds)
    assert rows(net) == []
    for kind in kinds:
        nn.init.normal_(kind.weight)
    rms = [kinds[0].weight[0].square().mean().sqrt().item(), kinds[1].weight[5].square().mean().sqrt().item()]
    assert rows(net) == [("0.weight[0]", pytest.approx(rms[0])), ("1.weight[5]", pytest.approx(rms[1]))]
    assert rows(net, "*[padding]=zeros") == []
    tied = nn.ModuleList([nn.Embedding(6, 4, padding_idx=0), nn.Linear(4, 6, bias=False)])
    tied[1].weight = tied[0].weight
    nn.init.normal_(tied[0].weight)
    assert rows(tied) == []  # the output layer trains that row
