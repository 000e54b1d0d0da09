"""The validated spec: what a YAML or JSON file says, as frozen plain values, and the names its modules will have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from paraminspect.errors import UserError, did_you_mean
from paraminspect.frozen import dataclass

SAMPLES = ("uniform", "normal", "zeros", "ones")
LOSSES = ("sum", "mean", "mse", "cross_entropy", "random")


@dataclass(frozen=True)
class LayerItem:
    """Name a `torch.nn` class (or one of our demonstration modules) and the arguments it is built with."""

    type: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str | None
    where: str


@dataclass(frozen=True)
class GroupItem:
    """A `Sequential`, or a `Residual` that adds its input to its output."""

    type: str
    layers: tuple[Item, ...]
    name: str | None
    where: str


@dataclass(frozen=True)
class Repeat:
    """Stand for `times` independent copies of `layers`, one after another in the group that holds it."""

    times: int
    layers: tuple[Item, ...]
    where: str


@dataclass(frozen=True)
class Ref:
    """Put the module called `target`, or at that position, in the Sequential once more."""

    target: str | int
    name: str | None
    where: str


Item = LayerItem | GroupItem | Repeat | Ref


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
    """Describe one tensor to draw: shape, dtype (None: the model's), and how it is sampled.

    `only_shape` tells that nothing else was said of it. A `function` of the user's, as ``file.py:func``, draws what it
    will instead: one argument where there is a name, else what it returns by position and by name.
    """

    shape: tuple[int, ...]
    sample: str = "uniform"
    dtype: str | None = None
    name: str | None = None
    where: str = ""
    only_shape: bool = field(default=False, compare=False)
    function: str | None = None

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


def numbered(items: tuple[Item, ...]) -> Iterator[tuple[str, LayerItem | GroupItem | Ref]]:
    """Yield (child name, item) as `nn.Sequential` would number them, copies of a Repeat in line.

    The scope of a ``ref`` by number inside a Repeat is the Sequential it ends up in.
    """
    for position, item in enumerate(_in_line(items)):
        yield item.name if item.name is not None else str(position), item


def _in_line(items: tuple[Item, ...]) -> Iterator[LayerItem | GroupItem | Ref]:
    for item in items:
        if isinstance(item, Repeat):
            for _ in range(item.times):
                yield from _in_line(item.layers)
        else:
            yield item


# --- the names its modules will have ---------------------------------------------------------------------


MOST_NAMES = 1_000_000


def resolve_references(spec: Spec) -> dict[tuple[str, str], str]:
    """Check every child name and return, per (path of the group, child name) of a `ref`, the module path it means.

    A number is a position in the enclosing Sequential; a name is looked up there first, then as a dotted path
    from the top.
    Raises UserError for two children of one name, for a reference to nothing, to itself or to a later layer, and
    for references to references that would give the network more than `MOST_NAMES` module names.
    """
    resolved: dict[tuple[str, str], str] = {}
    _walk(spec.layers, "", {}, resolved)
    return resolved


def _walk(items: tuple[Item, ...], prefix: str, seen: dict[str, int], resolved: dict[tuple[str, str], str]) -> int:
    """Visit the children in order and return how many module names they have, all levels down.

    `seen` holds that number for the path of every module that is complete so far.
    """
    names: list[str] = []
    taken: set[str] = set()
    total = 0
    for name, item in numbered(items):
        path = f"{prefix}.{name}" if prefix else name
        if name in taken:
            raise _collision(path, item.where)
        names.append(name)
        taken.add(name)
        if isinstance(item, Ref):
            target = _find(item, path, prefix, names, seen)
            resolved[prefix, name] = target
            seen[path] = seen[target]
        elif isinstance(item, GroupItem):
            seen[path] = 1 + _walk(item.layers, path, seen, resolved)
        else:
            seen[path] = 1
        total += seen[path]
        if total > MOST_NAMES:
            message = f"the network would have {total:,} module names or more, {MOST_NAMES:,} are the most"
            raise UserError(message, where=item.where, hint="repeat fewer layers", code="too-large")
    return total


def _collision(path: str, where: str) -> UserError:
    hint = "inside Repeat, leave the name out or wrap the layers in a Sequential; elsewhere choose another name"
    return UserError(f"two layers would be called {path!r}", where=where, hint=hint, code="spec-name-collision")


def _find(ref: Ref, path: str, prefix: str, names: list[str], seen: dict[str, int]) -> str:
    target = str(ref.target)
    near = names[ref.target] if isinstance(ref.target, int) and ref.target < len(names) else target
    candidates = (f"{prefix}.{near}" if prefix else near, target)
    if path in candidates:
        raise UserError("ref points to itself", where=ref.where, hint="name an earlier layer", code="spec-bad-ref")
    for candidate in candidates:
        if candidate in seen:
            return candidate
    hint = did_you_mean(target, seen) or f"layers before this one: {', '.join([*seen][:12]) or 'none'}"
    message = f"ref: {target!r} is not a layer that stands before this one"
    raise UserError(message, where=ref.where, hint=hint, code="spec-bad-ref")
