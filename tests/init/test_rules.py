"""What rules fill, in which order, what one does to another, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.init.apply import accounts, apply_rules
from paraminspect.init.calibration import scale_to_batch
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.report import RuleApplied


def rules(*texts: str, apart: bool = False) -> tuple[BoundRule, ...]:
    return bind_rules(option_rules(None, None, texts), allow_code=True, seed_per_parameter=apart)


def notes(module: nn.Module, *texts: str) -> dict[str, tuple[str, ...]]:
    """Return what is said of every Parameter that a rule touched, by its first name."""
    applied = apply_rules(module, rules(*texts))
    return {name: applied[id(p)].init.notes for name, p in module.named_parameters() if id(p) in applied}


def tied() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net


# --- which ------------------------------------------------------------------------------------------------------


def test_every_rule_that_matches_nothing_is_named_in_one_message() -> None:
    named = option_rules(None, "zeros", ["0.weight=ones", "1.*=ones", "0.wieght=ones"])
    bound = bind_rules(named, allow_code=True)
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    before = net[0].weight.detach().clone()
    with pytest.raises(UserError) as raised:
        apply_rules(net, bound)
    assert (raised.value.where, raised.value.code) == ("", "glob-matches-nothing")
    assert raised.value.message == (
        "3 rules match nothing: --bias no parameter is a bias: none has it in the last part of its name; "
        "--rule '1.*' matches no parameter; --rule '0.wieght' matches no parameter"
    )
    assert raised.value.hint == "did you mean '0.weight'?"
    assert torch.equal(net[0].weight, before)


def test_what_each_rule_came_to() -> None:
    bound = rules("*.weight=normal", "0.weight=ones", "*.weight=zeros", "*.bias=ones", "2.bias=zeros")
    net = tied()
    applied = apply_rules(net, bound)
    assert accounts(bound, applied, net) == (
        RuleApplied("*.weight=normal", "--rule", 2, 0),
        RuleApplied("0.weight=ones", "--rule", 1, 0),
        RuleApplied("*.weight=zeros", "--rule", 2, 2),
        RuleApplied("*.bias=ones", "--rule", 3, 2),
        RuleApplied("2.bias=zeros", "--rule", 1, 1),
    )


def test_rules_draw_in_the_order_written_as_a_script_would() -> None:
    net, plain = tied(), tied()
    torch.manual_seed(3)
    apply_rules(net, rules("*.weight=normal", "1.weight=xavier_uniform"))
    torch.manual_seed(3)
    for weight in (plain[0].weight, plain[2].weight):
        nn.init.normal_(weight)
    nn.init.xavier_uniform_(plain[0].weight)
    assert torch.equal(net[0].weight, plain[0].weight)
    assert torch.equal(net[2].weight, plain[2].weight)
    assert torch.rand(1).item() == torch.rand(1, generator=_after(3, plain)).item()


def _after(seed: int, plain: nn.Sequential) -> torch.Generator:
    """Return a generator that has drawn what the three fills draw."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        nn.init.normal_(torch.empty(4, 4), generator=generator)
    nn.init.xavier_uniform_(torch.empty(4, 4), generator=generator)
    return generator


# --- one Parameter, one memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            ("0.weight=normal", "1.weight=ones"),
            (
                "one Parameter that two rules claim, 0.weight=normal by '0.weight' and 1.weight=ones by '1.weight': "
                "the last one wins",
            ),
        ),
        (("0.weight=normal", "0.weight=ones"), ()),
        (("*.weight=normal", "1.weight=ones"), ()),
        (("1.weight=ones",), ()),
    ],
)
def test_two_rules_that_claim_a_tied_weight_by_different_names(
    texts: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    net = tied()
    assert notes(net, *texts)["0.weight"] == expected
    assert torch.equal(net[1].weight, torch.ones(4, 4))


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(4, 4))
        self.b = nn.Parameter(self.a.detach().t())
        self.c = nn.Parameter(self.a.detach()[:2])
        self.far = nn.Parameter(torch.zeros(4, 4))


