"""What differs between two sources: names, shapes, types, values, ties, metadata. Files alone need no torch."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from paraminspect import __version__
from paraminspect.analysis.statistics.value_change import NO_TOLERANCE, Tolerance
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.adapters import adapter_names, adapters_of
from paraminspect.experiments.compared_bytes import Advance, Comparer
from paraminspect.experiments.name_pairs import Pairs, pair_names
from paraminspect.experiments.renamed_bytes import pair_by_bytes
from paraminspect.experiments.tensor_changes import absent, changes_of, is_within, moved_together, order_of
from paraminspect.frozen import dataclass
from paraminspect.report import (
    Difference,
    Environment,
    Failure,
    MetadataChange,
    OptimizerChange,
    Report,
    Source,
    StateDictFit,
    TensorChange,
    TieChange,
)
from paraminspect.sources.checkpoint.optimizer_state import optimizers_of
from paraminspect.sources.checkpoint.training_parts import training_parts
from paraminspect.sources.diff_sides import Side
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
        changes, counts = changes_of(pairs, a, b, comparer, request.tolerance, request.rank)
    kept = {**_kept_by_optimizers(b), **_kept_by_optimizers(a)}
    changes = [replace(one, in_optimizer=kept.get(one.name)) for one in changes]
    l2, relative = moved_together([one for one in changes if one.in_optimizer is None])
    differing = {one.name for one in changes if not {"values", "unread", "shape"}.isdisjoint(one.changes)}
    ties, left_out = _tie_changes(pairs, a, b, differing)
    lone = [*absent(pairs.removed, a, "removed", left_out), *absent(pairs.added, b, "added", left_out)]
    lone = [replace(one, in_optimizer=kept.get(one.name)) for one in lone]
    tensors = tuple(sorted([*lone, *changes], key=order_of))
    metadata = _metadata_changes(a, b) if not request.params else ()
    moved = [one for one in tensors if not is_within(one)]
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
        l2=l2,
        relative=relative,
        counts=counts,
        optimizer=_of_optimizers(sum(one in kept for one, _ in pairs.pairs), changes),
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


def _kept_by_optimizers(side: Side) -> dict[str, str]:
    """Return the names of what optimizers keep, each with the parameter that it is of in the place of its number."""
    found: dict[str, str] = {}
    for optimizer in optimizers_of(side.checkpoint) if side.checkpoint else ():
        for one in optimizer.parameters:
            of = one.parameter if one.parameter and one.key.isdecimal() else one.key
            for word, name in one.tensors.items():
                found[name] = ".".join(filter(None, (optimizer.path, "state", of, word)))
    return found


def _of_optimizers(compared: int, changes: Sequence[TensorChange]) -> OptimizerChange | None:
    own = [one for one in changes if one.in_optimizer is not None]
    moved = sum("values" in one.changes and not is_within(one) for one in own)
    return OptimizerChange(compared, moved, *moved_together(own)) if compared else None


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
    """Compare what files of one kind say beside their tensors; files of two kinds cannot say the same.

    Nor can a state_dict say what a module has for attributes that was saved whole.
    """
    if not a.keeps_metadata or a.keeps_metadata != b.keeps_metadata:
        return ()
    whole_a, whole_b = (tuple(side.checkpoint.modules) if side.checkpoint else () for side in (a, b))
    apart = bool(whole_a) != bool(whole_b)
    one, other = _plain(a.metadata, whole_a if apart else ()), _plain(b.metadata, whole_b if apart else ())
    keys = dict.fromkeys([*one, *other])
    return tuple(MetadataChange(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key))


def _plain(metadata: Mapping[str, str], without: Sequence[str]) -> dict[str, str]:
    """Return the metadata without what stands below the names `without`, ``""`` for all."""
    below = tuple(f"{path}." if path else "" for path in without)
    return {key: text for key, text in metadata.items() if key != "format" and not key.startswith(below)}
