"""Whatever a forward may return: its tensors, in order, each once, without running the object's own code."""

from __future__ import annotations

from collections import ChainMap, OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, distributions, nn
from torch.nn.utils.rnn import pack_sequence

from paraminspect.modules import nested_tensors
from paraminspect.modules.nested_tensors import tensors_in
from tests.cases import each

A, B, C = (torch.full((2,), float(n)) for n in range(3))
Pair = namedtuple("Pair", "first second")


@dataclass
class Data:
    y: Tensor
    n: int = 3
    more: list[Any] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Slots:
    y: Tensor
    z: Tensor | None = None


class Loud:
    """Every way to look at it runs code, which raises."""

    def __init__(self) -> None:
        self.y = A

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)

    def __iter__(self) -> Iterator[Any]:
        raise ValueError

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = None  # type: ignore[assignment]


class LoudDict(dict[str, Tensor]):
    def values(self) -> Any:
        raise ValueError

    __iter__ = items = values


class LoudList(list[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        raise ValueError


class Computed(Mapping[str, Tensor]):
    """A mapping that holds nothing: its tensors exist when they are asked for."""

    def __getitem__(self, key: str) -> Tensor:
        return {"a": A, "b": B}[key]

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class Broken(Computed):
    def __getitem__(self, key: str) -> Tensor:
        raise ValueError


def cycle() -> list[Any]:
    found: list[Any] = [A]
    found += [found, {"self": found}, SimpleNamespace(up=found, b=B)]
    return found


def deep(levels: int) -> Any:
    found: Any = A
    for _ in range(levels):
        found = [found]
    return found


def layers() -> Any:
    """As the caches of the transformers library: objects in a list of an object."""
    return SimpleNamespace(layers=[SimpleNamespace(keys=A, values=B), SimpleNamespace(keys=C, values=None)])


NORMAL = distributions.Normal(A, B + 1)
FOUND: dict[str, tuple[Callable[[], Any], list[Tensor]]] = {
    "a tensor": (lambda: A, [A]),
    "a parameter": (lambda: PARAMETER, [PARAMETER := nn.Parameter(A)]),
    "a tuple": (lambda: (A, (B, [C])), [A, B, C]),
    "a named tuple": (lambda: Pair(B, A), [B, A]),
    "a dict, in its order": (lambda: OrderedDict(b=B, a=A), [B, A]),
    "the same tensor twice": (lambda: {"a": A, "all": (A, B)}, [A, B]),
    "no tensor": (lambda: (1, 2.0, None, "x", b"x", True, {"k": {}}), []),
    "a deque": (lambda: deque([A, B]), [A, B]),
    "a set of one": (lambda: {A}, [A]),
    "a frozen set of one": (lambda: frozenset([B]), [B]),
    "a dataclass": (lambda: Data(A, more=[B]), [A, B]),
    "slots": (lambda: Slots(A), [A]),
    "a UserDict": (lambda: UserDict(a=A, b=[B]), [A, B]),
    "a ChainMap": (lambda: ChainMap({"a": A}, {"b": B}), [A, B]),
    "a proxy": (lambda: MappingProxyType({"a": A}), [A]),
    "a computed mapping": (Computed, [A, B]),
    "a mapping that raises": (Broken, []),
    "objects in objects": (layers, [A, B, C]),
    "an object beside a tensor": (lambda: (A, layers()), [A]),
    "a cycle": (cycle, [A]),
    "ten thousand levels": (lambda: deep(10_000), [A]),
    "an object whose code raises": (lambda: [Loud()], [A]),
    "a dict whose code raises": (lambda: LoudDict(a=A), [A]),
    "a list whose code raises": (lambda: LoudList([A]), [A]),
    "a normal distribution": (lambda: NORMAL, [NORMAL.loc, NORMAL.scale]),
    "one inside another": (lambda: distributions.Independent(NORMAL, 1), [NORMAL.loc, NORMAL.scale]),
    "modules, classes and functions": (lambda: (nn.Linear(2, 2), nn.Linear, deep, torch, A.sum, len), []),
}


@each("name", FOUND)
def test_the_tensors_of(name: str) -> None:
    make, wanted = FOUND[name]
    found = tensors_in(make())
    assert [id(tensor) for tensor in found] == [id(tensor) for tensor in wanted]


def test_a_packed_sequence_gives_its_data_first() -> None:
    packed = pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])
    data, sizes, *_ = tensors_in(packed)
    assert data is packed.data
    assert sizes is packed.batch_sizes


def test_a_categorical_distribution_gives_what_it_was_made_of_once() -> None:
    found = distributions.Categorical(logits=torch.randn(3))
    assert [id(tensor) for tensor in tensors_in(found)] == [id(found.logits)]
    assert len(tensors_in(distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)))) == 2


def test_a_set_is_in_the_order_of_computation() -> None:
    x = torch.ones(3, requires_grad=True)
    for _ in range(5):
        computed = [x * n for n in range(20)]
        assert [t[0].item() for t in tensors_in(set(computed))] == list(range(20))


def test_what_is_too_large_for_an_output_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested_tensors, "_MOST", 1_000)

    class Endless(list[Any]):
        pass

    chain: list[Any] = Endless()
    many = [Endless() for _ in range(1_001)]
    many[0].append(A)
    many[-1].append(B)
    chain.extend(many)
    assert [id(tensor) for tensor in tensors_in(chain)] == [id(A)]


def test_the_outputs_of_transformers() -> None:
    """The loss and the logits; the cache that comes along is for the next call."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    output = model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]]), use_cache=True)
    assert output.past_key_values.layers[0].keys is not None
    assert [id(tensor) for tensor in tensors_in(output)] == [id(output.loss), id(output.logits)]
