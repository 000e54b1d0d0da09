"""The same network, wider or deeper: spec to spec, before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

from paraminspect.errors import UserError
from paraminspect.spec.model import GroupItem, Item, LayerItem, Ref, Repeat, Spec, numbered, resolve_references
from paraminspect.spec.signatures import resolve, signature

_FEATURES: Final = ("in_features", "out_features")
_CHANNELS: Final = ("in_channels", "out_channels")
_MAPS: Final[dict[str, tuple[str | None, str]]] = {
    "Linear": _FEATURES,
    "PlainBiasLinear": _FEATURES,
    "LazyLinear": (None, "out_features"),
    "Embedding": (None, "embedding_dim"),
    "EmbeddingBag": (None, "embedding_dim"),
    **{f"{kind}{n}d": _CHANNELS for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"Lazy{kind}{n}d": (None, "out_channels") for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
}
"""What takes one width to another: the arguments that hold the two, None for one that is not there."""

_KEEPERS: Final = {
    "LayerNorm": "normalized_shape",
    "RMSNorm": "normalized_shape",
    "GroupNorm": "num_channels",
    "SyncBatchNorm": "num_features",
    "PReLU": "num_parameters",
    **{f"{kind}Norm{n}d": "num_features" for kind in ("Batch", "Instance") for n in (1, 2, 3)},
}
"""What leaves the width as it is, and the argument that holds it."""

_BLIND: Final = frozenset(
    {
        *("Identity", "Flatten", "LocalResponseNorm", "CrossMapLRN2d"),
        *("LogSigmoid", "Sigmoid", "Softsign", "Tanh", "Tanhshrink", "Hardsigmoid", "Hardswish", "Mish", "ReLU"),
        *("ReLU6", "SELU", "SiLU", "CELU", "ELU", "Hardshrink", "Softshrink", "GELU", "Hardtanh", "LeakyReLU"),
        *("RReLU", "Softplus", "Threshold", "LogSoftmax", "Softmax", "Softmin", "Softmax2d"),
        *("AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"),
        *(f"{kind}Pool{n}d" for kind in ("AdaptiveAvg", "AdaptiveMax", "Avg", "Max", "LP") for n in (1, 2, 3)),
        *(f"Lazy{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in (1, 2, 3)),
    }
)
"""What leaves the width as it is and need not know it."""

_List: TypeAlias = tuple[Item, ...]


def with_width(spec: Spec, width: int) -> Spec:
    """Return the spec with every hidden width replaced: all but that of the input and that of the output.

    Two widths that have to be equal, as at both ends of a `Residual`, stay equal; so a network that adds up its input
    and its output keeps theirs. What follows a Flatten keeps its multiple of the channels. Each Repeat is written out.
    Raises UserError naming the layer whose width cannot be changed, and where there is no hidden width.
    """
    net = _Net(resolve_references(spec))
    items = _in_line(spec.layers)
    first = _Width(fixed=True)
    net.follow(items, first, "").root().fixed = True
    first.root().fixed = True
    if all(size.root().fixed for sizes in net.sizes.values() for size, _ in sizes.values()):
        hint = "a width is hidden where neither the input nor the output has it"
        raise UserError("the network has no hidden width", where=spec.label, hint=hint, code="no-width")
    return replace(spec, layers=net.resized(items, "", width))


@dataclass(eq=False)
class _Width:
    """One width of the network, or an alias of the one that `same` leads to."""

    size: int | None = None
    fixed: bool = False
    same: _Width | None = None

    def root(self) -> _Width:
        found = self
        while found.same is not None:
            found = found.same
        return found

    def unite(self, other: _Width) -> None:
        """Make two widths one, which is fixed if either was."""
        one, two = self.root(), other.root()
        if one is not two:
            one.size = two.size if one.size is None else one.size
            one.fixed, two.same = one.fixed or two.fixed, one


@dataclass
class _Net:
    """The widths of a network whose Repeats are written out.

    `references` are those of `resolve_references`. `sizes` are, by the path of a layer, its arguments that hold a width
    and what multiple of it; `ends` the widths that a module takes and gives.
    """

    references: dict[tuple[str, str], str]
    sizes: dict[str, dict[str, tuple[_Width, int]]] = field(default_factory=dict)
    ends: dict[str, tuple[_Width, _Width]] = field(default_factory=dict)

    def follow(self, items: _List, width: _Width, prefix: str) -> _Width:
        """Take a width through the items in turn, and return the one that comes out."""
        for name, item in numbered(items):
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(item, Ref):
                taken, given = self.ends[self.references[prefix, name]]
                taken.unite(width)
            elif isinstance(item, GroupItem):
                taken, given = width, self.follow(item.layers, width, path)
                if item.type == "Residual":
                    given.unite(width)
            else:
                taken, given = width, self._through(item, width, path)
            self.ends[path] = taken, given
            width = given
        return width

    def _through(self, layer: LayerItem, width: _Width, path: str) -> _Width:
        arguments = resolve(layer.type, layer.args, layer.kwargs)
        sizes = self.sizes[path] = {}
        if layer.type in _BLIND or (layer.type == "PReLU" and arguments["num_parameters"] == 1):
            return width
        if layer.type in _KEEPERS:
            key = _KEEPERS[layer.type]
            sizes[key] = width, _multiple(layer, path, _single(arguments[key], layer, path), width)
            return width
        if layer.type not in _MAPS or arguments.get("groups", 1) != 1:
            what = f"a {layer.type} in groups" if layer.type in _MAPS else layer.type
            raise _refusal(layer, path, f"the width of {what} cannot be changed here")
        taken, given = _MAPS[layer.type]
        if taken is not None:
            sizes[taken] = width, _multiple(layer, path, arguments[taken], width)
        out = _Width(arguments[given])
        sizes[given] = out, 1
        return out

    def resized(self, items: _List, prefix: str, width: int) -> _List:
        """Return the items with `width` in place of every width that is not fixed."""
        return tuple(
            self._resized(item, f"{prefix}.{name}" if prefix else name, width) for name, item in numbered(items)
        )

    def _resized(self, item: LayerItem | GroupItem | Ref, path: str, width: int) -> Item:
        if isinstance(item, GroupItem):
            return replace(item, layers=self.resized(item.layers, path, width))
        if isinstance(item, Ref):
            return item
        free = {key: times * width for key, (size, times) in self.sizes[path].items() if not size.root().fixed}
        return _with(item, free)


def _multiple(layer: LayerItem, path: str, size: int, width: _Width) -> int:
    """Return how many times a width a layer's `size` is; the first layer that takes the width says how much it is."""
    root = width.root()
    if root.size is None:
        root.size = size
    times, rest = divmod(size, root.size)
    if rest or not times:
        raise _refusal(layer, path, f"it takes {size}, what comes before it gives {root.size}")
    return times


