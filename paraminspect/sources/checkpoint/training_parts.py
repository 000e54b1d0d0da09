"""What a training checkpoint is made of: weights, optimizer, scheduler, random state, epoch, each with its bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from paraminspect.report import Checkpoint, OptimizerContents, TensorHeader, TrainingPart

_SCHEDULES: Final = {"last_epoch", "_last_lr", "base_lrs", "_step_count"}
_SCALES: Final = {"growth_factor", "growth_interval"}
_RANDOM: Final = re.compile(r"(^|[._])(rng|random|seed)|generator", re.IGNORECASE)
_AVERAGED: Final = re.compile(r"(^|[._])(ema|shadow|swa)([._]|$)|averag", re.IGNORECASE)
_SETTINGS: Final = re.compile(r"^(args|cfg|conf|config|configs|hparams|hyper_?param\w*|settings|options|opt)$", re.I)
_GENERATOR_STATES: Final = ((5056,), (16,))  # of torch's generators on the CPU, on CUDA


def training_parts(checkpoint: Checkpoint, optimizers: Sequence[OptimizerContents]) -> tuple[TrainingPart, ...]:
    """Return the parts of a training checkpoint, by the first component of the names; none where it is none."""
    tensors: dict[str, list[TensorHeader]] = {}
    for tensor in checkpoint.tensors:
        tensors.setdefault(tensor.name.partition(".")[0], []).append(tensor)
    values: dict[str, dict[str, str]] = {}
    for path, text in checkpoint.other.items():
        first, _, rest = path.partition(".")
        values.setdefault(first, {})[rest] = text
    states = {one.path.partition(".")[0] for one in optimizers}
    found = tuple(
        _part(name, tensors.get(name, []), values.get(name, {}), name in states, checkpoint)
        for name in dict.fromkeys([*tensors, *values])
    )
    kinds = {one.holds for one in found}
    return found if len(found) > 1 and kinds & {"optimizer", "scheduler", "random state", "gradient scaler"} else ()


def _part(
    name: str, tensors: Sequence[TensorHeader], values: dict[str, str], is_optimizer: bool, checkpoint: Checkpoint
) -> TrainingPart:
    storages = {one.storage if one.start is not None else one.name: one.bytes or 0 for one in tensors}
    views = {(one.storage, one.start, one.shape) if one.start is not None else one.name: one.numel for one in tensors}
    text = values[""] if not tensors and list(values) == [""] else None
    return TrainingPart(
        name,
        "optimizer" if is_optimizer else _holds(name, tensors, values),
        len(views),
        sum(views.values()),
        sum(storages.values()),
        len(values),
        checkpoint.value_bytes.get(name, 0),
        text,
    )


def _holds(name: str, tensors: Sequence[TensorHeader], values: dict[str, str]) -> str:
    words = {path.rpartition(".")[2] for path in values}
    if len(words & _SCHEDULES) > 1:
        return "scheduler"
    if words >= _SCALES:
        return "gradient scaler"
    is_twister = "'MT19937'" in values.values() or "625 items" in values.values()  # numpy's, Python's
    if is_twister or (tensors and all(_is_generator(one) for one in tensors)):
        return "random state"
    if any(one.inside is not None and one.numel > 1 and one.dtype.startswith(("float", "bfloat")) for one in tensors):
        return "averaged weights" if _AVERAGED.search(name) else "weights"
    if _RANDOM.search(name):  # not the weights of a generator
        return "random state"
    if _SETTINGS.match(name):
        return "settings"
    return "tensors" if tensors else "value" if list(values) == [""] else "values"


def _is_generator(tensor: TensorHeader) -> bool:
    return tensor.dtype == "uint8" and tensor.shape in _GENERATOR_STATES
