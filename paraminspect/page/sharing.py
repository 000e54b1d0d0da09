"""What sharing means, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.frozen import dataclass
from paraminspect.page.gradient_uses import UsesByParameter
from paraminspect.page.module_sharing import SharedModules, told_of_modules, uses_of_each
from paraminspect.page.parts import Line
from paraminspect.report import Report, Sharing
from paraminspect.text.braces import pattern
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import plural, size


@dataclass(frozen=True)
class Meaning:
    """Say what a kind of sharing is, and what it does to a step, a file, a copy; nothing where it does nothing."""

    kind: str
    optimizer: str = ""
    saving: str = ""
    moving: str = ""


_EACH_STEPS = "a slot and a gradient for each: steps and weight decay act on the common bytes once for each"
_SAVED_ONCE = "torch.save writes the bytes once and loads them shared; save_file of safetensors refuses"
_OWN_BYTES = "deepcopy, and .to another dtype or device, give each Parameter bytes of its own"
_APART = ("each steps alone", "each is written with bytes of its own", "nothing to lose: they are apart already")

MEANING: Final = {
    "same-parameter": Meaning(
        "a true tie: one value, one gradient (the sum over its uses), one optimizer slot",
        "one step, whatever the number of names",
        _SAVED_ONCE,
        "deepcopy and .to another dtype keep it one Parameter",
    ),
    "same-buffer": Meaning(
        "one buffer under several names: an update through one is seen through all",
        saving=_SAVED_ONCE,
        moving="deepcopy keeps it one; .to another dtype makes one for each module that holds it",
    ),
    "same-view": Meaning(
        "a half-tie: the same elements of the same memory, so values move together and gradients do not",
        _EACH_STEPS,
        _SAVED_ONCE,
        _OWN_BYTES,
    ),
    "same-bytes-other-view": Meaning(
        "the same bytes in another order, shape or dtype: for a true tie keep one and view it in the forward, "
        "e.g. F.linear(x, emb.weight)",
        _EACH_STEPS,
        _SAVED_ONCE,
        _OWN_BYTES,
    ),
    "nested": Meaning("slices: the bytes of some are all inside another's", _EACH_STEPS, _SAVED_ONCE, _OWN_BYTES),
    "partial-overlap": Meaning(
        "some bytes in common, and others of their own: usually a mistake", _EACH_STEPS, _SAVED_ONCE, _OWN_BYTES
    ),
    "same-storage-disjoint": Meaning(
        "parts of one storage without a byte in common: no value is shared",
        "each steps alone",
        "torch.save of one writes the whole storage; safetensors writes each alone",
        "deepcopy, and .to another dtype or device, give each Parameter a storage of its own",
    ),
    "foreign-alias": Meaning(
        "different storages over the same memory (numpy, dlpack, mmap): whoever compares storages sees nothing",
        _EACH_STEPS,
        "torch.save writes each storage in full and loads them apart",
        _OWN_BYTES,
    ),
    "may-overlap": Meaning("they reach over each other; whether a byte is in common would take too long to find out"),
    "self-overlap": Meaning(
        "some of its own elements lie in the same bytes",
        "a step in place is refused where a stride is 0",
        "torch.save writes the bytes that are there; save_file of safetensors refuses",
        "deepcopy and .to another dtype write every element of a Parameter out",
    ),
    "not-shared": Meaning("tensors of their own", *_APART),
    "equal-not-shared": Meaning("bit for bit equal, in bytes of their own: copies, or a tie that broke", *_APART),
    "equal-buffers": Meaning("tables and counters that are computed alike: no sign of a tie", *_APART),
    "equal-constant": Meaning("each holds one constant, as fresh norms and biases do: no sign of a tie", *_APART),
}
"""By kind of sharing."""

ONE_OBJECT: Final = {"same-parameter": "one Parameter", "same-buffer": "one buffer"}
_ALIASES = {
    "same-view",
    "same-bytes-other-view",
    "nested",
    "partial-overlap",
    "foreign-alias",
    "may-overlap",
}
NO_TIE = ("equal-constant", "equal-buffers")
NOT_THE_SAME = "alias (not the same Parameter)"


def nothing_shared(report: Report) -> str:
    """Say that none of the report's parameters shares anything."""
    count = sum(row.kind == "parameter" for row in report.parameters)
    return f"nothing is shared: {plural(count, 'parameter tensor')}, each an object and a storage of its own"


def shares_nothing(report: Report) -> bool:
    """Tell whether no two names are one object, and no two tensors lie in one storage."""
    return all(shared.kind.startswith("equal-") or shared.kind == "not-shared" for shared in report.sharing)


def is_constant(shared: Sharing) -> bool:
    """Tell whether a group is only of equal constants or buffers, which are counted, never told one by one."""
    return shared.kind in NO_TIE and shared.verdict is None


