"""``--scheme`` fills the weights that mix inputs, ``--bias`` the biases but those of norms; globs fill what they match."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from paraminspect.errors import UserError
from paraminspect.init.apply import accounts, apply_rules
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.report import RuleApplied


def rules(scheme: str | None = None, bias: str | None = None, *globs: str) -> tuple[BoundRule, ...]:
    return bind_rules(option_rules(scheme, bias, globs), allow_code=True)


class Block(nn.Module):
    """Has one of each: norms, a PReLU, layer scale, packed and computed weights, a lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 8, padding_idx=0)
        self.conv = nn.Conv1d(8, 8, 3, bias=False)
        self.bn = nn.BatchNorm1d(8)
        self.act = nn.PReLU(8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.ln = nn.LayerNorm((4, 8))
        self.rnn = nn.GRU(8, 8)
        self.weighted = parametrizations.weight_norm(nn.Linear(8, 8))
        self.layer_scale_weight = nn.Parameter(torch.full((8,), 1e-4))
        self.out = nn.Linear(8, 3)


def by_hand(net: Block, fill: Callable[[torch.Tensor], object]) -> None:
    """Fill what mixes inputs as one would by hand, in torch's order."""
    fill(net.words.weight)
    with torch.no_grad():
        net.words.weight[0].zero_()
    for weight in (net.conv.weight, net.attention.in_proj_weight, net.attention.out_proj.weight):
        fill(weight)
    for weight in (net.rnn.weight_ih_l0, net.rnn.weight_hh_l0):
        fill(weight)
    drawn = torch.empty(8, 8)
    fill(drawn)
    net.weighted.weight = drawn
    fill(net.out.weight)


SCHEMES: dict[str, Callable[[torch.Tensor], object]] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "normal:std=0.02": lambda w: nn.init.normal_(w, std=0.02),
    "constant:val=2": lambda w: nn.init.constant_(w, 2),
}


def pair() -> tuple[Block, Block]:
    torch.manual_seed(0)
    ours, plain = Block(), Block()
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fills_what_one_would_fill_by_hand(scheme: str) -> None:
    ours, plain = pair()
    torch.manual_seed(1)
    apply_rules(ours, rules(scheme))
    torch.manual_seed(1)
    by_hand(plain, SCHEMES[scheme])
    expected = plain.state_dict()
    assert [name for name, value in ours.state_dict().items() if not torch.equal(value, expected[name])] == []


def test_what_is_left_is_on_record() -> None:
    net = Block()
    bound = rules("normal", "ones")
    assert accounts(bound, apply_rules(net, bound), net) == (
        RuleApplied(
            "*weight*=normal", "--scheme", 8, 8, 0, ("bn.weight", "ln.weight"), ("layer_scale_weight", "act.weight")
        ),
        RuleApplied("*bias*=ones", "--bias", 6, 6, 0, ("bn.bias", "ln.bias"), ()),
    )


def test_a_bias_is_filled_but_no_shift_of_a_norm() -> None:
    net = Block()
    apply_rules(net, rules(bias="constant:val=7"))
    filled = {name for name, p in net.named_parameters() if bool((p == 7).all())}
    assert filled == {
        "attention.in_proj_bias",
        "attention.out_proj.bias",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "weighted.bias",
        "out.bias",
    }


def test_a_rule_reaches_what_is_left() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.LayerNorm(4))
    bound = rules("normal", None, "1.*=constant:val=3")
    applied = apply_rules(net, bound)
    assert net[1].weight.tolist() == net[1].bias.tolist() == [3.0] * 4
    assert accounts(bound, applied, net)[0] == RuleApplied("*weight*=normal", "--scheme", 2, 2, 0, ("3.weight",))


def test_a_glob_is_a_glob() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    bound = rules(None, None, "*.weight=constant:val=3")
    (found,) = accounts(bound, apply_rules(net, bound), net)
    assert net[1].weight.tolist() == [3.0] * 4
    assert (found.matched, found.norms, found.others) == (2, (), ())


def test_a_tie_counts_by_the_names_that_mix() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm((4, 4)))
    net[1].weight = net[0].weight
    apply_rules(net, rules("zeros"))
    assert not net[0].weight.any()


def test_lazy_norms_are_left_and_lazy_layers_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.Linear(4, 4))
    apply_rules(net, rules("zeros"))
    assert not net[0].weight.any()
    with pytest.raises(UserError, match=r"'0\.weight' has no shape before the first forward"):
        apply_rules(nn.Sequential(nn.LazyLinear(3)), rules("zeros"))


# --- nothing to fill ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "scheme", "bias", "message", "hint"),
    [
        (
            nn.Sequential(nn.LayerNorm(4), nn.PReLU(), nn.LayerNorm(4)),
            "normal",
            None,
            "no parameter is a weight that mixes inputs; there are 2 gains of normalisation layers (0.weight, 2.weight) "
            "and 1 other weight of single elements (1.weight)",
            "--rule '0.weight=SCHEME' reaches one",
        ),
        (
            nn.Sequential(nn.PReLU()),
            "kaiming_normal",
            None,
            "no parameter is a weight that mixes inputs; there is 1 other weight of single elements (0.weight)",
            "--rule '0.weight=SCHEME' reaches one",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
            None,
            "zeros",
            "no parameter is a bias but of normalisation layers; there is 1 shift of a normalisation layer (1.bias)",
            "--rule '1.bias=SCHEME' reaches one",
        ),
        (
            nn.Sequential(nn.Linear(4, 4, bias=False)),
            None,
            "zeros",
            "no parameter is a bias: none has it in the last part of its name",
            "parameters: 0.weight",
        ),
    ],
)
def test_where_nothing_is_to_fill_it_says_what_there_is(
    net: nn.Module, scheme: str | None, bias: str | None, message: str, hint: str
) -> None:
    with pytest.raises(UserError) as raised:
        apply_rules(net, rules(scheme, bias))
    error = raised.value
    assert (error.message, error.hint, error.code) == (message, hint, "glob-matches-nothing")


# --- a hint names what the model has ----------------------------------------------------------------------------------


def net() -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("module", "glob", "hint"),
    [
        (net(), "*=kaiming_normal", "name the parameters that have them, e.g. --rule '1.weight=kaiming_normal'"),
        (net(), "*.bias=orthogonal", "restrict the rule to weights"),
        (nn.Linear(4, 3), "*=xavier_normal", "restrict the rule to weights, e.g. --rule 'weight=xavier_normal'"),
        (net()[1:2], "*=xavier_normal", "restrict the rule to weights, e.g. --rule '*.weight=xavier_normal'"),
        (net()[:1], "*=kaiming_normal", "name the parameters that have them"),
        (
            nn.Sequential(nn.Conv1d(2, 2, 3), nn.Linear(3, 3)),
            "*weight=eye",
            "restrict the rule to matrices; dirac is the identity of a convolution, e.g. --rule '1.weight=eye'",
        ),
    ],
)
def test_a_hint_names_what_the_scheme_can_fill(module: nn.Module, glob: str, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        apply_rules(module, rules(None, None, glob))
    assert (raised.value.code, raised.value.hint) == ("wrong-shape", hint)
