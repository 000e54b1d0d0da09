"""The validated spec: what a YAML or JSON file says, as frozen plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SAMPLES = ("uniform", "normal", "zeros", "ones")
LOSSES = ("sum", "mean", "mse", "cross_entropy", "random")


@dataclass(frozen=True)
class Layer:
    """Name a `torch.nn` class (or one of our demonstration modules) and the arguments it is built with."""

    type: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str | None
    where: str


@dataclass(frozen=True)
class Group:
    """A `Sequential`, or a `Residual` that adds its input to its output."""

    type: str
    layers: tuple[Item, ...]
    name: str | None
    where: str


@dataclass(frozen=True)
class Repeat:
    """Stand for `times` independent copies of `layers`, put in line."""

    times: int
    layers: tuple[Item, ...]
    where: str


@dataclass(frozen=True)
class Ref:
    """Put the module called `target`, or at that position, in the Sequential once more."""

    target: str | int
    name: str | None
    where: str


Item = Layer | Group | Repeat | Ref


@dataclass(frozen=True)
class Rule:
    """Initialise the parameters that the glob `params` matches with `scheme`."""

    params: str
    scheme: str
    args: dict[str, Any]
    where: str
    weights_or_biases: str = ""

    def __str__(self) -> str:
        args = ",".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.params}={self.scheme}" + (f":{args}" if args else "")


@dataclass(frozen=True)
class Tie:
    """Make `names` one Parameter; ``(a, b, c)`` reads ``a = b = c``: the last one is kept."""

    names: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Input:
    """Describe one tensor to draw: shape, dtype (None: the model's), and how it is sampled."""

    shape: tuple[int, ...]
    sample: str = "uniform"
    dtype: str | None = None
    name: str | None = None
    where: str = ""

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Return (low, high), both included, when `sample` is a range of integers."""
        low, dots, high = self.sample.partition("..")
        return (int(low), int(high)) if dots else None


@dataclass(frozen=True)
class Spec:
    """Everything a spec says. `where` of its parts is ``file:line:column``."""

    name: str
    layers: tuple[Item, ...]
    label: str
    seed: int = 0
    input: Input | None = None
    loss: str = "sum"
    init: tuple[Rule, ...] = ()
    ties: tuple[Tie, ...] = ()
    dtype: str | None = None
    device: str | None = None
    path: str | None = field(default=None)
    seed_per_parameter: bool = False


def numbered(items: tuple[Item, ...]) -> Iterator[tuple[str, Layer | Group | Ref]]:
    """Yield (child name, item) as `nn.Sequential` would number them, copies of a Repeat in line.

    The scope of a ``ref`` by number inside a Repeat is the Sequential it ends up in.
    """
    for position, item in enumerate(_in_line(items)):
        yield item.name if item.name is not None else str(position), item


def _in_line(items: tuple[Item, ...]) -> Iterator[Layer | Group | Ref]:
    for item in items:
        if isinstance(item, Repeat):
            for _ in range(item.times):
                yield from _in_line(item.layers)
        else:
            yield item
