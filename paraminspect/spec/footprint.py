"""How much memory a spec would take, in exact Python integers, before anything is built, and how much is free."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.spec.dtypes import DTYPES, LARGEST
from paraminspect.spec.model import GroupItem, Item, LayerItem, Ref, Repeat, Spec
from paraminspect.spec.shapes import buffer_shapes, parameter_shapes
from paraminspect.spec.signatures import resolve
from paraminspect.text.numbers import format_bytes

# What one nn.Module of Python objects costs, roughly; it bounds a Repeat of layers without parameters.
MODULE_BYTES = 4096


@dataclass(frozen=True)
class Footprint:
    """Count what the model would hold.

    `parameters` and `buffers` are elements, `parameter_bytes` and `buffer_bytes` what they take where they are
    built (nothing on the meta device), `activations` the widths of the Linear layers. `largest` is the number of
    elements of the largest tensor, and `where` the place of its layer.
    """

    parameters: int = 0
    buffers: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    modules: int = 0
    activations: int = 0
    largest: int = 0
    where: str = ""

    def __add__(self, other: Footprint) -> Footprint:
        largest = self if self.largest >= other.largest else other
        return Footprint(
            self.parameters + other.parameters,
            self.buffers + other.buffers,
            self.parameter_bytes + other.parameter_bytes,
            self.buffer_bytes + other.buffer_bytes,
            self.modules + other.modules,
            self.activations + other.activations,
            largest.largest,
            largest.where or self.where or other.where,
        )

    def times(self, n: int) -> Footprint:
        """Return the footprint of `n` copies."""
        return Footprint(
            self.parameters * n,
            self.buffers * n,
            self.parameter_bytes * n,
            self.buffer_bytes * n,
            self.modules * n,
            self.activations * n,
            self.largest,
            self.where,
        )


def measure(spec: Spec) -> Footprint:
    """Add up the footprint of a spec's layers; a `ref` adds no parameters, a Repeat multiplies."""
    return _items(spec.layers, spec)


def _items(items: tuple[Item, ...], spec: Spec) -> Footprint:
    return sum((_item(item, spec) for item in items), Footprint())


def _item(item: Item, spec: Spec) -> Footprint:
    if isinstance(item, Ref):
        return Footprint()
    if isinstance(item, Repeat):
        return _items(item.layers, spec).times(item.times)
    if isinstance(item, GroupItem):
        return _items(item.layers, spec) + Footprint(modules=1)
    return _layer(item, spec)


def _layer(layer: LayerItem, spec: Spec) -> Footprint:
    arguments = resolve(layer.type, layer.args, layer.kwargs)
    try:
        parameters = [math.prod(shape) for shape in parameter_shapes(layer.type, arguments)]
        buffers = [math.prod(shape) for shape in buffer_shapes(layer.type, arguments)]
    except UserError as error:
        raise UserError(error.message, where=layer.where, hint=error.hint, code=error.code) from error
    width = arguments.get("out_features", 0)
    size = _size(arguments.get("device") or spec.device, arguments.get("dtype"), spec.dtype)
    return Footprint(
        sum(parameters),
        sum(buffers),
        sum(parameters) * size,
        sum(buffers) * size,
        1,
        width if isinstance(width, int) else 0,
        max([*parameters, *buffers, 0]),
        layer.where,
    )


def _size(device: object, own: object, model: str | None) -> int:
    """Return the bytes of an element: as it is built or as it is after the model is converted, whichever is larger."""
    if device == "meta":
        return 0
    built = DTYPES[own if isinstance(own, str) else "float32"]
    return max(built, DTYPES[model]) if model else built


def check_memory(spec: Spec, backward: bool) -> None:
    """Refuse a spec that would not fit in the memory that is free now, naming the bytes it needs.

    Counted: parameters (twice with a backward: each has a gradient), buffers, modules, the input, and the
    outputs of the Linear layers. What is on the meta device holds no data; its sizes must fit in 63 bits.
    """
    size = DTYPES[spec.dtype or "float32"]
    need = measure(spec)
    rows = math.prod(spec.input.shape[:-1]) if spec.input else 0
    elements = math.prod(spec.input.shape) if spec.input else 0
    outputs = rows * need.activations
    at = (spec.input.where if spec.input else "") or spec.label
    _check_largest("the model", need.largest, need.parameters + need.buffers, size, need.where)
    _check_largest("the input", elements, elements, size, at)
    _check_largest("the outputs of the layers", outputs, outputs, size, at)
    passing = 0 if spec.device == "meta" else (elements + outputs) * size
    held = need.parameter_bytes * (2 if backward else 1) + need.buffer_bytes + need.modules * MODULE_BYTES
    _check_free(held + passing, at if passing > held else need.where or spec.label)


def _check_largest(what: str, largest: int, elements: int, size: int, where: str) -> None:
    """Refuse a tensor whose bytes do not fit in 63 bits: torch's own product would wrap around."""
    if largest * size > LARGEST:
        total = elements * size
        message = f"{what} would take {total:,} bytes ({format_bytes(total)}): more than a tensor can be large"
        raise UserError(message, where=where, hint="check the sizes of the layers", code="too-large")


def _check_free(needed: int, where: str) -> None:
    free = available_memory()
    if needed > free:
        message = f"the run needs {needed:,} bytes ({format_bytes(needed)}), {format_bytes(free)} are free"
        hint = "use smaller sizes, or --device meta to see the shapes without the memory"
        raise UserError(message, where=where, hint=hint, code="too-large")


# --- how much memory is free -----------------------------------------------------------------------------


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that can be taken now: what the system has available, or less where a cgroup limits us.

    Pages of files that a cgroup holds but can drop count as free. Where the system does not say, all of the
    physical memory; where not even that is known, `sys.maxsize`. `root` is where /proc and /sys are mounted.
    """
    system = _meminfo(root / "proc/meminfo", "MemAvailable:")
    rooms = [room for room in _cgroup_rooms(root) if room is not None]
    return max(0, min([*rooms, _physical_memory() if system is None else 1024 * system]))


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _cgroup_rooms(root: Path) -> Iterator[int | None]:
    """Yield what is left in each cgroup of this process, from the innermost to the outermost."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            yield from (_room(folder, *names) for folder in _upwards(mount, path))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from (_room(folder, *names) for folder in _upwards(mount / "memory", path))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    inside = PurePosixPath(*(part for part in path.split("/") if part not in ("", ".", "..")))
    yield from (mount / folder for folder in (inside, *inside.parents))


def _room(folder: Path, limit: str, usage: str, droppable: str) -> int | None:
    allowed, used = (_integer(_read(folder / name)) for name in (limit, usage))
    if allowed is None or used is None:
        return None
    return allowed - used + (_meminfo(folder / "memory.stat", droppable) or 0)


def _meminfo(path: Path, key: str) -> int | None:
    """Return the number behind `key` in a file of lines ``key number …``."""
    fields = (line.split() for line in _read(path).splitlines())
    return next((_integer(words[1]) for words in fields if len(words) > 1 and words[0] == key), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _integer(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None
