"""`share`: which names are one object, what that means, and how the gradients of the uses add up."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.remarks import forgotten
from paraminspect.render.sharing import (
    MEANING,
    ONE_OBJECT,
    constants,
    is_constant,
    kind_of,
    nothing_shared,
    shares_nothing,
    verdict_of,
)
from paraminspect.render.table.folding import entry, fold
from paraminspect.render.table.header import title
from paraminspect.render.table.style import SHARED, paint
from paraminspect.render.uses import UsesByParameter, sum_of_uses
from paraminspect.report import Parameter, Report, Sharing
from paraminspect.text.braces import pattern
from paraminspect.text.numbers import plural, size, whole
from paraminspect.text.view import View

_BETWEEN = {"self-overlap": " in ", "equal-not-shared": " each, ", "equal-constant": " each, "}


def share(report: Report, view: View) -> Iterator[str]:
    """Yield a block for each group of names that share, a line where none do, and one that counts equal constants."""
    yield from title(report, view)
    if shares_nothing(report):
        yield "\n" + "\n".join(fold(nothing_shared(report), view, 2)) + "\n"
    uses = UsesByParameter(report)
    for shared in report.sharing:
        if not is_constant(shared):
            yield "\n"
            yield from _block(uses, shared, view)
    if line := constants(report):
        yield "\n"
        yield from entry("equal", line, view)
    for head, text in forgotten(report, view.text):
        yield "\n"
        yield from entry(head, text, view)


def _block(uses: UsesByParameter, shared: Sharing, view: View) -> Iterator[str]:
    between = " = " if shared.kind in ONE_OBJECT else ", "
    found = pattern(shared.names) if shared.kind == "equal-not-shared" else None
    for line in fold(found or between.join(map(view.text, shared.names)), view, 2):
        yield paint(line, SHARED, view.colour) + "\n"
    for head, text in _facts(uses, shared, view):
        if text:
            yield from entry(f"  {head}", text, view, 11)


def _facts(uses: UsesByParameter, shared: Sharing, view: View) -> Iterator[tuple[str, str]]:
    if shared.verdict != "missing":
        yield "kind", kind_of(shared, view)
    row = uses.row(shared.names[0])
    if shared.kind in ONE_OBJECT and row is not None:
        yield "tensor", _tensor(row, shared, view)
        yield "module", _module(row, shared, view)
    elif shared.kind not in ONE_OBJECT:
        yield "memory", _memory(shared, view)
    meaning = MEANING.get(shared.kind)
    if meaning:
        yield "optimizer", meaning.optimizer if uses.has_parameter(shared.names) else ""
        yield from (("saving", meaning.saving), ("moving", meaning.moving))
    yield "declared", verdict_of(shared, view)
    yield "repair", view.text(shared.repair or "")
    if shared.kind in ONE_OBJECT and row is not None:
        yield from _uses(uses, row, view)


def _memory(shared: Sharing, view: View) -> str:
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


def _tensor(row: Parameter, shared: Sharing, view: View) -> str:
    what = "Parameter" if row.kind == "parameter" else "Tensor"
    if shared.numel is None or shared.bytes is None:
        held = "of unknown shape and size"
    else:
        held = f"of shape {row.shape}, {plural(shared.numel, 'element')}, {size(shared.bytes)}, counted once"
    return f"one {what} {held}; identity {row.identity}, storage {whole(row.storage, view.glyphs)}"


def _module(row: Parameter, shared: Sharing, view: View) -> str:
    owners = [view.text(name) or "the model itself" for name in shared.modules]
    if shared.same_module:
        return f"one {view.text(row.module_type)} object: {' is '.join(owners)}"
    return f"{plural(len(owners), 'module')} of their own ({', '.join(owners)}); only the tensor is shared"


def _uses(uses: UsesByParameter, row: Parameter, view: View) -> Iterator[tuple[str, str]]:
    found = uses.of(row.name)
    if not found:
        return
    where = ", ".join(f"{view.text(use.op)} in {view.text(use.module) or 'the model itself'}" for use in found[:8])
    more = f" and {len(found) - 8:,} more" if len(found) > 8 else ""
    yield "uses", f"{len(found):,}: {where}{more}"
    total = sum_of_uses(row, found, view)
    if total:
        yield "gradient", total
