"""What torch's optimizers keep beside the parameters, and what a step of them takes for a while.

The rules are those of `torch.optim`, read from what its optimizers allocate on tensors without memory; the tests do
that again for every rule. Importing and stepping one here would cost seconds, for torch imports its compiler then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from paraminspect.frozen import dataclass

_STEP = 4  # bytes of the step counter that each parameter has, a float32
_Kind = tuple[tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class OptimizerMemory:
    """Bytes of an optimizer's state, of the master copies of the weights, and of the largest transient of a step."""

    state: int = 0
    masters: int = 0
    transient: int = 0


@dataclass(frozen=True)
class _Rule:
    """The state of a parameter, and what its step takes for a while: on its own, and as one of many at once.

    `left` of what its own step takes is there until that of the next one is over: Python keeps a variable of a loop.
    `at_once` is None of an optimizer that never takes all of them at once by itself.
    """

    state: Callable[[_Kind], int]
    alone: Callable[[_Kind], int]
    left: Callable[[_Kind], int]
    at_once: Callable[[_Kind], int] | None


def optimizer_memory(
    parameters: Sequence[Tensor], name: str, foreach: bool, master_weights: bool = False
) -> OptimizerMemory:
    """Return what the optimizer `name` needs for parameters that all get a gradient.

    With `foreach` it works on all of one dtype at once, as most do by themselves on an accelerator, else on one after
    the other, as on the CPU. Muon takes the matrices, embeddings among them, and AdamW all else, which Muon refuses.
    `master_weights` keeps a float32 copy of every parameter of less precision, which the optimizer works on: the
    gradients are cast for the step, ``master.grad = p.grad.float()``, and the result is copied back.
    """
    dtypes = [_master(one.dtype) if master_weights else one.dtype for one in parameters]
    kinds = [(tuple(one.shape), dtype) for one, dtype in zip(parameters, dtypes, strict=True)]
    copied = [one for one, dtype in zip(parameters, dtypes, strict=True) if one.dtype != dtype]
    masters = sum(4 * one.numel() for one in copied)
    parts = [(RULES[name], kinds)]
    if name == "muon":
        matrices, others = ([kind for kind in kinds if (len(kind[0]) == 2) is wanted] for wanted in (True, False))
        parts = [(RULES["muon"], matrices), (RULES["adamw"], others)]
    state = sum(rule.state(kind) for rule, some in parts for kind in some)
    transient = max(_transient(rule, some, foreach) for rule, some in parts)
    return OptimizerMemory(state, masters, transient + masters)  # the gradients in float32 are as large as the masters


def _master(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.is_floating_point and dtype.itemsize < 4 else dtype


def _transient(rule: _Rule, kinds: Sequence[_Kind], foreach: bool) -> int:
    if foreach and rule.at_once is not None:
        found: Counter[torch.dtype] = Counter()
        for kind in kinds:
            found[kind[1]] += rule.at_once(kind)
        return max(found.values(), default=0)
    left = [0, *map(rule.left, kinds)]
    return max((rule.alone(kind) + before for kind, before in zip(kinds, left, strict=False)), default=0)


# --- the rules ---------------------------------------------------------------------------------------------------


def _none(kind: _Kind) -> int:
    return 0


def _same(kind: _Kind) -> int:
    """Return the bytes of the parameter itself."""
    return math.prod(kind[0]) * kind[1].itemsize


def _two(kind: _Kind) -> int:
    """Adam's root of the second moment, and that divided by its correction."""
    return 2 * _same(kind)


def _moments(kind: _Kind) -> int:
    return 2 * _same(kind) + _STEP


def _factors(kind: _Kind) -> tuple[int, int, int]:
    """Return the bytes of Adafactor's row factor, of its column factor, and of one number a matrix."""
    rows, columns = kind[0][-2:]
    n = _same(kind)
    return n // columns, n // rows, n // (rows * columns)


def _factored(kind: _Kind) -> int:
    return _STEP + (sum(_factors(kind)[:2]) if len(kind[0]) > 1 else _same(kind))


def _unfactored(kind: _Kind) -> int:
    """The update, and the means of the squared gradient along rows and columns; of a vector the square itself."""
    if len(kind[0]) < 2:
        return 2 * _same(kind) + kind[1].itemsize
    rows, columns, each = _factors(kind)
    return _same(kind) + rows + columns + max(each, kind[1].itemsize)


def _orthogonalised(kind: _Kind) -> int:
    """Nesterov's update; in bfloat16 two matrices of its size, and two of its smaller side squared."""
    shape, _ = kind
    return _same(kind) + 2 * 2 * math.prod(shape) + 2 * 2 * min(shape) ** 2


RULES: Final[dict[str, _Rule]] = {
    "sgd": _Rule(_none, _none, _none, _none),
    "momentum": _Rule(_same, _none, _none, _none),
    "adam": _Rule(_moments, _two, _same, _same),
    "adamw": _Rule(_moments, _two, _same, _same),
    "adafactor": _Rule(_factored, _unfactored, _same, None),
    "muon": _Rule(_same, _orthogonalised, _none, None),
}
