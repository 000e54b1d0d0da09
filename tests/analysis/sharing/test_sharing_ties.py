"""TieDeclarations ties: what becomes of them in torch, which verdict they get, and whether the repair repairs."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.sharing import find_sharing
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.modules.subject import Ties
from paraminspect.report import Sharing
from tests.cases import each

HEAD, EMBEDDING = "head.weight", "emb.weight"
DECLARED = Ties(((HEAD, EMBEDDING),), "_tied_weights_keys")


class Language(nn.Module):
    """An embedding and an output layer, tied or not."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.emb = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        if tied:
            self.head.weight = self.emb.weight


def found(module: nn.Module, ties: Ties = DECLARED) -> list[Sharing]:
    inventory = take_inventory(module)
    values = {id(entry.tensor): measure(entry.tensor) for entry in inventory.entries}
    return list(find_sharing(inventory, ties, values))


def judged(module: nn.Module, ties: Ties = DECLARED) -> list[tuple[str, str | None]]:
    return [(shared.kind, shared.verdict) for shared in found(module, ties)]


# --- what ties survive --------------------------------------------------------------------------------------


def assigned(module: nn.Module) -> nn.Module:
    fresh = Language(tied=False)
    fresh.load_state_dict(module.state_dict(), assign=True)
    return fresh


def assigned_from_copies(module: nn.Module) -> nn.Module:
    fresh = Language()
    fresh.load_state_dict({name: tensor.clone() for name, tensor in module.state_dict().items()}, assign=True)
    return fresh


def copied(module: nn.Module) -> nn.Module:
    fresh = Language()
    fresh.load_state_dict(module.state_dict())
    return fresh


def overwritten(module: nn.Module) -> nn.Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return module.half()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def old_weight_norm(module: Language) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module.head)
    return module


def new_weight_norm(module: Language) -> nn.Module:
    nn.utils.parametrizations.weight_norm(module.head)
    return module


def materialised() -> nn.Module:
    """Return a model built on meta, tied, and then given memory; numbers of its own, lest garbage be equal."""
    with torch.device("meta"):
        module = Language()
    assert judged(module) == [("same-parameter", "intact")]
    module.to_empty(device="cpu")
    for parameter in module.parameters():
        nn.init.uniform_(parameter)
    return module


SURVIVAL: dict[str, tuple[Callable[[Language], nn.Module], list[tuple[str, str | None]]]] = {
    "nothing": (lambda module: module, [("same-parameter", "intact")]),
    "deepcopy": (copy.deepcopy, [("same-parameter", "intact")]),
    "half": (lambda module: module.half(), [("same-parameter", "intact")]),
    "to the same device": (lambda module: module.to("cpu"), [("same-parameter", "intact")]),
    "load_state_dict": (copied, [("same-parameter", "intact")]),
    "to meta": (lambda module: module.to("meta"), [("not-shared", "broken")]),
    "to_empty of what is there": (lambda module: module.to_empty(device="cpu"), [("same-parameter", "intact")]),
    "to_empty of meta": (lambda module: materialised(), [("not-shared", "broken")]),
    "assign": (assigned, [("same-view", "broken")]),
    "assign from copies": (assigned_from_copies, [("equal-not-shared", "broken")]),
    "overwriting": (overwritten, [("equal-not-shared", "broken")]),
    "old weight_norm": (old_weight_norm, [("same-view", None), ("not-shared", "missing")]),
    "new weight_norm": (new_weight_norm, [("same-view", None), ("not-shared", "missing")]),
}


@each("name", SURVIVAL)
def test_when_ties_survive(name: str) -> None:
    change, wanted = SURVIVAL[name]
    assert judged(change(Language())) == wanted


# --- verdicts -----------------------------------------------------------------------------------------------


def changed(change: Callable[[Language], object]) -> Language:
    module = Language(tied=False)
    change(module)
    return module


def give(name: str, make: Callable[[Language], torch.Tensor]) -> Language:
    """Return an untied model whose head's `name` is made from the model."""
    module = Language(tied=False)
    setattr(module.head, name, nn.Parameter(make(module)))
    return module


REPAIR = "model.head.weight = model.emb.weight"
BROKEN: dict[str, tuple[Callable[[], nn.Module], str, str | None]] = {
    "a half-tie": (lambda: give("weight", lambda m: m.emb.weight.data), "same-view", REPAIR),
    "a copy": (lambda: give("weight", lambda m: m.emb.weight.data.clone()), "equal-not-shared", REPAIR),
    "other values": (lambda: give("weight", lambda m: m.emb.weight.data + 1), "not-shared", REPAIR),
    "constants": (
        lambda: changed(lambda m: [nn.init.ones_(p) for p in m.parameters()]),
        "equal-constant",
        REPAIR,
    ),
    "transposed": (lambda: give("weight", lambda m: m.emb.weight.data.t()), "same-bytes-other-view", None),
    "a slice": (lambda: give("weight", lambda m: m.emb.weight.data[:3]), "nested", None),
    "other halves": (
        lambda: changed(
            lambda m: [
                setattr(owner, "weight", nn.Parameter(part))
                for owner, part in zip((m.emb, m.head), torch.arange(48.0).view(2, 6, 4), strict=True)
            ]
        ),
        "same-storage-disjoint",
        REPAIR,
    ),
    "another type": (lambda: give("weight", lambda m: m.emb.weight.data.double()), "not-shared", None),
    "lazy": (lambda: changed(lambda m: setattr(m, "head", nn.LazyLinear(6, bias=False))), "not-shared", None),
    "a buffer": (
        lambda: changed(lambda m: (delattr(m.head, "weight"), m.head.register_buffer("weight", m.emb.weight.data + 1))),
        "not-shared",
        None,
    ),
}


