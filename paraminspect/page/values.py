"""`--values`: the numbers of small tensors as PyTorch prints them, data and gradient."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.columns import shape_of
from paraminspect.page.parts import Listing
from paraminspect.report import Gradient, Parameter, Report, TensorInfo
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import whole


def listings(report: Report, view: View) -> Iterator[Listing]:
    """Yield input and output, then every tensor, if the numbers are wanted."""
    if not view.values:
        return
    if report.forward:
        yield from (_tensor("X", "input", info) for info in report.forward.input)
        yield from (_tensor("Y", "output", info) for info in report.forward.output)
    ran = report.forward is not None and report.forward.backward
    for row in report.parameters:
        texts = [("data", row.text or _left_out(row))]
        if row.gradient and ran:
            texts.append(("grad before backward", "None"))
            texts.append(("grad after backward", row.gradient.text or _no_gradient(row, row.gradient)))
        elif row.gradient:
            texts.append(("grad", _no_gradient(row, row.gradient)))
        yield Listing(" = ".join(map(code, (row.name, *row.aliases))), _what(row), texts)


def _tensor(label: str, role: str, info: TensorInfo) -> Listing:
    about = f"{role}, shape {info.shape}, {word(info.dtype)}"
    text = info.text or "not printed: too many elements, or no data"
    return Listing(code(info.name) if info.name else label, about, [("data", text)])


def _what(row: Parameter) -> str:
    owner, shape = word(row.module_type), shape_of(row)
    if row.kind == "parameter":
        return f"Parameter of {owner}, shape {shape}, requires_grad={row.requires_grad}"
    forgotten = row.kind == "unregistered" and row.requires_grad
    what = "no module of the model registers it" if forgotten else "a Tensor, not a Parameter"
    return f"{word(row.kind)} of {owner}, shape {shape}: {what}"


def _left_out(row: Parameter) -> str:
    if row.values is None:
        return "unknown: no data"
    return f"not printed: {whole(row.numel)} elements"


def _no_gradient(row: Parameter, gradient: Gradient) -> str:
    if gradient.rms is not None:
        return f"not printed: {whole(row.numel)} elements"
    if gradient.status == "unknown":
        return "unknown: no data"
    return "None" if gradient.status == "not-run" else f"None ({gradient.status})"
