"""The cells of a CSV for the tree of modules: one row a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paraminspect.report import LayerTensor, TreeLayer

_COUNTS = (
    *("calls", "own_parameters", "parameters", "own_trainable", "trainable", "own_bytes", "bytes"),
    *("own_buffers", "buffers", "own_buffer_bytes", "buffer_bytes", "own_macs", "macs", "own_flops", "flops"),
    *("own_flops_backward", "flops_backward", "uncounted", "own_saved_bytes", "saved_bytes", "unregistered"),
)
LAYERS = (
    *("index", "module", "type", "parent", "depth", "aliases", "extra_repr", "inputs", "outputs", "varied"),
    *_COUNTS,
    *("elsewhere", "forgotten", "failed"),
)
"""The columns of `summary`; several tensors or names in a cell have a semicolon between them."""

Cell = str | float | None


def layer_cells(layer: TreeLayer, text: Callable[[str], str]) -> list[Cell]:
    """Return the cells of one module; `text` makes one from an input harmless."""
    place: list[Cell] = [layer.index, text(layer.module), text(layer.type), text(layer.parent or ""), layer.depth]
    said = [";".join(layer.aliases), layer.extra_repr, _shapes(layer.inputs), _shapes(layer.outputs)]
    counts = [getattr(layer, name) for name in _COUNTS]
    elsewhere = ";".join(f"{one.name}={one.owner}" for one in layer.elsewhere)
    ends = [text(elsewhere), text(layer.forgotten or ""), str(layer.failed).lower()]
    return [*place, *map(text, said), str(layer.varied).lower(), *counts, *ends]


def _shapes(found: Sequence[LayerTensor] | None) -> str:
    """Return the tensors as ``logits 2x16x100;loss``, the shape of a scalar is empty."""
    return ";".join(f"{one.name} {'x'.join(map(str, one.shape))}".strip() for one in found or ())
