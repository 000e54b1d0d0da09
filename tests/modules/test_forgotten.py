"""What hangs on a model without being registered is found, named by where it hangs, and told why it is lost."""

from __future__ import annotations

import collections
import types
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.parameter import Parameter

from paraminspect.analysis.inventory import count, counted_by_torch, take_inventory
from paraminspect.modules.forgotten import MOST_VALUES
from tests.cases import each

LOST = "no optimizer sees it, state_dict lacks it"
PLAIN = (
    "a plain tensor attribute: not in parameters(), not in state_dict, does not follow .to(device); "
    "use nn.Parameter or register_buffer"
)


def linear():
    return nn.Linear(2, 1)


def holder(**attributes):
    """Return a module with a registered Linear and these plain attributes."""
    module = nn.Module()
    module.kept = linear()
    vars(module).update(attributes)
    return module


def found(module):
    return {entry.name: entry.note for entry in take_inventory(module).entries if entry.kind == "unregistered"}


def names(module):
    return [*found(module)]


class Bag:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Config:
    head: nn.Module


class MyList(list):
    def __iter__(self):
        raise RuntimeError("user code ran")

    __len__ = __getitem__ = __iter__


class MyDict(dict):
    def items(self):
        raise RuntimeError("user code ran")

    __iter__ = __len__ = __getitem__ = keys = values = items


class Closed:
    """An object that answers nothing, not even its class."""

    def __getattribute__(self, name):
        raise RuntimeError("user code ran")

    __eq__ = __hash__ = __repr__ = __bool__ = __getattribute__
    __class__ = property(__getattribute__)


class Hashed:
    """A key that may be hashed once, to get into the dict."""

    def __eq__(self, other):
        raise RuntimeError("user code ran")

    def __hash__(self):
        return 7

    __repr__ = __eq__


# --- where modules hide ------------------------------------------------------------------------------------------

MODULES = {
    "list": (lambda: [linear()], "[0]", "in a plain list", "use nn.ModuleList"),
    "dict": (lambda: {"a": linear()}, "['a']", "in a plain dict", "use nn.ModuleDict"),
    "dict by number": (lambda: {3: linear()}, "[3]", "in a plain dict", "use nn.ModuleDict"),
    "dict by tuple": (lambda: {(0, "b"): linear()}, "[(0, 'b')]", "in a plain dict", "use nn.ModuleDict"),
    "dict by object": (lambda: {1: 2, Hashed(): linear()}, "[<Hashed 1>]", "in a plain dict", "use nn.ModuleDict"),
    "tuple": (lambda: (0, linear()), "[1]", "in a plain tuple", "use nn.ModuleList"),
    "set": (lambda: {linear()}, "{0}", "in a plain set", "use nn.ModuleList"),
    "frozenset": (lambda: frozenset([linear()]), "{0}", "in a plain frozenset", "use nn.ModuleList"),
    "deque": (lambda: collections.deque([linear()]), "[0]", "in a plain deque", "use nn.ModuleList"),
    "OrderedDict": (lambda: collections.OrderedDict(a=linear()), "['a']", "in a plain dict", "use nn.ModuleDict"),
    "defaultdict": (lambda: collections.defaultdict(list, a=linear()), "['a']", "in a plain dict", "use nn.ModuleDict"),
    "named tuple": (lambda: Pair(1, linear()), "[1]", "in a plain tuple", "use nn.ModuleList"),
    "list of one's own": (lambda: MyList([linear()]), "[0]", "in a plain list", "use nn.ModuleList"),
    "dict of one's own": (lambda: MyDict(a=linear()), "['a']", "in a plain dict", "use nn.ModuleDict"),
    "nested": (lambda: [({"k": [linear()]},)], "[0][0]['k'][0]", "in a plain list", "use nn.ModuleList"),
    "object": (lambda: Bag(head=linear()), ".head", "in a Bag, which is no Module", "make it one"),
    "dataclass": (lambda: Config(linear()), ".head", "in a Config, which is no Module", "make it one"),
    "namespace": (
        lambda: types.SimpleNamespace(head=linear()),
        ".head",
        "in a SimpleNamespace, which is no Module",
        "make it one",
    ),
    "list of objects": (lambda: [Bag(x=[linear()])], "[0].x[0]", "in a plain list", "use nn.ModuleList"),
    "past registration": (linear, "", "set past registration", "use add_module"),
}


