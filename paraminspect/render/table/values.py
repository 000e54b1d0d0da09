"""`--values`: the numbers of small tensors as PyTorch prints them, data and gradient."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render import cells
from paraminspect.render.table.folding import fold
from paraminspect.render.table.style import HEAD, paint
from paraminspect.report import Gradient, Parameter, Report, TensorInfo
from paraminspect.text.numbers import whole
from paraminspect.text.view import View

_INDENT = 4


def values_blocks(report: Report, view: View) -> Iterator[str]:
    """Yield input and output, then one block a tensor."""
    if report.forward:
        yield from _tensors("X", "input", report.forward.input, view)
        yield from _tensors("Y", "output", report.forward.output, view)
    ran = report.forward is not None and report.forward.backward
    for row in report.parameters:
        yield "\n"
        yield from _titled(" = ".join(map(view.text, (row.name, *row.aliases))), _what(row, view), view)
        yield from _labelled("data", row.text or _left_out(row, view), view)
        if row.gradient:
            yield from _gradient(row, row.gradient, ran, view)


def _tensors(label: str, role: str, infos: tuple[TensorInfo, ...], view: View) -> Iterator[str]:
    for info in infos:
        yield "\n"
        name = view.text(info.name) if info.name else label
        yield from _titled(name, f"{role}, shape {info.shape}, {view.text(info.dtype)}", view)
        yield from _labelled("data", info.text or "not printed: too many elements, or no data", view)


def _titled(name: str, text: str, view: View) -> Iterator[str]:
    first, *rest = fold(f"{name}  {text}", view, 2)
    yield paint(first[: len(name)], HEAD, view.colour) + first[len(name) :] + "\n"
    for line in rest:
        yield line + "\n"


def _what(row: Parameter, view: View) -> str:
    owner, shape = view.text(row.module_type), cells.shape(row, view)
    if row.kind == "parameter":
        return f"Parameter of {owner}, shape {shape}, requires_grad={row.requires_grad}"
    forgotten = row.kind == "unregistered" and row.requires_grad
    what = "no module of the model registers it" if forgotten else "a Tensor, not a Parameter"
    return f"{view.text(row.kind)} of {owner}, shape {shape}: {what}"


def _left_out(row: Parameter, view: View) -> str:
    if row.values is None:
        return "unknown: no data"
    return f"not printed: {whole(row.numel, view.glyphs)} elements"


def _gradient(row: Parameter, gradient: Gradient, ran: bool, view: View) -> Iterator[str]:
    if ran:
        yield from _labelled("grad before backward", "None", view)
        yield from _labelled("grad after backward", gradient.text or _no_gradient(row, gradient, view), view)
    else:
        yield from _labelled("grad", _no_gradient(row, gradient, view), view)


def _no_gradient(row: Parameter, gradient: Gradient, view: View) -> str:
    if gradient.rms is not None:
        return f"not printed: {whole(row.numel, view.glyphs)} elements"
    if gradient.status == "unknown":
        return "unknown: no data"
    return "None" if gradient.status == "not-run" else f"None ({gradient.status})"


def _labelled(label: str, text: str, view: View) -> Iterator[str]:
    """Yield one line, or the label and the lines of a tensor below it, as far left as they need to be."""
    lines = view.lines(text)
    one = f"  {label + ':':<22}{lines[0]}"
    if len(lines) == 1 and len(fold(one, view)) == 1:
        yield one + "\n"
        return
    yield f"  {label}:\n"
    fits = all(len(fold(" " * _INDENT + line, view)) == 1 for line in lines)
    for line in lines:
        for part in fold(" " * _INDENT + line, view, 2 * _INDENT) if fits else fold(line, view, _INDENT):
            yield part + "\n"