def test_two_parameters_over_one_memory() -> None:
    net = Views()
    applied = apply_rules(net, rules("a=constant:val=2", "b=constant:val=3", "far=ones"))
    assert torch.equal(net.a, torch.full((4, 4), 3.0))
    a, b = applied[id(net.a)], applied[id(net.b)]
    assert (a.moments, a.init.expected_mean, a.init.expected_high) == (None, None, None)
    assert set(a.init.notes) == {
        "b=constant:val=3 filled 'b' after it, in the same memory",
        "'c' lies in the same memory and changed with it",
    }
    assert b.init.expected_mean == 3.0
    assert set(b.init.notes) == {
        "lies in the memory of 'a', which was filled before it",
        "'c' lies in the same memory and changed with it",
    }
    assert applied[id(net.far)].init.notes == ()


def test_a_rule_that_fills_both_views_leaves_what_it_expects() -> None:
    net = Views()
    applied = apply_rules(net, rules("[ab]=normal"))
    assert applied[id(net.a)].init.expected_std == 1.0
    assert "[ab]=normal filled 'b' after it, in the same memory" in applied[id(net.a)].init.notes


# --- padding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("padding", [0, 7, -1])
def test_the_padding_row_stays_zero(kind: type[nn.Embedding], padding: int) -> None:
    net = nn.Sequential(kind(10, 6, padding_idx=padding))
    applied = apply_rules(net, rules("0.weight=uniform:a=1,b=2"))
    weight = net[0].weight.detach()
    assert torch.equal(weight[padding], torch.zeros(6))
    others = torch.cat([weight[: padding % 10], weight[padding % 10 + 1 :]])
    assert bool((others >= 1).all())
    init = applied[id(net[0].weight)].init
    assert init.notes == (f"padding row {padding % 10} set to zero again",)
    assert (init.expected_mean, init.expected_low, init.expected_high) == (pytest.approx(1.35), 0.0, 2.0)
    assert net[0].weight.grad is None
    assert net[0].weight.grad_fn is None


def test_the_padding_row_of_a_tied_embedding_stays_zero() -> None:
    net = nn.Sequential(nn.Linear(6, 10), nn.Embedding(10, 6, padding_idx=3))
    net[1].weight = net[0].weight
    apply_rules(net, rules("0.weight=ones"))
    assert net[0].weight.sum(1).tolist() == [6.0] * 3 + [0.0] + [6.0] * 6


# --- a stream for each parameter ---------------------------------------------------------------------------------------


def filled(net: nn.Module, seed: int, texts: Iterable[str] = ("*=uniform",)) -> dict[str, torch.Tensor]:
    torch.manual_seed(99)
    state = torch.get_rng_state()
    apply_rules(net, rules(*texts, apart=True), seed)
    assert torch.equal(torch.get_rng_state(), state)
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def test_a_layer_more_leaves_the_draws_of_the_others_alone() -> None:
    few = filled(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), 5)
    many = filled(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 40)), 5, ("*weight=normal", "*=uniform"))
    assert all(torch.equal(few[name], many[name]) for name in few)
    assert not torch.equal(few["0.weight"], filled(nn.Sequential(nn.Linear(4, 3)), 6)["0.weight"])


def test_the_stream_is_that_of_the_seed_and_the_first_name() -> None:
    """SHA-256 of ``5:0.weight`` begins with these bytes, by ``printf 5:0.weight | sha256sum``."""
    found = filled(tied(), 5, ("1.weight=normal",))["0.weight"]
    seed = int.from_bytes(bytes.fromhex(FIRST_BYTES), "little")
    assert torch.equal(found, torch.empty(4, 4).normal_(generator=torch.Generator().manual_seed(seed)))


FIRST_BYTES = "186576582ffeb759"


# --- on a batch ---------------------------------------------------------------------------------------------------------


def test_lsuv_says_by_what_it_scaled_and_expects_that_much() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    bound = rules("*.weight=lsuv")
    applied = apply_rules(net, bound)
    x = 3.0 * torch.randn(256, 64)
    scaled = scale_to_batch(net, (x,), {}, applied)
    init = scaled[id(net[0].weight)].init
    assert init.expected_std == pytest.approx(net[0].weight.std(correction=0).item(), rel=1e-3)
    factor = init.expected_std * 8.0  # an orthogonal matrix of 64 columns has an rms of 1/8
    (note,) = init.notes
    assert note.startswith(f"scaled by {factor:.4g} in 1 step: std of the output {1 / factor:.4g}, then ")
    assert (x @ net[0].weight.T).var().item() == pytest.approx(1.0, abs=0.1)