def _single(size: Any, layer: LayerItem, path: str) -> int:
    sizes = size if isinstance(size, tuple) else (size,)
    if len(sizes) != 1:
        raise _refusal(layer, path, f"the shape {sizes} has more than a width in it")
    return int(sizes[0])


def _refusal(layer: LayerItem, path: str, why: str) -> UserError:
    message = f"--width: layer {path!r} ({layer.type}): {why}"
    return UserError(message, where=layer.where, hint="give a spec for each width", code="no-width")


def _with(layer: LayerItem, values: dict[str, Any]) -> LayerItem:
    """Return the layer with other values for some arguments, which stay by position or by name as they were given."""
    names = [parameter.name for parameter in signature(layer.type)]
    args = tuple(values.get(name, value) for name, value in zip(names, layer.args, strict=False))
    named = {name: value for name, value in values.items() if name not in names[: len(args)]}
    return replace(layer, args=args, kwargs=layer.kwargs | named)


def _in_line(items: _List) -> _List:
    """Write every Repeat out, at every level; the names of the children stay what they are."""
    return tuple(
        replace(item, layers=_in_line(item.layers)) if isinstance(item, GroupItem) else item
        for _, item in numbered(items)
    )


def with_depth(spec: Spec, depth: int) -> Spec:
    """Return the spec with another depth: `depth` times what its one Repeat repeats, or so many hidden layers.

    Without a Repeat it is the number of hidden layers of the one MLP; further ones are as wide as its last.
    Raises UserError where there is not exactly one of them.
    """
    repeats, chains = _repeats(spec.layers), _chains(spec.layers)
    found = repeats or chains
    if len(found) != 1:
        kind = "Repeat" if repeats else "MLP"
        message = f"{len(found)} layers are {kind}: which one is the depth?" if found else "no MLP and no Repeat"
        hint = "it needs one Repeat, or one MLP with a hidden layer"
        raise UserError(f"--depth: {message}", where=spec.label, hint=hint, code="no-depth")
    if repeats:
        deeper = replace(repeats[0], times=depth)
        layers = _map_lists(spec.layers, lambda items: tuple(deeper if one is repeats[0] else one for one in items))
    else:
        layers = _map_lists(spec.layers, lambda items: _extended(items, chains[0], depth))
    return replace(spec, layers=layers)


def _map_lists(items: _List, change: Callable[[_List], _List]) -> _List:
    """Apply a change to a list of items and to the lists in its groups."""
    return tuple(
        replace(item, layers=_map_lists(item.layers, change)) if isinstance(item, GroupItem) else item
        for item in change(items)
    )


def _repeats(items: _List) -> list[Repeat]:
    found: list[Repeat] = []
    for item in items:
        found += [item] if isinstance(item, Repeat) else []
        found += _repeats(item.layers) if isinstance(item, GroupItem | Repeat) else []
    return found


def _chains(items: _List) -> list[list[LayerItem]]:
    """Return the Linear layers of each MLP that has a hidden one: they all stand at one place of the spec."""
    by_place: dict[str, list[LayerItem]] = {}
    for item in items:
        if isinstance(item, LayerItem) and item.type == "Linear":
            by_place.setdefault(item.where, []).append(item)
    found = [chain for chain in by_place.values() if len(chain) > 1]
    return found + [chain for item in items if isinstance(item, GroupItem) for chain in _chains(item.layers)]


def _extended(items: _List, chain: list[LayerItem], depth: int) -> _List:
    """Give the MLP `depth` hidden layers, where it is among the items."""
    at = [i for i, item in enumerate(items) if any(item is linear for linear in chain)]
    if not at:
        return items
    activation = items[at[0] + 1]
    first, *hidden = (linear.args[0] for linear in chain)
    widths = [first, *hidden[:depth], *hidden[-1:] * (depth - len(hidden)), chain[-1].args[1]]
    layers = [item for pair in pairwise(widths) for item in (replace(chain[0], args=pair), activation)]
    return (*items[: at[0]], *layers[:-1], *items[at[-1] + 1 :])