@each("name", BROKEN)
def test_a_broken_tie(name: str) -> None:
    make, kind, repair = BROKEN[name]
    (shared,) = (one for one in found(make()) if one.verdict)
    assert (shared.kind, shared.names, shared.verdict, shared.declared, shared.origin, shared.repair) == (
        kind,
        (EMBEDDING, HEAD),
        "broken",
        True,
        "_tied_weights_keys",
        repair,
    )


def test_a_missing_name() -> None:
    ties = Ties((("gone.weight", EMBEDDING),), "ties")
    assert found(Language(tied=False), ties) == [
        Sharing(
            "not-shared",
            ("gone.weight", EMBEDDING),
            0,
            0,
            declared=True,
            verdict="missing",
            origin="ties",
            missing=("gone.weight",),
        )
    ]


def test_a_tie_that_nothing_declares() -> None:
    assert judged(Language(), Ties()) == [("same-parameter", "undeclared")]


def test_a_module_that_is_registered_twice_is_a_declaration() -> None:
    assert judged(nn.Sequential(*[nn.Linear(2, 2, bias=False)] * 2), Ties()) == [("same-parameter", "intact")]


def test_two_attributes_of_one_module_are_not() -> None:
    module = nn.Module()
    module.a = module.b = nn.Parameter(torch.ones(2))
    (shared,) = found(module, Ties())
    assert (shared.same_module, shared.declared, shared.verdict) == (True, False, "undeclared")


def test_every_name_must_be_declared() -> None:
    module = Language()
    module.out = nn.Linear(4, 6, bias=False)
    module.out.weight = module.emb.weight
    assert judged(module) == [("same-parameter", "undeclared")]
    assert judged(module, Ties((*DECLARED.names, ("out.weight", HEAD)))) == [("same-parameter", "intact")]
    assert judged(module, Ties(((HEAD, EMBEDDING, "out.weight"),))) == [("same-parameter", "intact")]


def test_a_tie_of_three_is_judged_against_the_last() -> None:
    module = Language(tied=False)
    module.out = nn.Linear(4, 6, bias=False)
    module.out.weight = nn.Parameter(module.emb.weight.data)
    shared = found(module, Ties((("out.weight", HEAD, EMBEDDING),)))
    assert [(one.kind, one.names, one.repair) for one in shared] == [
        ("same-view", (EMBEDDING, "out.weight"), "model.out.weight = model.emb.weight"),
        ("not-shared", (EMBEDDING, HEAD), REPAIR),
    ]


def test_a_declared_pair_among_more() -> None:
    module = give("weight", lambda m: m.emb.weight.data)
    module.out = nn.Linear(4, 6, bias=False)
    module.out.weight = nn.Parameter(module.emb.weight.data)
    shared = found(module)
    assert [(one.kind, one.names, one.verdict, one.repair) for one in shared] == [
        (
            "same-view",
            (EMBEDDING, HEAD, "out.weight"),
            None,
            "model.head.weight = model.out.weight = model.emb.weight",
        ),
        ("same-view", (EMBEDDING, HEAD), "broken", REPAIR),
    ]


def test_a_view_of_a_copy_is_equal_too() -> None:
    """Of views of the same bytes one stands for all among what is equal; a tie may name any of them."""
    module = Language(tied=False)
    module.other = nn.Linear(4, 6, bias=False)
    module.other.weight = nn.Parameter(module.head.weight.data)
    module.emb.weight = nn.Parameter(module.head.weight.data.clone())
    shared = found(module, Ties((("other.weight", EMBEDDING),)))
    assert [(one.kind, one.names, one.verdict) for one in shared] == [
        ("same-view", (HEAD, "other.weight"), None),
        ("equal-not-shared", (EMBEDDING, "other.weight"), "broken"),
        ("equal-not-shared", (EMBEDDING, HEAD), None),
    ]


