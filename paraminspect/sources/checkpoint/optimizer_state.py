"""The state of an optimizer in a training checkpoint: which tensors are of which parameter, how many steps it took."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Final

from paraminspect.report import (
    Checkpoint,
    OptimizerContents,
    OptimizerGroups,
    Shape,
    StateOfParameter,
    TensorHeader,
)
from paraminspect.sources.checkpoint.file_bytes import Bytes, is_remote, open_bytes

_WORDS: Final = ("exp_avg", "momentum_buffer", "square_avg", "sum", "exp_avg_sq", "step")
_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")
_FORMS: Final = {"float32": "<f", "float64": "<d", "int64": "<q", "int32": "<i"}
_MOST_STEPS: Final = 50_000
_MOST_COMPARED: Final = 20_000_000
_MOST_ZIPS: Final = 2_000


def optimizers_of(checkpoint: Checkpoint) -> tuple[OptimizerContents, ...]:
    """Return what the optimizers of a training checkpoint keep; their steps are read, one number a parameter."""
    if checkpoint.format.startswith("safetensors"):
        return ()
    known: dict[str, OptimizerGroups] = {}
    for one in checkpoint.optimizers:
        before = known.get(one.path)
        known[one.path] = one if before is None else one._replace(groups=before.groups + one.groups)
    for path in _paths(checkpoint.tensors):
        known.setdefault(path, OptimizerGroups(path, ()))
    most = max(_MOST_COMPARED // (len(checkpoint.tensors) + 1), 1)
    known = dict(islice(known.items(), most))
    trees = _trees(checkpoint.tensors, tuple(known)) if known else {}
    return tuple(found for one in known.values() if (found := _contents(one, checkpoint, trees)).parameters)


def _paths(tensors: Iterable[TensorHeader]) -> Iterator[str]:
    """Yield where optimizers stand, by the names of their tensors alone: ``optim`` for ``optim.state.0.step``."""
    for tensor in tensors:
        before, found, after = tensor.name.partition(".state.")
        if found and after.rpartition(".")[2] in _WORDS:
            yield before


def _contents(groups: OptimizerGroups, checkpoint: Checkpoint, trees: Mapping[str, _Tree]) -> OptimizerContents:
    below = f"{groups.path}.state." if groups.path else "state."
    kept: dict[str, dict[str, TensorHeader]] = {}
    for tensor in checkpoint.tensors:
        if tensor.name.startswith(below):
            key, word = _split(tensor.name.removeprefix(below))
            kept.setdefault(key, {})[word] = tensor
    names = _names(groups, kept, trees)
    steps = _steps(checkpoint, below, kept)
    states = tuple(
        StateOfParameter(
            key,
            names.get(key),
            steps.get(key),
            sum(tensor.bytes or 0 for tensor in tensors.values()),
            {word: tensor.name for word, tensor in tensors.items()},
        )
        for key, tensors in kept.items()
    )
    every = [str(number) for group in groups.groups for number in group]
    return OptimizerContents(groups.path, states, tuple(names.get(key, key) for key in every if key not in kept))


def _split(rest: str) -> tuple[str, str]:
    """Return the key of a parameter and the word for one of its tensors: ``0.exp_avg``, ``net.weight.exp_avg``."""
    key, _, word = rest.partition(".")
    if key.isdecimal():
        return key, word
    key, _, word = rest.rpartition(".")
    return key, word


# --- which parameter is meant ----------------------------------------------------------------------------------

_Tree = list[tuple[str, Shape]]


def _trees(tensors: Iterable[TensorHeader], paths: Sequence[str]) -> Mapping[str, _Tree]:
    """Return what may be the parameters of a model, by where they stand: names in order, a tie once, no buffers."""
    below = tuple(f"{path}." if path else "state." for path in paths)
    trees: dict[str, _Tree] = {}
    seen: set[object] = set()
    for tensor in tensors:
        if tensor.inside is None or tensor.name.startswith(below) or tensor.name.endswith(_BUFFERS):
            continue
        view = (tensor.storage, tensor.start, tensor.shape)
        if tensor.start is None or view not in seen:
            tree = tensor.inside or tensor.name.partition(".")[0]
            trees.setdefault(tree, []).append((tensor.name, tensor.shape))
        seen.add(view)
    return trees


def _names(
    groups: OptimizerGroups, kept: Mapping[str, Mapping[str, TensorHeader]], trees: Mapping[str, _Tree]
) -> dict[str, str]:
    """Return the parameter that each key of an optimizer stands for, where that can be told for sure."""
    every = [str(number) for group in groups.groups for number in group]
    by_number = dict(zip(every, groups.names, strict=True)) if len(groups.names) == len(every) else {}
    for prefix, tree in trees.items():
        if len(tree) < len(kept):  # each has a name of its own
            continue
        known = {name for name, _ in tree}
        called = {key: f"{prefix}.{by_number.get(key, key)}" for key in dict.fromkeys([*every, *kept])}
        if called and set(called.values()) <= known:
            return called
    orders = [[str(number) for number in group] for group in groups.groups]
    if not orders:
        numbers = sorted(int(key) for key in kept if key.isdecimal())
        orders = [list(map(str, numbers))] if numbers == list(range(len(numbers))) else []
    count = sum(map(len, orders))
    for tree in trees.values():
        if len(tree) < count or len(tree) * len(orders) > _MOST_COMPARED:
            continue
        found: dict[str, str] = {}
        for order in orders:
            shapes = [_shape(kept.get(key, {})) for key in order]
            names = _only_fit(shapes, tree)
            found |= dict(zip(order, names or (), strict=False))
        if found and len(found) == count == len(set(found.values())):
            return found
    return {}


def _shape(tensors: Mapping[str, TensorHeader]) -> Shape | None:
    """Return the shape of the parameter, as the tensors that are kept of it have it; None where that is not known."""
    shapes = {tensor.shape for word, tensor in tensors.items() if word != "step" and tensor.shape}
    return shapes.pop() if len(shapes) == 1 else None


def _only_fit(shapes: Sequence[Shape | None], tree: _Tree) -> list[str] | None:
    """Return the names in a tree that have these shapes in this order, if there is one way alone to choose them.

    The first way from the left is that from the right if and only if there is no other.
    """
    ranks = {len(shape) for shape in shapes if shape is not None}
    as_wide = [one for one in tree if len(one[1]) in ranks]
    if len(as_wide) == len(shapes):  # a group of all weights, or of all biases
        tree = as_wide
    left = _fit(shapes, tree)
    right = _fit(shapes[::-1], tree[::-1])
    return left if left is not None and right is not None and left == right[::-1] else None


def _fit(shapes: Sequence[Shape | None], tree: _Tree) -> list[str] | None:
    found: list[str] = []
    rest = iter(tree)
    for shape in shapes:
        name = next((name for name, other in rest if shape is None or shape == other), None)
        if name is None:
            return None
        found.append(name)
    return found


# --- the steps -------------------------------------------------------------------------------------------------


def _steps(checkpoint: Checkpoint, below: str, kept: Mapping[str, Mapping[str, TensorHeader]]) -> dict[str, float]:
    """Return how many steps each parameter was given: a number beside the tensors, or a tensor of one number."""
    found: dict[str, float] = {}
    for key, tensors in kept.items():
        text = checkpoint.other.get(f"{below}{key}.step", "")
        if "step" not in tensors and text.isdecimal():
            found[key] = int(text)
    headers = {key: tensors["step"] for key, tensors in kept.items() if "step" in tensors}
    spread = any(header.pieces for header in headers.values())
    if any(map(is_remote, checkpoint.paths)) or len(headers) > (_MOST_ZIPS if spread else _MOST_STEPS):
        return found
    with ExitStack() as stack:
        files: dict[int, Bytes] = {}
        for key, header in headers.items():
            if header.file is not None and header.file not in files:
                files[header.file] = stack.enter_context(open_bytes(checkpoint.paths[header.file]))
            number = _number(header, files)
            if number is not None:
                found[key] = number
    return found


def _number(header: TensorHeader, files: Mapping[int, Bytes]) -> float | None:
    """Read a tensor of one number."""
    form = _FORMS.get(header.dtype)
    if form is None or header.numel != 1 or header.file is None:
        return None
    if header.pieces:
        from paraminspect.sources.checkpoint.torch_zip import read_zip

        piece = header.pieces[0]
        (header,) = read_zip(files[piece.file], piece.file, piece.start, piece.bytes).tensors[:1] or [header]
    if header.start is None or header.file is None:
        return None
    return float(struct.unpack(form, files[header.file].read(header.start, struct.calcsize(form)))[0])
