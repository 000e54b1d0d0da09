"""How much memory a spec would take, in exact Python integers, before anything is built."""

from __future__ import annotations

import math
from dataclasses import dataclass

from paraminspect.errors import UserError
from paraminspect.spec.layers import resolve
from paraminspect.spec.model import Group, Input, Item, Layer, Ref, Repeat, Spec
from paraminspect.spec.sizes import available_memory, buffer_shapes, format_bytes, itemsize, parameter_shapes

MODULE_BYTES = (
    4096  # what one nn.Module of Python objects costs, roughly; it bounds Repeat of layers without parameters
)
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Footprint:
    """Count what the model would hold: elements of parameters and buffers, modules, rows of activations."""

    parameters: int = 0
    buffers: int = 0
    modules: int = 0
    activations: int = 0
    largest: int = 0

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.parameters + other.parameters,
            self.buffers + other.buffers,
            self.modules + other.modules,
            self.activations + other.activations,
            max(self.largest, other.largest),
        )

    def times(self, n: int) -> Footprint:
        """Return the footprint of `n` copies."""
        return Footprint(self.parameters * n, self.buffers * n, self.modules * n, self.activations * n, self.largest)


def measure(items: tuple[Item, ...]) -> Footprint:
    """Add up the footprint of `items`; a `ref` adds no parameters, a Repeat multiplies."""
    return sum((_item(item) for item in items), Footprint())


def _item(item: Item) -> Footprint:
    if isinstance(item, Ref):
        return Footprint()
    if isinstance(item, Repeat):
        return measure(item.layers).times(item.times)
    if isinstance(item, Group):
        return measure(item.layers) + Footprint(modules=1)
    return _layer(item)


def _layer(layer: Layer) -> Footprint:
    arguments = resolve(layer.type, layer.args, layer.kwargs)
    try:
        shapes = parameter_shapes(layer.type, arguments)
    except UserError as error:
        raise UserError(error.message, where=layer.where, hint=error.hint, code=error.code) from error
    parameters = [math.prod(shape) for shape in shapes]
    buffers = [math.prod(shape) for shape in buffer_shapes(layer.type, arguments)]
    width = arguments.get("out_features", 0)
    activations = width if isinstance(width, int) else 0
    return Footprint(sum(parameters), sum(buffers), 1, activations, max([*parameters, *buffers, 0]))


def check_memory(spec: Spec, wanted: Input | None, device: str | None, backward: bool) -> None:
    """Refuse a spec that would not fit in the memory that is free now, naming the bytes it needs.

    Counted: parameters (twice with a backward: each has a gradient), buffers, modules, the input, and the
    outputs of the Linear layers. A model on the meta device holds no data; its sizes must fit in 63 bits.
    """
    size = itemsize(spec.dtype or "float32")
    need = measure(spec.layers)
    rows = math.prod(wanted.shape[:-1]) if wanted else 0
    elements = math.prod(wanted.shape) if wanted else 0
    if max(need.largest, elements, rows * need.activations) * size > LARGEST:
        total = (need.parameters + need.buffers + elements) * size
        message = f"the model would take {total:,} bytes ({format_bytes(total)}): more than a tensor can be large"
        raise UserError(message, where=spec.label, hint="check the sizes of the layers", code="too-large")
    if device == "meta":
        held = need.modules * MODULE_BYTES
    else:
        copies = 2 if backward else 1
        tensors = need.parameters * copies + need.buffers + elements + rows * need.activations
        held = tensors * size + need.modules * MODULE_BYTES
    free = available_memory()
    if held > free:
        message = f"needs {held:,} bytes ({format_bytes(held)}), {format_bytes(free)} are free"
        hint = "use smaller sizes, or --device meta to see the shapes without the memory"
        raise UserError(message, where=spec.label, hint=hint, code="too-large")
