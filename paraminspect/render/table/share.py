"""`share`: which names are one object, what that means, and how the gradients of the uses add up."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.figures import plural, size, whole
from paraminspect.render.ledger import Ledger, sum_of_uses
from paraminspect.render.table.folding import entry, fold
from paraminspect.render.table.header import title
from paraminspect.render.table.style import SHARED, paint
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Sharing

_MEANING = {
    "same-parameter": "a true tie: one value, one gradient (the sum over its uses), one optimizer slot",
    "same-buffer": "one buffer under several names: an update through one is seen through all",
}


def share(report: Report, view: View) -> Iterator[str]:
    """Yield one block a group of names that share, or a line that says none do."""
    yield from title(report, view)
    if not report.sharing:
        count = sum(row.kind == "parameter" for row in report.parameters)
        text = f"nothing is shared: {plural(count, 'parameter tensor')}, each an object and a storage of its own"
        yield "\n" + "\n".join(fold(text, view, 2)) + "\n"
        return
    ledger = Ledger(report)
    for shared in report.sharing:
        yield "\n"
        for line in fold(" = ".join(map(view.text, shared.names)), view, 2):
            yield paint(line, SHARED, view.colour) + "\n"
        for head, text in _facts(ledger, shared, view):
            yield from entry(f"  {head}", text, view, 11)


def _facts(ledger: Ledger, shared: Sharing, view: View) -> Iterator[tuple[str, str]]:
    kind = view.text(shared.kind)
    yield "kind", f"{kind}: {_MEANING[shared.kind]}" if shared.kind in _MEANING else kind
    row = ledger.row(shared.names[0])
    if row is not None:
        yield "tensor", _tensor(row, shared, view)
        yield "module", _module(row, shared, view)
    yield "declared", "yes" if shared.declared else "no: nothing says that these names are meant to be one"
    if row is not None:
        yield from _uses(ledger, row, view)


def _tensor(row: Parameter, shared: Sharing, view: View) -> str:
    what = "Parameter" if row.kind == "parameter" else "Tensor"
    return (
        f"one {what} of shape {row.shape}, {plural(shared.numel, 'element')}, {size(shared.bytes)}, counted once; "
        f"identity {row.identity}, storage {whole(row.storage, view.glyphs)}"
    )


def _module(row: Parameter, shared: Sharing, view: View) -> str:
    owners = [view.text(name) or "the model itself" for name in shared.modules]
    if shared.same_module:
        return f"one {view.text(row.module_type)} object: {' is '.join(owners)}"
    return f"{plural(len(owners), 'module')} of their own ({', '.join(owners)}); only the tensor is shared"


def _uses(ledger: Ledger, row: Parameter, view: View) -> Iterator[tuple[str, str]]:
    uses = ledger.uses(row.name)
    if not uses:
        return
    where = ", ".join(f"{view.text(use.op)} in {view.text(use.module) or 'the model itself'}" for use in uses[:8])
    more = f" and {len(uses) - 8:,} more" if len(uses) > 8 else ""
    yield "uses", f"{len(uses):,}: {where}{more}"
    total = sum_of_uses(row, uses, view)
    if total:
        yield "gradient", total
