"""Markdown that pastes into a pull request: a heading, one table, the totals, what is shared."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.render.escape import clean
from paraminspect.render.figures import figure, plural, size, whole
from paraminspect.render.ledger import uses_line
from paraminspect.render.view import View
from paraminspect.report import Parameter, Report, Values

_HEAD = ("parameter", "kind", "shape", "dtype", "count", "init", "mean", "std", "expected std", "grad rms", "gradient")
_ALIGN = ("---", "---", "---", "---", "--:", "---", "--:", "--:", "--:", "--:", "---")


def render(report: Report, view: View) -> Iterator[str]:
    """Yield GitHub-flavoured markdown."""
    changed = any(row.before for row in report.parameters)
    head, align = (_HEAD, _ALIGN) if not changed else _with_before()
    yield f"### {_escape(report.source.name)}: {plural(report.totals.parameters, 'parameter')}\n\n"
    yield f"| {' | '.join(head)} |\n| {' | '.join(align)} |\n"
    for row in report.parameters:
        yield f"| {' | '.join(_cells(row, view, changed))} |\n"
    yield "\n"
    for line in _lines(report, view):
        yield f"- {line}\n"


def _with_before() -> tuple[tuple[str, ...], tuple[str, ...]]:
    at = _HEAD.index("mean")
    return (*_HEAD[:at], "mean before", "std before", *_HEAD[at:]), (*_ALIGN[:at], "--:", "--:", *_ALIGN[at:])


def _cells(row: Parameter, view: View, changed: bool) -> list[str]:
    gradient, init, glyphs = row.gradient, row.init, view.glyphs
    before = _moments(row.before, view) if changed else []
    return [
        " = ".join(f"`{_code(name)}`" for name in (row.name, *row.aliases)),
        row.kind,
        "?" if row.numel is None else str(row.shape),
        row.dtype,
        whole(row.numel, glyphs),
        _escape(init.scheme) if init else "",
        *before,
        *_moments(row.values, view),
        figure(init.expected_std, glyphs) if init else "",
        figure(gradient.rms, glyphs) if gradient else "",
        gradient.status if gradient else "",
    ]


def _moments(values: Values | None, view: View) -> list[str]:
    return [figure(getattr(values, key) if values else None, view.glyphs) for key in ("mean", "std")]


def _lines(report: Report, view: View) -> Iterator[str]:
    totals, environment = report.totals, report.environment
    yield (
        f"{plural(totals.parameters, 'parameter')} ({totals.trainable:,} trainable, {totals.frozen:,} frozen), "
        f"{size(totals.bytes)}; buffers: {plural(totals.buffers, 'element')}, {size(totals.buffer_bytes)}"
    )
    for shared in report.sharing:
        names = " = ".join(f"`{_code(name)}`" for name in shared.names)
        yield f"shared: {names} ({shared.kind}){uses_line(report, shared.names[0], view)}"
    forward = report.forward
    if forward and not forward.error:
        yield f"loss {forward.loss_name} = {figure(forward.loss, view.glyphs, 6)}"
    for failure in report.errors:
        yield f"**{_escape(failure.where)}**: {_escape(failure.message)}"
    yield f"seed {environment.seed}, torch {environment.torch}, paraminspect {environment.paraminspect}"


def _escape(text: str) -> str:
    """Keep a text from being read as markup."""
    return "".join("\\" + c if c in "\\`*_{}[]<>|#~" else c for c in clean(text))


def _code(text: str) -> str:
    """Keep a text inside its code span and its table cell."""
    return clean(text).replace("`", "'").replace("|", "\\|")
