"""What differs between two sources: names, shapes, types, values, ties, metadata. Files alone need no torch."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from paraminspect import __version__
from paraminspect.analysis.statistics.value_change import NO_TOLERANCE, Tolerance
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.adapters import adapter_names, adapters_of
from paraminspect.experiments.compared_bytes import Advance, Comparable, Comparer, comparable, rank_of
from paraminspect.experiments.name_pairs import Pair, Pairs, pair_names
from paraminspect.experiments.renamed_bytes import pair_by_bytes
from paraminspect.frozen import dataclass
from paraminspect.report import (
    Difference,
    Environment,
    Failure,
    MetadataChange,
    Report,
    Source,
    StateDictFit,
    TensorChange,
    TieChange,
    ValueChange,
)
from paraminspect.sources.checkpoint.optimizer_state import optimizers_of
from paraminspect.sources.checkpoint.training_parts import training_parts
from paraminspect.sources.diff_sides import Side, SideTensor
from paraminspect.text.escape import some_names

_MOST_FAULTS = 3


@dataclass(frozen=True)
class DiffRequest:
    """What is asked for: how far values may be apart, which names, whether ranks, from which seed models were built."""

    tolerance: Tolerance = NO_TOLERANCE
    params: tuple[str, ...] = ()
    rank: bool = False
    seed: int | None = None


def diff(
    a: Side, b: Side, request: DiffRequest, advance: Advance, fit: Callable[[], StateDictFit | None] = lambda: None
) -> Report:
    """Compare two sides; `fit` is asked last whether a model takes a file: it may spoil the values of the model."""
    pairs = pair_names(a.tensors, b.tensors)
    lora = adapters_of(a, b, pairs.removed, pairs.added)
    pairs = _without_adapters(pairs, a, b) if lora else pairs
    pairs, beside = _without_training(pairs, a, b)
    with Comparer(request.tolerance, advance) as comparer:
        pair_by_bytes(pairs, a, b, comparer)
        pairs, ignored = _selected(pairs, request.params)
        changes, counts, sums = _changes(pairs, a, b, request, comparer)
    ties, left_out = _tie_changes(pairs, a, b, {name for one in changes for name in _valued(one)})
    absent = [*_absent(pairs.removed, a, "removed", left_out), *_absent(pairs.added, b, "added", left_out)]
    tensors = tuple(sorted([*absent, *changes], key=_rank_of_change))
    metadata = _metadata_changes(a, b) if not request.params else ()
    moved = [one for one in tensors if not _within(one)]
    renamings = tuple(pairs.renamings)
    found = Difference(
        a=a.about,
        b=b.about,
        same=not (moved or renamings or metadata or lora or any(_tells_apart(tie, a, b) for tie in ties)),
        identical=counts["identical"],
        within=counts["within"],
        compared=len(pairs.pairs),
        atol=request.tolerance.atol,
        rtol=request.tolerance.rtol,
        tensors=tensors,
        renamings=renamings,
        ties=ties,
        metadata=metadata,
        adapters=lora,
        ignored=ignored,
        beside=beside,
        l2=sums[0],
        relative=sums[1],
        counts=counts,
    )
    return _report(replace(found, fit=fit()), a, b, request)


def _report(found: Difference, a: Side, b: Side, request: DiffRequest) -> Report:
    import sys

    loaded = sys.modules.get("torch") if a.subject or b.subject else None
    dtypes = {tensor.dtype for side in (a, b) for tensor in side.tensors.values()}
    dtype = dtypes.pop() if len(dtypes) == 1 else "mixed" if dtypes else ""
    version = None if loaded is None else str(loaded.__version__)
    environment = Environment(__version__, version, platform.python_version(), "cpu", dtype, request.seed)
    source = Source(a.about.kind, a.about.name, a.about.path)
    return Report(
        command="diff", source=source, environment=environment, errors=tuple(_unsound(a, b)), difference=found
    )


def _unsound(*sides: Side) -> Iterator[Failure]:
    """Yield what makes a file one that cannot be compared as a whole, the first faults of each."""
    for side in sides:
        faults = [fault for fault in side.checkpoint.faults if fault.severity == "error"] if side.checkpoint else []
        for fault in faults[:_MOST_FAULTS]:
            yield Failure(fault.code, fault.message, fault.where)
        if faults[_MOST_FAULTS:]:
            yield Failure("unsound", f"and {len(faults) - _MOST_FAULTS:,} faults more", side.about.name)


# --- which of them -----------------------------------------------------------------------------------------------


def _selected(pairs: Pairs, globs: Sequence[str]) -> tuple[Pairs, int]:
    """Keep what matches a glob under its name in A or in B; return how many tensors that leaves out too."""
    if not globs:
        return pairs, 0

    def wanted(*names: str) -> bool:
        return any(fnmatchcase(name, glob) for name in names for glob in globs)

    kept = Pairs(
        [pair for pair in pairs.pairs if wanted(*pair)],
        [
            replace(one, names=tuple(pair for pair in one.names if wanted(*pair)))
            for one in pairs.renamings
            if any(wanted(*pair) for pair in one.names)
        ],
        [name for name in pairs.removed if wanted(name)],
        [name for name in pairs.added if wanted(name)],
    )
    left = len(kept.pairs) + len(kept.removed) + len(kept.added)
    if not left:
        names = [*(one for one, _ in pairs.pairs), *pairs.removed, *pairs.added]
        hint = did_you_mean(globs[0], names) or f"tensors: {some_names(names)}"
        message = f"{' or '.join(map(repr, globs))} matches no tensor of either side"
        raise UserError(message, where="--params", hint=hint, code="glob-matches-nothing")
    return kept, len(pairs.pairs) + len(pairs.removed) + len(pairs.added) - left


def _without_training(pairs: Pairs, a: Side, b: Side) -> tuple[Pairs, tuple[str, ...]]:
    """Leave out the parts of a training checkpoint beside the weights that a model goes with; return these parts."""
    for at, side, model in ((0, a, b), (1, b, a)):
        whose = {pair[at].partition(".")[0] for pair in pairs.pairs}
        if side.checkpoint is None or model.subject is None or len(whose) != 1:
            continue
        parts = training_parts(side.checkpoint, optimizers_of(side.checkpoint))
        rest = tuple(one.name for one in parts if one.tensors and one.name not in whose)
        if rest and any(one.name in whose and one.holds.endswith("weights") for one in parts):
            removed, added = (
                [name for name in names if place != at or name.partition(".")[0] in whose]
                for place, names in enumerate((pairs.removed, pairs.added))
            )
            return replace(pairs, removed=removed, added=added), rest
    return pairs, ()


def _without_adapters(pairs: Pairs, a: Side, b: Side) -> Pairs:
    """Leave out the factors of adapters, and of a file that holds little else that it lacks the other's weights."""
    of_a, of_b = adapter_names(pairs.removed), adapter_names(pairs.added)
    alone = [len(own & set(side.tensors)) * 2 > len(side.tensors) for own, side in ((of_a, a), (of_b, b))]
    removed = [] if alone[1] else [name for name in pairs.removed if name not in of_a]
    added = [] if alone[0] else [name for name in pairs.added if name not in of_b]
    return replace(pairs, removed=removed, added=added)