@each(("build", "place", "where", "instead"), MODULES.values(), ids=MODULES)
def test_hidden_modules(build, place, where, instead):
    module = nn.Sequential(holder(it=build()))
    verb = "was" if where.startswith("set") else "is"
    note = f"its module {verb} {where}: {LOST}; {instead}"
    assert found(module) == {f"0.it{place}.weight": note, f"0.it{place}.bias": note}
    totals = count(take_inventory(module))
    assert (totals.parameters, totals.unregistered) == (3, 3)
    assert counted_by_torch(module) == 3


def test_all_of_a_hidden_module_is_found():
    """Children, buffers, and what is hidden inside it for a reason of its own."""
    inner = nn.Sequential(linear(), nn.BatchNorm1d(1))
    inner.deeper = {"a": [linear()]}
    inner.cache = torch.ones(2)
    module = holder(blocks=[inner])
    first = f"its module is in a plain list: {LOST}; use nn.ModuleList"
    assert found(module) == {
        "blocks[0].0.weight": first,
        "blocks[0].0.bias": first,
        "blocks[0].1.weight": first,
        "blocks[0].1.bias": first,
        "blocks[0].1.running_mean": first,
        "blocks[0].1.running_var": first,
        "blocks[0].1.num_batches_tracked": first,
        "blocks[0].deeper['a'][0].weight": first,
        "blocks[0].deeper['a'][0].bias": first,
    }
    inventory = take_inventory(module)
    assert [*inventory.modules.items()] == [
        ("", module),
        ("kept", module.kept),
        ("blocks[0]", inner),
        ("blocks[0].0", inner[0]),
        ("blocks[0].1", inner[1]),
        ("blocks[0].deeper['a'][0]", inner.deeper["a"][0]),
    ]
    (weight,) = [entry for entry in inventory.entries if entry.name == "blocks[0].0.weight"]
    assert (weight.owner, weight.owner_names) == (inner[0], ("blocks[0].0",))


def test_what_is_registered_elsewhere_is_not_forgotten():
    module = nn.Sequential(linear(), linear())
    module.order = [module[1], module[0], {"self": module}]
    module.weights = [module[0].weight]
    module.mixed = [nn.Sequential(module[0], nn.Linear(1, 1, bias=False))]
    assert names(module) == ["mixed[0].1.weight"]


def test_one_row_for_a_module_that_hides_in_two_places():
    shared = linear()
    tied = linear()
    tied.weight = shared.weight
    assert names(holder(a=[shared], b=[shared, tied])) == ["a[0].weight", "a[0].bias", "b[1].bias"]


def test_cycles_end():
    module = holder()
    module.loop = [linear()]
    module.loop.append(module.loop)
    bag = Bag(me=module)
    bag.bag = bag
    module.bag = bag
    hidden = nn.Module()
    hidden.parent = module
    hidden.me = [hidden]
    module.loop.append(hidden)
    assert names(module) == ["loop[0].weight", "loop[0].bias"]


def test_a_hidden_model_of_any_depth():
    inner = linear()
    for _ in range(3_000):
        inner = nn.Sequential(inner)
    assert names(holder(it=[inner])) == [f"it[0]{'.0' * 3_000}.{leaf}" for leaf in ("weight", "bias")]


# --- where tensors hide ------------------------------------------------------------------------------------------

