"""PI6xx: what is unsound about the files of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from paraminspect.report import Checkpoint, Fault, Finding, TensorHeader
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
}
"""The rule of each fault, by its word."""

_DRAGS: Final = 1024
"""How many bytes more a storage must have than its tensors use, to be worth a word."""


def findings_of(checkpoint: Checkpoint) -> tuple[Finding, ...]:
    """Return what is unsound: what the reader saw, then what the headers together tell."""
    faults = (*checkpoint.faults, *_ungathered(checkpoint), *_dragged(checkpoint))
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
