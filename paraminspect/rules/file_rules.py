"""PI6xx: what is unsound about the files of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from paraminspect.report import Checkpoint, Fault, Finding, OptimizerContents, TensorHeader, Values
from paraminspect.text.numbers import plural, size, some_of

RULES: Final[dict[str, str]] = {
    "truncated": "PI601",
    "hole": "PI602",
    "overlap": "PI603",
    "duplicate-name": "PI604",
    "lying-size": "PI605",
    "missing-shard": "PI606",
    "missing-tensor": "PI607",
    "missing-record": "PI608",
    "stray-shard": "PI609",
    "stray-tensor": "PI610",
    "stray-record": "PI611",
    "path-escape": "PI612",
    "foreign-shard": "PI613",
    "numbering-gap": "PI614",
    "wrong-total": "PI615",
    "wrong-extension": "PI616",
    "deflated": "PI617",
    "interrupted": "PI618",
    "ungathered": "PI619",
    "unsafe-global": "PI620",
    "dragged-storage": "PI621",
    "unknown-dtype": "PI622",
    "bad-entry": "PI623",
    "bad-metadata": "PI624",
    "trailing-bytes": "PI625",
    "header-too-large": "PI626",
    "no-values": "PI627",
    "big-endian": "PI628",
    "too-deep": "PI629",
    "unreadable": "PI630",
    "lagging-step": "PI631",
    "no-state": "PI632",
    "not-finite": "PI633",
    "all-zero": "PI634",
}
"""The rule of each fault, by its word."""

_DRAGS: Final = 1024
"""How many bytes more a storage must have than its tensors use, to be worth a word."""


def findings_of(
    checkpoint: Checkpoint,
    optimizers: Sequence[OptimizerContents] = (),
    values: Mapping[str, Values | None] | None = None,
) -> tuple[Finding, ...]:
    """Return what is unsound: what the reader saw, then what headers, optimizers and values tell."""
    faults = [*checkpoint.faults, *_ungathered(checkpoint), *_dragged(checkpoint)]
    faults += [fault for one in optimizers for fault in _uneven(one)]
    faults += _values(checkpoint, values or {})
    return tuple(Finding(RULES.get(one.code, "PI630"), one.severity, one.where, one.message) for one in faults)


def _ungathered(checkpoint: Checkpoint) -> Iterator[Fault]:
    """Yield a fault where most weights are empty, as DeepSpeed's ZeRO stage 3 leaves them that were not gathered."""
    empty = [tensor.name for tensor in checkpoint.tensors if tensor.shape == (0,)]
    if len(empty) > 1 and 2 * len(empty) > len(checkpoint.tensors):
        message = (
            f"{plural(len(empty), 'tensor')} of {len(checkpoint.tensors):,} have the shape (0,): they were saved "
            "without being gathered, as ZeRO stage 3 keeps them; zero_to_fp32.py gathers their values"
        )
        yield Fault("ungathered", "error", checkpoint.path, message)


def _dragged(checkpoint: Checkpoint) -> Iterator[Fault]:
    """Yield a fault for storages of which the tensors in them use a part alone: a slice was saved with its base."""
    if not any((tensor.bytes or 0) < (tensor.held or 0) for tensor in checkpoint.tensors):
        return
    used: dict[object, int] = {}
    first: dict[object, TensorHeader] = {}
    for tensor in checkpoint.tensors:
        if tensor.storage is not None and tensor.held is not None and tensor.bytes is not None:
            used[tensor.storage] = used.get(tensor.storage, 0) + tensor.bytes
            first.setdefault(tensor.storage, tensor)
    wasted = {key: (first[key].held or 0) - count for key, count in used.items()}
    wasted = {key: waste for key, waste in wasted.items() if waste >= _DRAGS}
    if wasted:
        names = some_of([repr(first[key].name) for key in wasted])
        message = (
            f"drags {size(sum(wasted.values()))} along that no tensor uses: {names} lie in a larger storage, "
            "which is saved whole; save a clone()"
        )
        yield Fault("dragged-storage", "warning", checkpoint.path, message)


def _uneven(optimizer: OptimizerContents) -> Iterator[Fault]:
    """Yield a fault for parameters that were given fewer steps than the others, and for those that have no state."""
    steps = Counter(one.step for one in optimizer.parameters if one.step is not None)
    most = max(steps, default=0.0)
    behind = [one for one in optimizer.parameters if one.step is not None and one.step < most]
    if behind:
        names = some_of([f"{one.parameter or one.key} ({one.step:,.0f})" for one in behind])
        message = (
            f"has given {plural(len(behind), 'parameter')} fewer than the {most:,.0f} steps of the others: {names}; "
            "it skips a parameter whose grad is None"
        )
        yield Fault("lagging-step", "note", optimizer.path, message)
    if optimizer.without and optimizer.parameters:
        names = some_of(list(optimizer.without))
        message = (
            f"has no state for {plural(len(optimizer.without), 'parameter')} of its param_groups: {names}; "
            "no step has ever reached them"
        )
        yield Fault("no-state", "note", optimizer.path, message)


def _values(checkpoint: Checkpoint, values: Mapping[str, Values | None]) -> Iterator[Fault]:
    """Yield a fault for each tensor with NaN or Inf, and one for weights that are zero throughout."""
    zero: list[str] = []
    for tensor in checkpoint.tensors:
        found = values.get(tensor.name)
        if found is None:
            continue
        if found.nan or found.inf:
            parts = [f"{count:,} {word}" for count, word in ((found.nan, "NaN"), (found.inf, "Inf")) if count]
            message = f"has {' and '.join(parts)} among {plural(tensor.numel, 'element')}"
            yield Fault("not-finite", "error", tensor.name, message)
        if tensor.numel > 1 and found.zeros == tensor.numel and _is_weight(tensor):
            zero.append(tensor.name)
    if zero:
        message = f"has nothing but zeros in {plural(len(zero), 'weight')}: {some_of(zero)}"
        yield Fault("all-zero", "note", checkpoint.path, message)


def _is_weight(tensor: TensorHeader) -> bool:
    """Tell whether a tensor of nothing but zeros is worth a word: a bias starts so, and LoRA's B does too."""
    floating = tensor.dtype.startswith(("float", "bfloat", "F"))
    return floating and len(tensor.shape) > 1 and tensor.name.endswith("weight") and "lora_" not in tensor.name