TENSORS = {
    "plain tensor": (lambda: torch.ones(2), {}),
    "requires grad": (
        lambda: torch.ones(2, requires_grad=True),
        {"it": f"requires grad, but is no Parameter: {LOST}; use nn.Parameter"},
    ),
    "Parameter past registration": (
        lambda: Parameter(torch.ones(2)),
        {"it": f"a Parameter that was set past registration: {LOST}; use register_parameter"},
    ),
    "Parameters in a list": (
        lambda: [Parameter(torch.ones(2)), torch.ones(2, requires_grad=True)],
        {f"it[{i}]": f"in a plain list: {LOST}; use nn.ParameterList" for i in (0, 1)},
    ),
    "frozen Parameter in a dict": (
        lambda: {"a": Parameter(torch.ones(2), requires_grad=False)},
        {"it['a']": f"in a plain dict: {LOST}; use nn.ParameterDict"},
    ),
    "Parameter in an object": (
        lambda: Bag(w=Parameter(torch.ones(2))),
        {"it.w": f"in a Bag, which is no Module: {LOST}; make it one"},
    ),
    "values in a list": (lambda: [torch.ones(2), torch.ones(3)], {}),
    "computed": (lambda: torch.ones(2, requires_grad=True) * 2, {}),
    "computed in a list": (lambda: [torch.ones(2, requires_grad=True) * 2], {}),
    "optimizer": (lambda: torch.optim.Adam([Parameter(torch.ones(2))]), {}),
    "class": (lambda: Bag, {}),
    "function": (lambda: test_cycles_end, {}),
    "Python module": (lambda: torch.nn, {}),
    "object that answers nothing": (Closed, {}),
    "list of those": (lambda: [Closed()], {}),
    "object in an object": (lambda: Bag(bag=Bag(head=linear())), {}),
}


@each(("build", "expected"), TENSORS.values(), ids=TENSORS)
def test_hidden_tensors(build, expected):
    module = holder(it=build())
    assert found(module) == expected
    assert all(
        entry.owner is module and entry.owner_names == ("",)
        for entry in take_inventory(module).entries
        if entry.kind == "unregistered"
    )


# --- what a layer would learn, and what is a constant -----------------------------------------------------------------


def kinds(module):
    """Return kind and note of what nothing registers, by name."""
    entries = take_inventory(module).entries
    return {entry.name: (entry.kind, entry.note) for entry in entries if entry.kind in ("unregistered", "constant")}


class Layer(nn.Module):
    """A layer of one's own with a Parameter, or a plain tensor, and other tensors beside it."""

    def __init__(self, weight: Any = None, **others: Any) -> None:
        super().__init__()
        if weight is not None:
            self.weight = weight
        for name, value in others.items():
            setattr(self, name, value)


CONSTANTS = {
    "a stored example": lambda: Layer(linear().weight, example_input_array=torch.ones(2, 3)),
    "states of a metric": lambda: Layer(mean_value=torch.tensor(0.0), weight=torch.tensor(0.0), total=torch.zeros(3)),
    "weights of classes": lambda: Layer(weight=torch.tensor([0.1, 0.9]), class_weights=torch.ones(2)),
    "an index": lambda: Layer(linear().weight, relative_position_index=torch.arange(4), bias=torch.arange(2)),
    "a mask": lambda: Layer(linear().weight, bias=torch.ones(2, 2, dtype=torch.bool)),
    "a table": lambda: Layer(inv_freq=torch.ones(4), pe=torch.ones(3, 4), slopes=torch.ones(2)),
    "a bias without a weight": lambda: Layer(attn_bias=torch.ones(3, 3), bias=torch.ones(2)),
    "a scale": lambda: Layer(linear().weight, scale=torch.tensor(0.5)),
    "training data": lambda: Layer(train_targets=torch.ones(5), train_inputs=(torch.ones(5, 2),)),
}


