"""The names of a spec's layers and parameters, without building it: what a shell can complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from paraminspect.spec.model import GroupItem, Item, LayerItem, Spec, numbered
from paraminspect.spec.shapes import parameter_shapes
from paraminspect.spec.signatures import resolve

_OWN_NAMES: Final = ("RNN", "LSTM", "GRU", "Multihead", "Transformer", "AdaptiveLog", "LinearCrossEntropy")


def layer_paths(spec: Spec) -> list[str]:
    """Return the path of every layer and every group, in order: ``blocks``, ``blocks.0``."""
    return [path for path, _ in _walk(spec.layers, "")]


def parameter_names(spec: Spec) -> list[str]:
    """Return the names of the parameters; ``lstm.*`` for a layer whose class has names of its own for them."""
    found = []
    for path, layer in _walk(spec.layers, ""):
        if layer is not None:
            shapes = sum(1 for _ in parameter_shapes(layer.type, resolve(layer.type, layer.args, layer.kwargs)))
            leaves = ("*",) if layer.type.startswith(_OWN_NAMES) else ("weight", "bias")
            found += [f"{path}.{leaf}" for leaf in leaves[:shapes]]
    return found


def _walk(items: tuple[Item, ...], prefix: str) -> Iterator[tuple[str, LayerItem | None]]:
    """Yield path and layer, None for a group, whose layers follow."""
    for name, item in numbered(items):
        path = f"{prefix}.{name}" if prefix else name
        yield path, item if isinstance(item, LayerItem) else None
        if isinstance(item, GroupItem):
            yield from _walk(item.layers, path)