ALONE: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...], str | None]] = {
    "a half-tie": (lambda: give("weight", lambda m: m.emb.weight.data), "same-view", (EMBEDDING, HEAD), REPAIR),
    "a copy": (
        lambda: give("weight", lambda m: m.emb.weight.data.clone()),
        "equal-not-shared",
        (EMBEDDING, HEAD),
        REPAIR,
    ),
    "nothing like it": (lambda: Language(tied=False), "not-shared", (HEAD,), None),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_name_that_must_be_one_with_some_other(name: str) -> None:
    make, kind, names, repair = ALONE[name]
    (shared,) = found(make(), Ties(((HEAD,),)))
    assert (shared.kind, shared.names, shared.verdict, shared.repair) == (kind, names, "broken", repair)


def test_a_name_that_is_one_with_some_other() -> None:
    assert judged(Language(), Ties(((HEAD,),))) == [("same-parameter", "intact")]


def test_a_shared_buffer_is_no_tie_unless_it_is_declared() -> None:
    mask = torch.arange(3)
    module = nn.Sequential(nn.Module(), nn.Module())
    for child in module:
        child.register_buffer("mask", mask)
    assert judged(module, Ties()) == [("same-buffer", None)]
    assert judged(module, Ties((("0.mask", "1.mask"),))) == [("same-buffer", "intact")]


# --- repairs ------------------------------------------------------------------------------------------------


def half_tied(one: nn.Module, other: nn.Module, model: nn.Module) -> nn.Module:
    other.weight = nn.Parameter(one.weight.data)
    return model


def linear() -> nn.Linear:
    return nn.Linear(2, 2, bias=False)


def in_list() -> nn.Module:
    model = nn.Module()
    model.layers = nn.ModuleList([linear(), linear()])
    return half_tied(*model.layers, model)


def in_named_sequence(*names: str) -> nn.Module:
    model = nn.Sequential(OrderedDict((name, linear()) for name in names))
    return half_tied(model.get_submodule(names[0]), model.get_submodule(names[1]), model)


def in_dict(*names: str) -> nn.Module:
    model = nn.ModuleDict({name: linear() for name in names})
    return half_tied(model[names[0]], model[names[1]], model)


def in_parameter_list() -> nn.Module:
    value = torch.ones(3)
    return nn.ParameterList([nn.Parameter(value), nn.Parameter(value)])


def registered_twice() -> nn.Module:
    one, other = linear(), linear()
    return half_tied(one, other, nn.Sequential(one, other, other))


def two_names() -> nn.Module:
    model = nn.Module()
    value = torch.ones(3)
    model.a = nn.Parameter(value)
    model.b = model.c = nn.Parameter(value)
    return model


REPAIRS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "attributes": (lambda: give("weight", lambda m: m.emb.weight.data), REPAIR),
    "a list": (in_list, "model.layers[1].weight = model.layers[0].weight"),
    "names": (lambda: in_named_sequence("a", "b"), "model.b.weight = model.a.weight"),
    "numbers out of order": (
        lambda: in_named_sequence("1", "0"),
        "setattr(model.get_submodule('0'), 'weight', model.get_parameter('1.weight'))",
    ),
    "no identifier": (
        lambda: in_named_sequence("a-b", "c"),
        "setattr(model.get_submodule('c'), 'weight', model.get_parameter('a-b.weight'))",
    ),
    "a keyword": (
        lambda: in_named_sequence("a", "class"),
        "setattr(model.get_submodule('class'), 'weight', model.get_parameter('a.weight'))",
    ),
    "a letter that Python reads as another": (
        lambda: in_named_sequence("a", "ﬁ"),
        "setattr(model.get_submodule('ﬁ'), 'weight', model.get_parameter('a.weight'))",
    ),
    "keys": (lambda: in_dict("a b", "it's"), """model["it's"].weight = model['a b'].weight"""),
    "a list of parameters": (in_parameter_list, "model[1] = model[0]"),
    "registered twice": (registered_twice, "model[1].weight = model[0].weight"),
    "two names": (two_names, "model.b = model.c = model.a"),
}


@each("name", REPAIRS)
def test_the_repair_makes_a_true_tie(name: str) -> None:
    make, line = REPAIRS[name]
    model = make()
    (broken,) = (shared for shared in found(model, Ties()) if shared.kind == "same-view")
    assert broken.repair == line
    before = [parameter.detach().clone() for parameter in model.parameters()]
    exec(line, {"model": model})
    (kept,) = model.parameters()
    assert torch.equal(kept, before[0])
    assert {shared.kind for shared in found(model, Ties())} == {"same-parameter"}
    assert {name for shared in found(model, Ties()) for name in shared.names} == {
        name for name, _ in make().named_parameters(remove_duplicate=False)
    }


@pytest.mark.parametrize("name", [name for name, (_, _, repair) in BROKEN.items() if repair])
def test_the_repair_of_a_broken_tie_keeps_the_last_value(name: str) -> None:
    model = BROKEN[name][0]()
    value = model.emb.weight.detach().clone()
    exec(REPAIR, {"model": model})
    assert judged(model) == [("same-parameter", "intact")]
    assert torch.equal(model.head.weight, value)