# --- tensor by tensor --------------------------------------------------------------------------------------------


def _changes(
    pairs: Pairs, a: Side, b: Side, request: DiffRequest, comparer: Comparer
) -> tuple[list[TensorChange], dict[str, int], tuple[float | None, float | None]]:
    """Return the tensors of both sides that are not the same, and how many are."""
    counts = dict.fromkeys(("identical", "within", "values", "bits", "dtype", "shape", "unread", "renamed"), 0)
    counts["renamed"] = sum(len(one.names) for one in pairs.renamings)
    found: list[TensorChange] = []
    readable: list[tuple[Pair, Comparable]] = []
    for pair in pairs.pairs:
        one, other = a.tensors[pair[0]], b.tensors[pair[1]]
        shaped = one.has_shape and other.has_shape
        if shaped and one.shape != other.shape:
            found.append(_change(pair, one, other, ("shape", *_dtype(one, other))))
            continue
        compared = comparable(one, other, a, b) if shaped else None
        if compared is None:
            note = "; ".join(filter(None, (one.why and f"A: {one.why}", other.why and f"B: {other.why}")))
            why = note or "the bytes of one side cannot be read"
            found.append(_change(pair, one, other, (*_dtype(one, other), "unread"), note=why))
        else:
            readable.append((pair, compared))
    unequal = sorted(comparer.unequal([compared for _, compared in readable]))
    counts["identical"] = len(readable) - len(unequal)
    values = comparer.changes([readable[at][1] for at in unequal])
    for at, value in zip(unequal, values, strict=True):
        pair, compared = readable[at]
        one, other = a.tensors[pair[0]], b.tensors[pair[1]]
        what = (*_dtype(one, other), *_in_values(value, one.dtype == other.dtype))
        ranked = _with_rank(value, compared) if value is not None and request.rank and value.different else value
        unknown = None if value else f"differs in its bytes; {one.dtype} is not a type whose numbers are read here"
        found.append(_change(pair, one, other, what, ranked, unknown))
    found = [_marked(change, request.tolerance) for change in found]
    for change in found:
        for kind in change.changes:
            counts[kind] += 1
    return found, counts, _whole([change for change in found if not _within(change)])


def _with_rank(value: ValueChange, compared: Comparable) -> ValueChange:
    found = rank_of(compared)
    if found is None:
        return value
    rank, full, tolerance = found
    return replace(value, rank=rank, full_rank=full, rank_tolerance=tolerance)


def _dtype(one: SideTensor, other: SideTensor) -> tuple[str, ...]:
    return ("dtype",) if one.dtype != other.dtype else ()


def _in_values(value: ValueChange | None, one_type: bool) -> tuple[str, ...]:
    if value is None:
        return ("unread",) if not one_type else ("values",)
    if value.different:
        return ("values",)
    return ("bits",) if one_type else ()


