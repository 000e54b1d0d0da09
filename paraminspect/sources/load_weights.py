"""The tensors of a checkpoint into a module, as ``load_state_dict`` puts them, or one message on what does not fit."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.torch_state import around, generators_kept
from paraminspect.isolation.user_code import explained
from paraminspect.modules.subject import Loading, Subject
from paraminspect.modules.walk import registered, walk
from paraminspect.modules.wrapping import AUTO, NONE, wrapping
from paraminspect.sources.checkpoint.stored_tensors import StoredTensors
from paraminspect.sources.module import places_of_shared, tie_again
from paraminspect.text.escape import some_names
from paraminspect.text.numbers import plural

_MOST = 4
_FIRST_NAMES, _MOST_PREFIXES = 3, 20

_SHARD = re.compile(r"-\d{1,9}-of-0*(\d{1,9})\.\w+$")
Names = Mapping[str, Any]


@dataclass(frozen=True)
class Fit:
    """How the names and shapes of a file and of a module's state_dict go together: what each has alone, and shapes."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()

    @property
    def amiss(self) -> int:
        """Return how many entries do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)


def with_weights(subject: Subject, stored: StoredTensors) -> Subject:
    """Load the one state_dict of a file that fits, strictly; a prefix that is to be left out of names is there too.

    What is on the meta device gets the file's tensors for its own. No random number is drawn. Raises UserError naming
    what is missing, unexpected or of another shape, with the prefix that makes the difference where one does.
    """
    module, where = subject.module, f"--weights {stored.path}"
    wanted = state_dict_of(subject)
    chosen = choose(stored, module, wanted, subject.strip, where)
    state = chosen.state
    on_meta = any(isinstance(value, Tensor) and value.is_meta and not is_lazy(value) for value in wanted.values())
    shared = places_of_shared(module)
    try:
        with around(subject.foreign), generators_kept(), torch.no_grad():
            module.load_state_dict(state, strict=True, assign=on_meta)
            _own_memory(module) if on_meta else None
    except RuntimeError as error:
        fit = fit_names(state, wanted)
        if fit.amiss:
            raise _misfit(fit, state, wanted, where) from None
        reason = " ".join(str(error).split())[:400]
        raise UserError(f"load_state_dict refuses it: {reason}", where=where, code="weights-do-not-fit") from error
    except (Exception, SystemExit) as error:
        raise explained("load_state_dict()", error) from error
    if on_meta:
        tie_again(shared)
    notes = (f"weights: {note}" for note in (*chosen.notes, *_notes(module, state, wanted, on_meta)))
    return replace(
        subject,
        notes=(*subject.notes, *notes),
        strip=AUTO if chosen.less and not wrapping(module, subject.strip).prefix else subject.strip,
        loading=Loading(stored.path, chosen.key, chosen.less, chosen.complete),
    )


def state_dict_of(subject: Subject) -> dict[str, Any]:
    """Return the module's state_dict with its parameters as they are; its own code may run."""
    try:
        with around(subject.foreign), torch.no_grad():
            return dict(subject.module.state_dict(keep_vars=True))
    except (Exception, SystemExit) as error:
        raise explained("state_dict()", error) from error


# --- which of them, under which names --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """A state_dict under the module's names, where it stood, what was taken off its names, whether it had them all."""

    state: OrderedDict[str, Any]
    key: str
    less: str = ""
    complete: bool = True
    notes: tuple[str, ...] = ()


