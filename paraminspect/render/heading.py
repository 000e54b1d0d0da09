"""What was inspected and what was run, in words."""

from __future__ import annotations

from paraminspect.render.counted import counted
from paraminspect.report import Forward, Report, TensorInfo
from paraminspect.text.numbers import figure, plural
from paraminspect.text.view import View


def totals(report: Report, view: View) -> str:
    """Say what kind of model it is, and how many parameters it has."""
    tensors = plural(sum(row.kind == "parameter" for row in report.parameters), "tensor")
    known = counted(report)
    if report.totals.shown != report.totals.parameters:
        shown = f"{report.totals.shown:,} of {known.parameters} shown, in {tensors}"
    else:
        shown = ", ".join(filter(None, (f"{known.parameters} in {tensors}", known.bytes)))
    kind = view.text(report.model.type) if report.model else ""
    return ", ".join(filter(None, (kind, shown, known.frozen, known.as_named, known.unknown)))


def experiment(report: Report, view: View) -> list[str]:
    """Say in a few parts what was run: seed, input, loss, device, version."""
    environment = report.environment
    parts = [f"seed {environment.seed}" if environment.seed is not None else ""]
    if report.forward:
        parts += _forward(report.forward, view)
    elif report.command != "init":
        parts.append("no forward")
    parts.append(view.text(environment.device))
    parts.append(f"torch {view.text(environment.torch)}" if environment.torch else "")
    return list(filter(None, parts))


def _forward(forward: Forward, view: View) -> list[str]:
    parts = [f"input {', '.join(_drawn(info, view) for info in forward.input)}{_chosen(forward, view)}"]
    error = forward.error
    if forward.loss_name is not None and (error is None or forward.loss is not None):
        parts.append(f"loss {view.text(forward.loss_name)} = {figure(forward.loss, view.glyphs, 6)}")
    if error is not None:
        where = f" in '{view.text(error.module)}'" if error.phase == "forward" and error.module else ""
        parts.append(f"the {view.text(error.phase)} failed{where}")
    return parts


def _drawn(info: TensorInfo, view: View) -> str:
    """Return an input's name, shape, dtype and how it was drawn, as far as it has them."""
    return view.text(" ".join(filter(None, (info.name, str(info.shape), info.dtype, info.sample))))


def _chosen(forward: Forward, view: View) -> str:
    """Say who chose the input, unless it was the user or the spec."""
    origin = forward.origin
    if origin in (None, "", "--input", "given"):
        return ""
    return f", {origin}" if origin == "inferred" else f", from {view.text(origin)}"