def _change(
    pair: Pair,
    one: SideTensor,
    other: SideTensor,
    what: tuple[str, ...],
    values: ValueChange | None = None,
    note: str | None = None,
) -> TensorChange:
    renamed = None if pair[0] == pair[1] else pair[1]
    shapes = (one.shape if one.has_shape else None, other.shape if other.has_shape else None)
    dtypes = (one.dtype, other.dtype)
    return TensorChange(pair[0], "changed", what, renamed, *shapes, *dtypes, one.bytes, other.bytes, values, note)


def _absent(names: Sequence[str], side: Side, status: str, left_out: set[str]) -> Iterator[TensorChange]:
    for name in names:
        if name in left_out:
            continue
        tensor = side.tensors[name]
        if status == "removed":
            yield TensorChange(name, status, shape=tensor.shape, dtype=tensor.dtype, bytes=tensor.bytes)
        else:
            yield TensorChange(
                name, status, other_shape=tensor.shape, other_dtype=tensor.dtype, other_bytes=tensor.bytes
            )


def _within_tolerance(one: TensorChange, tolerance: Tolerance) -> bool:
    """Tell whether a tensor that is not the same in its bytes is so within a tolerance that was given."""
    return tolerance.given and one.values is not None and not one.values.beyond and "shape" not in one.changes


def _marked(one: TensorChange, tolerance: Tolerance) -> TensorChange:
    """Return a change with what the tolerance makes of it: another dtype stays one, its values are no change."""
    if not _within_tolerance(one, tolerance):
        return one
    return replace(one, changes=("dtype",) if "dtype" in one.changes else (*one.changes, "within"))


def _within(one: TensorChange) -> bool:
    return "within" in one.changes


def _valued(one: TensorChange) -> tuple[str, ...]:
    return (one.name,) if {"values", "unread", "shape"} & set(one.changes) else ()


def _whole(found: Sequence[TensorChange]) -> tuple[float | None, float | None]:
    """Return ‖B - A‖ over all tensors that moved, and that relative to their ‖A‖."""
    values = [one.values for one in found if one.values is not None and one.values.l2 is not None]
    l2 = math.hypot(*(value.l2 or 0.0 for value in values))
    base = math.hypot(*((value.l2 or 0.0) / value.relative for value in values if value.relative))
    return (l2, l2 / base if base else None) if values else (None, None)


def _rank_of_change(one: TensorChange) -> tuple[int, float, str]:
    """Sort what cannot be loaded first, then what only one side has, then the values by how far they moved."""
    if "shape" in one.changes:
        return 0, 0.0, ""
    if one.status != "changed":
        return (1 if one.status == "removed" else 2), 0.0, ""
    if one.values is None:
        return 3, 0.0, ""
    if one.values.nonfinite:
        return 4, -float(one.values.nonfinite), ""
    relative = one.values.relative
    size = math.inf if relative is None and one.values.different else relative or 0.0
    return 5, -size, ""


# --- ties and metadata ---------------------------------------------------------------------------------------------


def _tie_changes(pairs: Pairs, a: Side, b: Side, differing: set[str]) -> tuple[tuple[TieChange, ...], set[str]]:
    """Return the ties that one side alone has, and the names that it leaves out because of them."""
    to_b, to_a = dict(pairs.pairs), {other: one for one, other in pairs.pairs}
    lone_a, lone_b = set(pairs.removed), set(pairs.added)
    found: list[TieChange] = []
    left_out: set[str] = set()
    for side, other, names_there, lone, only in (
        (a, b, to_b, lone_a, "a"),
        (b, a, to_a, lone_b, "b"),
    ):
        known = set(names_there) | lone
        for group in _groups(side, known):
            there = {name: other.tensors[names_there[name]].identity for name in group if name in names_there}
            absent = [name for name in group if name not in there]
            if there and absent:
                left_out.update(absent)
                found.append(TieChange(group, only, "left out"))
            elif len(set(there.values())) > 1:
                in_a = group if only == "a" else tuple(to_a[name] for name in group)
                kind = "different" if differing & set(in_a) else "equal"
                found.append(TieChange(in_a, only, kind))
    return tuple(found), left_out


def _tells_apart(tie: TieChange, a: Side, b: Side) -> bool:
    """Tell whether a tie is a difference: a format that cannot have two names for a tensor leaves one out."""
    return tie.elsewhere != "left out" or (b if tie.only == "a" else a).keeps_metadata != "safetensors"


def _groups(side: Side, known: set[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names that are one tensor, of those that are compared."""
    groups: dict[object, list[str]] = {}
    for name, tensor in side.tensors.items():
        if name in known and tensor.numel:
            groups.setdefault(tensor.identity, []).append(name)
    for names in groups.values():
        if len(names) > 1:
            yield tuple(names)


def _metadata_changes(a: Side, b: Side) -> tuple[MetadataChange, ...]:
    """Compare what files of one kind say beside their tensors; files of two kinds cannot say the same."""
    if not a.keeps_metadata or a.keeps_metadata != b.keeps_metadata:
        return ()
    one, other = _plain(a.metadata), _plain(b.metadata)
    keys = dict.fromkeys([*one, *other])
    return tuple(MetadataChange(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key))


def _plain(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if key != "format"}
