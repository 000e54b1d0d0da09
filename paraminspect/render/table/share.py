"""`share`: which names are one object, what that means, and how the gradients of the uses add up."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean
from paraminspect.render.figures import plural, size, whole
from paraminspect.render.table.header import title
from paraminspect.render.ledger import sum_of_uses, uses_of
from paraminspect.render.table.style import paint
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Sharing

MEANING = {
    "same-parameter": "a true tie: one value, one gradient (the sum over its uses), one optimizer slot",
    "same-buffer": "one buffer under several names: an update through one is seen through all",
}


def share(report: Report, view: View) -> Iterator[str]:
    """Yield one block a group of names that share, or a line that says none do."""
    yield from title(report, view)
    if not report.sharing:
        count = sum(row.kind == "parameter" for row in report.parameters)
        yield f"\nnothing is shared: {plural(count, 'parameter tensor')}, each an object and a storage of its own\n"
    for shared in report.sharing:
        yield "\n" + paint(shared.kind, "cyan", view.colour) + f"  {' = '.join(map(clean, shared.names))}\n"
        for head, text in _facts(report, shared, view):
            yield f"  {head:<10} {text}\n"


def _facts(report: Report, shared: Sharing, view: View) -> Iterator[tuple[str, str]]:
    row = next((row for row in report.parameters if row.name == shared.names[0]), None)
    if row is None:
        return
    yield "module", _module(row, shared)
    yield "weight", _weight(row, shared, view)
    yield "declared", "yes" if shared.declared else "no: nothing says that these names are meant to be one"
    yield from _uses(report, row, view)
    yield "means", MEANING[shared.kind]


def _module(row: Parameter, shared: Sharing) -> str:
    owners = [clean(name) or "(the model itself)" for name in shared.modules]
    if shared.same_module:
        return f"one {clean(row.module_type)} object: {' is '.join(owners)}"
    return f"{plural(len(owners), 'module')} of their own ({', '.join(owners)}); only the tensor is shared"


def _weight(row: Parameter, shared: Sharing, view: View) -> str:
    counted = f"shape {row.shape}, {plural(shared.numel, 'element')}, {size(shared.bytes)}, counted once"
    return f"one {'Parameter' if row.kind == 'parameter' else 'Tensor'} object, identity {row.identity}, storage {whole(row.storage, view.glyphs)}: {counted}"


def _uses(report: Report, row: Parameter, view: View) -> Iterator[tuple[str, str]]:
    uses = uses_of(report, row.name)
    if not uses:
        return
    where = ", ".join(f"{use.op} in {clean(use.module) or 'the model'}" for use in uses[:8])
    more = f" and {len(uses) - 8:,} more" if len(uses) > 8 else ""
    yield "uses", f"{len(uses):,}: {where}{more}"
    if row.gradient and row.gradient.rms is not None:
        yield (
            "gradient",
            sum_of_uses(uses, row.gradient.rms, row.gradient.mean, row.numel, view).removeprefix("gradient "),
        )