def kind_of(shared: Sharing) -> str:
    """Return the kind, marked where it could pass for a tie, and what it means."""
    kind = word(shared.kind)
    marked = f"{NOT_THE_SAME}: {kind}" if shared.kind in _ALIASES else kind
    return f"{marked}: {MEANING[shared.kind].kind}" if shared.kind in MEANING else marked


def verdict_of(shared: Sharing) -> str:
    """Say whether a tie was declared, by whom, and what is wrong with it; nothing where there is none to judge."""
    origin = f" ({code(shared.origin)})" if shared.origin else ""
    if shared.verdict == "broken":
        return f"yes{origin}, but broken: not one Parameter"
    if shared.verdict == "missing":
        return f"yes{origin}, but nothing is called {' or '.join(map(code, shared.missing))}"
    if shared.kind != "same-parameter" and not shared.declared:
        return ""
    if shared.declared:
        return "yes"
    return f"no: {code(shared.origin)} does not say that these names are meant to be one" if shared.origin else ""


def constants(report: Report) -> Iterator[Line]:
    """Yield one line for all groups of equal constants, and one for those of equal buffers."""
    for kind in NO_TIE:
        groups = [group for group in report.sharing if group.kind == kind and is_constant(group)]
        count = sum(len(group.names) for group in groups)
        if groups:
            yield "equal", f"{plural(count, 'tensor')} in {plural(len(groups), 'group')}: {MEANING[kind].kind}"


def summary_lines(
    report: Report, uses: UsesByParameter, whole: bool = False, modules: Sequence[SharedModules] = ()
) -> Iterator[Line]:
    """Yield head and text of the lines for `show`: shared, alias, storage, tie, equal. Constants are left out.

    With `whole` every name of a group is there, however many. What is told of `modules` is not told of their tensors.
    """
    same = [shared for shared in report.sharing if shared.kind in ONE_OBJECT]
    for one in modules:
        yield "shared", ", ".join(filter(None, (f"{one.title}: {one_module(one)}", uses_of_each(report, one))))
    told = told_of_modules(modules)
    for shared in same:
        if shared.names[0] in told:
            continue
        line = uses.line(shared.names[0])
        yield "shared", f"{_few(shared, ' = ', whole)}: {ONE_OBJECT[shared.kind]}{line}"
    if not same and not any(map(_is_alias, report.sharing)):
        yield "shared", "nothing: every name is a Parameter of its own"
    for shared in report.sharing:
        if shared.verdict in ("broken", "missing"):
            yield "tie", f"{_few(shared, ', ', whole)}: {_wrong(shared)}"
        elif shared.kind == "equal-not-shared":
            names = None if whole else pattern(shared.names)
            yield "equal", f"{names or _few(shared, ', ', whole)}: equal bit for bit, not shared"
        elif shared.kind == "same-storage-disjoint":
            yield "storage", f"{_few(shared, ', ', whole)}: one storage, no byte in common"
        elif _is_alias(shared):
            repair = f"; repair: {code(shared.repair)}" if shared.repair else ""
            yield "alias", f"{_few(shared, ', ', whole)}: {word(shared.kind)}{_amount(shared)}{repair}"


def one_module(found: SharedModules) -> str:
    """Say what is one object, and how many tensors it holds."""
    each = f" each ({found.times:,} in all)" if found.times > 1 else ""
    return f"one {word(found.type)}{each} with {plural(len(found.tensors), 'tensor')}"


def _is_alias(shared: Sharing) -> bool:
    """Tell whether a group has memory in common without being one object."""
    others = ("equal-not-shared", "same-storage-disjoint", "not-shared")
    return shared.kind not in ONE_OBJECT and shared.kind not in others and not is_constant(shared)


def _few(shared: Sharing, between: str, whole: bool) -> str:
    """Return the names; unless the whole is wanted, of very many the first and their number."""
    names = list(map(code, shared.names))
    if whole or len(names) <= 4:
        return between.join(names)
    return f"{between.join(names[:3])}{between}… ({len(names):,} names)"


def _wrong(shared: Sharing) -> str:
    if shared.verdict == "missing":
        return f"declared, but nothing is called {' or '.join(map(code, shared.missing))}"
    repair = f"; repair: {code(shared.repair)}" if shared.repair else ""
    return f"declared, but {word(shared.kind)}{repair}"


def _amount(shared: Sharing) -> str:
    if shared.kind == "self-overlap" and shared.numel is not None and shared.bytes is not None:
        return f", {plural(shared.numel, 'element')} in {size(shared.bytes)}"
    return f", {size(shared.bytes)} in common, not one Parameter" if shared.bytes else ", not one Parameter"