def choose(stored: StoredTensors, module: nn.Module, wanted: Names, prefix: str, where: str) -> _Chosen:
    """Return the state_dict of the file that fits, with what there is to say on the choice."""
    tried: dict[str, _Chosen] = {}
    for key, tree in stored.trees.items():
        spelled = []
        for state, less in _spelled(tree, module, prefix):
            own = len(state)
            whole = complete(state, wanted, stored.aliases)
            spelled.append(_Chosen(whole, key, less, own == len(whole)))
        tried[key] = min(spelled, key=lambda one: fit_names(one.state, wanted).amiss)
    fits = {key: fit_names(one.state, wanted) for key, one in tried.items()}
    best = [key for key, fit in fits.items() if not fit.missing and not fit.unexpected]
    nearly = [key for key, one in tried.items() if not best and _prefix_hint(one.state, wanted)]
    best = nearly if len(nearly) == 1 else best
    if len(best) > 1 or (not best and len(tried) > 1):
        keys = some_names(best or list(tried))
        what = "that fit by their names" if best else "and none that fits by its names"
        loaded = f"torch.load({stored.path!r}, weights_only=True)"
        path = "".join(f"[{part!r}]" for part in next(iter(best or tried)).split("."))
        hint = f"save one of them alone: torch.save({loaded}{path}, FILE)"
        raise UserError(f"holds several state_dicts {what}: {keys}", where=where, hint=hint, code="weights-ambiguous")
    key = best[0] if best else next(iter(tried))
    one = tried[key]
    others = [other for other in stored.beside if other != key.partition(".")[0]] if key else []
    beside = f"; the file also holds {some_names(others)}" if others else ""
    notes = [f"taken from {key!r} in the file{beside}"] if key else []
    notes += [f"{one.less!r} taken off the names in the file"] if one.less else []
    return replace(one, notes=tuple(notes))


def _spelled(tree: Names, module: nn.Module, prefix: str) -> Iterator[tuple[OrderedDict[str, Any], str]]:
    """Yield the entries under each spelling of their names that may be the module's, and what was taken off.

    A wrapper's prefix may be missing: the names are then those that are printed.
    """
    yield renamed(tree, "", ""), ""
    if prefix not in (AUTO, NONE):
        less = f"{prefix.rstrip('.')}."
        yield renamed(tree, less, ""), less
    own = wrapping(module, prefix).prefix or wrapping(module).prefix
    if own:
        yield renamed(tree, "", own), ""


def renamed(tree: Names, less: str, more: str) -> OrderedDict[str, Any]:
    """Return the entries with `less` taken off their names and `more` put before them, and the versions of modules."""
    found = OrderedDict((more + name.removeprefix(less), value) for name, value in tree.items())
    metadata = getattr(tree, "_metadata", None)
    if metadata is not None:
        paths = {(more + path.removeprefix(less)).rstrip("."): version for path, version in metadata.items()}
        found._metadata = paths  # type: ignore[attr-defined]  # torch keeps versions of modules there
    return found


def complete(state: OrderedDict[str, Any], wanted: Names, aliases: Mapping[str, str]) -> OrderedDict[str, Any]:
    """Add the names that a file leaves out because they are one tensor with a name that it has."""
    groups: dict[int, list[str]] = {}
    for name, value in wanted.items():
        groups.setdefault(id(value), []).append(name)
    for names in groups.values():
        there = next((name for name in names if name in state), None)
        for name in names:
            if name not in state and there is not None:
                state[name] = state[there]
    for name, kept in aliases.items():
        if name in wanted and name not in state and kept in state:
            state[name] = state[kept]
    return state


def fit_names(state: Names, wanted: Names) -> Fit:
    """Compare names and shapes."""

    def same(name: str) -> bool:
        one, other = state[name], wanted[name]
        tensors = isinstance(one, Tensor) and isinstance(other, Tensor) and not is_lazy(other)
        return not tensors or one.shape == other.shape

    return Fit(
        tuple(name for name in wanted if name not in state),
        tuple(name for name in state if name not in wanted),
        tuple(name for name in state if name in wanted and not same(name)),
    )


# --- what does not fit -----------------------------------------------------------------------------------------


