"""`--values`: the numbers of small tensors as PyTorch prints them, data and gradient."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean, clean_lines
from paraminspect.render.figures import whole
from paraminspect.render.table.columns import names_of
from paraminspect.render.table.style import paint
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, TensorInfo


def values_blocks(report: Report, view: View) -> Iterator[str]:
    """Yield input and output, then one block a tensor."""
    if report.forward:
        yield from _tensors("X", "input", report.forward.input, view)
        yield from _tensors("Y", "output", report.forward.output, view)
    for row in report.parameters:
        yield "\n" + paint(names_of(row), "bold", view.colour) + f"  {_what(row)}\n"
        yield from _labelled("data", row.text or _left_out(row, view))
        if row.gradient:
            yield from _gradient(row, report)


def _tensors(label: str, role: str, infos: tuple[TensorInfo, ...], view: View) -> Iterator[str]:
    for info in infos:
        name = clean(info.name) if info.name else label
        yield "\n" + paint(name, "bold", view.colour) + f"  {role}, shape {info.shape}, {info.dtype}\n"
        yield from _labelled("data", info.text or "not printed: too many elements, or no data")


def _what(row: Parameter) -> str:
    if row.kind == "parameter":
        return f"Parameter of {clean(row.module_type)}, shape {row.shape}, requires_grad={row.requires_grad}"
    return f"{row.kind} of {clean(row.module_type)}, shape {row.shape}: a Tensor, not a Parameter"


def _left_out(row: Parameter, view: View) -> str:
    if row.values is None:
        return "unknown: no data"
    return f"not printed: {whole(row.numel, view.glyphs)} elements"


def _gradient(row: Parameter, report: Report) -> Iterator[str]:
    gradient = row.gradient
    if gradient is None:
        return
    if report.forward is not None and report.forward.backward:
        yield from _labelled("grad before backward", "None")
        yield from _labelled("grad after backward", gradient.text or f"None ({gradient.status})")
    else:
        yield from _labelled("grad", f"None ({gradient.status})" if gradient.status == "frozen" else "None")


def _labelled(label: str, text: str) -> Iterator[str]:
    lines = clean_lines(text)
    if len(lines) == 1:
        yield f"  {label + ':':<22}{lines[0]}\n"
        return
    yield f"  {label}:\n"
    for line in lines:
        yield f"    {line}\n"
