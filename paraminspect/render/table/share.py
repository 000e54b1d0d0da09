"""`share`: which names are one object, what that means, and how the gradients of the uses add up."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.figures import plural, size, whole
from paraminspect.render.sharing import MEANING, nothing_shared
from paraminspect.render.table.folding import entry, fold
from paraminspect.render.table.header import title
from paraminspect.render.table.style import SHARED, paint
from paraminspect.render.uses import UsesByParameter, sum_of_uses
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Sharing


def share(report: Report, view: View) -> Iterator[str]:
    """Yield one block a group of names that share, or a line that says none do."""
    yield from title(report, view)
    if not report.sharing:
        yield "\n" + "\n".join(fold(nothing_shared(report), view, 2)) + "\n"
        return
    uses = UsesByParameter(report)
    for shared in report.sharing:
        yield "\n"
        for line in fold(" = ".join(map(view.text, shared.names)), view, 2):
            yield paint(line, SHARED, view.colour) + "\n"
        for head, text in _facts(uses, shared, view):
            yield from entry(f"  {head}", text, view, 11)


def _facts(uses: UsesByParameter, shared: Sharing, view: View) -> Iterator[tuple[str, str]]:
    kind = view.text(shared.kind)
    yield "kind", f"{kind}: {MEANING[shared.kind]}" if shared.kind in MEANING else kind
    row = uses.row(shared.names[0])
    if row is not None:
        yield "tensor", _tensor(row, shared, view)
        yield "module", _module(row, shared, view)
    yield "declared", "yes" if shared.declared else "no: nothing says that these names are meant to be one"
    if row is not None:
        yield from _uses(uses, row, view)


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
