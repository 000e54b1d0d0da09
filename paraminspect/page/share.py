"""`share`: which names are one object, what that means, and how the gradients of the uses add up."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.gradient_uses import UsesByParameter, sum_of_uses
from paraminspect.page.heading import page_of
from paraminspect.page.module_sharing import SharedModules, shared_modules, told_of_modules, uses_of_each
from paraminspect.page.parameter_tables import tables
from paraminspect.page.parts import Entries, Line, Page, Paragraph, Part
from paraminspect.page.remarks import forgotten, remarks
from paraminspect.page.sharing import (
    MEANING,
    ONE_OBJECT,
    constants,
    is_constant,
    kind_of,
    nothing_shared,
    one_module,
    shares_nothing,
    verdict_of,
)
from paraminspect.report import Parameter, Report, Sharing
from paraminspect.text.braces import pattern
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import plural, size, some_of, whole

_BETWEEN = {
    "self-overlap": " in ",
    "equal-not-shared": " each, ",
    "equal-buffers": " each, ",
    "equal-constant": " each, ",
}


def share(report: Report, view: View) -> Page:
    """Return the facts of each group of names that share, a line where none do, and one that counts equal constants."""
    return page_of(report, view, list(_parts(report, view)))


def _parts(report: Report, view: View) -> Iterator[Part]:
    if view.on_paper and report.parameters:
        yield from tables(report, view)
    if shares_nothing(report):
        yield Paragraph(nothing_shared(report))
    uses = UsesByParameter(report)
    modules = shared_modules(report, view)
    for one in modules:
        facts = [(f"  {term}", text) for term, text in _facts_of_modules(report, one) if text]
        yield Entries(facts, 11, one.title)
    told = told_of_modules(modules)
    for shared in report.sharing:
        if not is_constant(shared) and not (shared.kind in ONE_OBJECT and shared.names[0] in told):
            facts = [(f"  {term}", text) for term, text in _facts(uses, shared) if text]
            yield Entries(facts, 11, _names(shared, view.on_paper))
    if lines := list(constants(report)):
        yield Entries(lines)
    for remark in remarks(report) if view.on_paper else forgotten(report):
        yield Entries([remark])


def _names(shared: Sharing, whole: bool) -> str:
    """Return the names of a group; of copies, unless the whole is wanted, the pattern that expands to them."""
    found = pattern(shared.names) if shared.kind == "equal-not-shared" and not whole else None
    return found or (" = " if shared.kind in ONE_OBJECT else ", ").join(map(code, shared.names))


def _facts_of_modules(report: Report, found: SharedModules) -> Iterator[Line]:
    """Yield what there is to say of modules that are one object under several names."""
    first = found.groups[0]
    yield "module", one_module(found)
    known = [group for group in found.groups if group.numel is not None and group.bytes is not None]
    elements, taken = (sum(getattr(group, key) for group in known) for key in ("numel", "bytes"))
    names = some_of(list(map(code, found.tensors)), 4)
    yield "tensors", f"{names}: {plural(elements, 'element')}, {size(taken)}, counted once"
    kinds = sorted({group.kind for group in found.groups}, reverse=True)  # parameters before buffers
    meaning = MEANING[kinds[0]]
    yield "kind", f"{word(kinds[0])}: {meaning.kind}"
    yield from (("optimizer", meaning.optimizer), ("saving", meaning.saving), ("moving", meaning.moving))
    yield "declared", verdict_of(first)
    if uses := uses_of_each(report, found):
        yield "uses", f"each tensor is {uses}"


def _facts(uses: UsesByParameter, shared: Sharing) -> Iterator[Line]:
    if shared.verdict != "missing":
        yield "kind", kind_of(shared)
    row = uses.row(shared.names[0])
    if shared.kind in ONE_OBJECT and row is not None:
        yield "tensor", _tensor(row, shared)
        yield "module", _module(row, shared)
    elif shared.kind not in ONE_OBJECT:
        yield "memory", _memory(shared)
    meaning = MEANING.get(shared.kind)
    if meaning:
        yield "optimizer", meaning.optimizer if uses.has_parameter(shared.names) else ""
        yield from (("saving", meaning.saving), ("moving", meaning.moving))
    yield "declared", verdict_of(shared)
    yield "repair", code(shared.repair or "")
    if shared.kind in ONE_OBJECT and row is not None:
        yield from _uses(uses, row)


def _memory(shared: Sharing) -> str:
    """Say how much is in common, and how large the storage is that holds it."""
    parts = []
    if shared.bytes and shared.numel:
        between = _BETWEEN.get(shared.kind, " in common, ")
        parts.append(f"{plural(shared.numel, 'element')}{between}{size(shared.bytes)}")
    elif shared.bytes:
        parts.append(f"{size(shared.bytes)} in common")
    if shared.storage_bytes is not None:
        parts.append(f"one storage of {size(shared.storage_bytes)}")
    return "; ".join(parts)


def _tensor(row: Parameter, shared: Sharing) -> str:
    what = "Parameter" if row.kind == "parameter" else "Tensor"
    if shared.numel is None or shared.bytes is None:
        held = "of unknown shape and size"
    else:
        held = f"of shape {row.shape}, {plural(shared.numel, 'element')}, {size(shared.bytes)}, counted once"
    return f"one {what} {held}; identity {row.identity}, storage {whole(row.storage)}"


def _module(row: Parameter, shared: Sharing) -> str:
    owners = [code(name) or "the model itself" for name in shared.modules]
    if shared.same_module:
        return f"one {word(row.module_type)} object: {' is '.join(owners)}"
    return f"{plural(len(owners), 'module')} of their own ({', '.join(owners)}); only the tensor is shared"


def _uses(uses: UsesByParameter, row: Parameter) -> Iterator[Line]:
    found = uses.of(row.name)
    if found:
        where = [f"{word(use.op)} in {code(use.module) or 'the model itself'}" for use in found]
        yield "uses", f"{len(found):,}: {some_of(where, 8)}"
        yield "gradient", sum_of_uses(row, found)