@each("build", CONSTANTS.values(), ids=CONSTANTS)
def test_what_nobody_would_learn_is_a_constant(build):
    module = build()
    found = kinds(nn.Sequential(module))
    assert found
    assert set(found.values()) == {("constant", None)}
    totals = count(take_inventory(module))
    held = [value for value in vars(module).values() if isinstance(value, torch.Tensor)]
    assert (totals.unregistered, totals.constants) == (0, sum(value.numel() for value in held))


LEARNED = {
    "the chapter's": (lambda: Layer(Parameter(torch.ones(3, 4)), bias=torch.zeros(3)), ["bias"]),
    "both are plain": (lambda: Layer(torch.ones(3, 4), bias=torch.zeros(3)), ["weight", "bias"]),
    "a weight beside a bias": (lambda: Layer(torch.ones(3), bias=Parameter(torch.zeros(3))), ["weight"]),
    "named after it": (lambda: Layer(linear().weight, out_bias=torch.ones(1), mask=torch.ones(1)), ["out_bias"]),
}


@pytest.mark.parametrize(("build", "names"), LEARNED.values(), ids=LEARNED)
def test_what_goes_by_the_name_of_a_parameter_is_forgotten(build, names):
    found = kinds(build())
    assert {name: why for name, why in found.items() if why[0] == "unregistered"} == dict.fromkeys(
        names, ("unregistered", PLAIN)
    )


class Moving(Layer):
    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.bias = fn(self.bias)
        return self


class Saving(Layer):
    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "bias"] = self.bias


class Above(nn.Sequential):
    def to(self, *args: Any, **kwargs: Any) -> Any:
        self[0].bias = self[0].bias.to(*args)
        return super().to(*args, **kwargs)


def test_nothing_is_said_of_state_dict_and_device_where_a_class_sees_to_them_itself():
    learned, bias = Parameter(torch.ones(3, 4)), torch.zeros(3)
    hint = "use nn.Parameter or register_buffer"
    start = "a plain tensor attribute: not in parameters()"
    moving, saving = Moving(learned, bias=bias), Saving(learned, bias=bias)
    assert moving.to(torch.float64).bias.dtype == torch.float64
    assert "bias" in saving.state_dict()
    assert found(nn.Sequential(moving)) == {"0.bias": f"{start}, not in state_dict; {hint}"}
    assert found(saving) == {"bias": f"{start}, does not follow .to(device); {hint}"}
    assert found(Above(Layer(learned, bias=bias))) == {"0.bias": f"{start}, not in state_dict; {hint}"}


# --- how far the search goes -------------------------------------------------------------------------------------


def test_a_million_numbers_are_passed_over():
    module = holder(vocabulary=list(range(10**6)), index={i: str(i) for i in range(10**5)}, it=[linear()])
    inventory = take_inventory(module)
    assert [entry.name for entry in inventory.entries[2:]] == ["it[0].weight", "it[0].bias"]
    assert inventory.notes == ()


@pytest.mark.parametrize(("number", "seen"), [(MOST_VALUES - 2, True), (MOST_VALUES, False)])
def test_too_many_values_are_said(number, seen):
    inventory = take_inventory(holder(data=[*((i,) for i in range(number)), linear()], it=[linear()]))
    assert [entry.name for entry in inventory.entries[2:]] == [
        *([f"data[{number}].weight", f"data[{number}].bias"] if seen else []),
        "it[0].weight",
        "it[0].bias",
    ]
    note = "'data' leads to more than 20,000 values: forgotten tensors behind it may be missing"
    assert inventory.notes == (() if seen else (note,))


@pytest.mark.parametrize(("depth", "seen"), [(8, True), (9, False)])
def test_containers_in_containers_are_opened_to_a_depth(depth, seen):
    value = linear()
    for _ in range(depth):
        value = [value]
    assert names(holder(it=value)) == ([f"it{'[0]' * depth}.{leaf}" for leaf in ("weight", "bias")] if seen else [])