def _misfit(fit: Fit, state: Names, wanted: Names, where: str) -> UserError:
    """Name what does not fit, the most telling first, and the prefix that makes the difference where one does."""
    parts = [
        f"{what}: {some_names(names, _MOST)}{f' and {len(names) - _MOST:,} more' if len(names) > _MOST else ''}"
        for what, names in (("missing in the file", fit.missing), ("unexpected in the file", fit.unexpected))
        if names
    ]
    shapes = [
        f"{some_names([name])} is {tuple(state[name].shape)} in the file, {tuple(wanted[name].shape)} in the model"
        for name in fit.shapes[:_MOST]
    ]
    more = [f"{len(fit.shapes) - _MOST:,} more of another shape"] if len(fit.shapes) > _MOST else []
    message = f"does not fit the model: {'; '.join([*parts, *shapes, *more])}"
    part = _SHARD.search(where)
    hint = _prefix_hint(state, wanted) or (
        f"it is one of {int(part[1]):,} shards: name their folder, or the index"
        if part is not None and fit.missing
        else "the model has to be built as it was when the file was saved: the same class, arguments and sizes"
    )
    return UserError(message, where=where, hint=hint, code="weights-do-not-fit")


def _prefix_hint(state: Names, wanted: Names) -> str:
    """Say which prefix makes all the difference, if one does; names of one tensor need not all be there."""
    for strip, add in prefixes(state, wanted):
        trial = complete(renamed(state, strip, add), wanted, {})
        fit = fit_names(trial, wanted)
        if fit.missing or fit.unexpected:
            continue
        if strip:
            return f"the names in the file have {strip!r} before them: --strip-prefix {strip}"
        return f"the names in the model have {add!r} before them, those in the file do not: --strip-prefix {add}"
    return ""


def prefixes(state: Names, wanted: Names) -> Iterator[tuple[str, str]]:
    """Yield what could be taken off the names in a file, or put before them: what the first names differ in."""
    for longer, shorter, in_file in ((state, wanted, True), (wanted, state, False)):
        seen: set[str] = set()
        for first in itertools.islice(shorter, _FIRST_NAMES):
            seen |= {name.removesuffix(first) for name in longer if name.endswith(f".{first}")}
        for prefix in sorted(seen, key=len)[:_MOST_PREFIXES]:
            yield (prefix, "") if in_file else ("", prefix)


# --- afterwards ------------------------------------------------------------------------------------------------


def _notes(module: nn.Module, state: Names, wanted: Names, on_meta: bool) -> Iterator[str]:
    """Say what was converted, what a tie has left out, and what no file could fill."""
    pairs = [(state[name], wanted[name]) for name in state if isinstance(wanted.get(name), Tensor)]
    if not on_meta:
        casts = {(str(one.dtype)[6:], str(other.dtype)[6:]) for one, other in pairs if one.dtype != other.dtype}
        for stored, own in sorted(casts):
            yield f"{stored} in the file, converted to the model's {own}"
    first: dict[int, str] = {}
    for name, tensor in wanted.items():
        other = first.setdefault(id(tensor), name)
        if isinstance(tensor, Tensor) and other != name and not _equal(state[other], state[name]):
            names = some_names([other, name])
            yield f"{names} are one Parameter, but differ in the file: the last of them counts"
    if on_meta:
        tensors = [tensor for _, owner in walk(module).once() for _, tensor in registered(owner, "_buffers")]
        left = sum(tensor.is_meta for tensor in tensors)
        if left:
            what = plural(left, "buffer")
            yield f"{what} that state_dict leaves out stay on the meta device: build the model on the CPU"


def _equal(one: Any, other: Any) -> bool:
    with contextlib.suppress(RuntimeError, NotImplementedError, AttributeError):
        return one is other or torch.equal(one, other)
    return True


def _own_memory(module: nn.Module) -> None:
    """Give every parameter memory of its own: two names may have been given one tensor of the file."""
    seen: set[int] = set()
    for _, owner in walk(module).once():
        for _, parameter in registered(owner, "_parameters"):
            key = parameter.data_ptr() if not parameter.is_meta else 0
            if key and key in seen:
                parameter.data = parameter.data.clone()
            seen.add(key)
