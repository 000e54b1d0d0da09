"""What the cells of a row say, in every format that people read."""

from __future__ import annotations

from paraminspect.render.several import Several, members_of
from paraminspect.report import Forward, Init, Parameter, Report, Values
from paraminspect.text.numbers import figure, plural, total
from paraminspect.text.view import View


def name(row: Parameter, view: View) -> str:
    """Return a row's name, and how many rows were folded into it."""
    times = row.times if isinstance(row, Several) else 1
    return f"{view.text(row.name)} {view.glyphs.times}{times:,}" if times > 1 else view.text(row.name)


def shape(row: Parameter, view: View) -> str:
    """Return a shape as PyTorch writes it, ``(3, 4)``; the sign of unknown for a tensor that has none yet.

    A row that sums up a module says of how many tensors.
    """
    if isinstance(row, Several) and row.tensors:
        return plural(row.tensors, "tensor")
    return view.glyphs.unknown if row.numel is None else str(row.shape)


def count(row: Parameter, view: View) -> str:
    """Return the exact number of elements, of several tensors at least the known ones."""
    return total([member.numel for member in members_of(row)], view.glyphs)


def nbytes(row: Parameter, view: View) -> str:
    """Return the exact number of bytes, of several tensors at least the known ones."""
    return total([member.bytes for member in members_of(row)], view.glyphs)


def whole_of(report: Report) -> int | None:
    """Return how many elements all the model's parameters have; None where not all are known."""
    known = all(row.numel is not None for row in report.parameters if row.kind == "parameter")
    return report.totals.parameters if known else None


def percent(part: int | None, whole: int | None) -> str:
    """Return a share with one decimal; ``<0.1`` is not nothing, and without a total there is no share."""
    if part is None or not whole:
        return ""
    return "<0.1" if 0 < part * 1000 < whole else f"{part * 100 / whole:.1f}"


def moment(values: Values | None, key: str, view: View) -> str:
    """Return one figure of a tensor's values."""
    return figure(None if values is None else getattr(values, key), view.glyphs)


def expected(init: Init | None, key: str, view: View) -> str:
    """Return a moment that the row's scheme should give; nothing where no scheme says."""
    value = None if init is None else getattr(init, key)
    return "" if value is None else figure(value, view.glyphs)


def scheme(init: Init | None, view: View) -> str:
    """Return the name of the scheme that set the parameter."""
    return "" if init is None else view.text(init.scheme)


def gradient(row: Parameter, forward: Forward | None, view: View) -> str:
    """Return the rms of a gradient that is fine, else in a word why there is none, or what is wrong with it."""
    found = row.gradient
    if found is None:
        return ""
    if found.status == "ok":
        return figure(found.rms, view.glyphs)
    if found.status == "not-run":
        return "None" if forward else ""
    return view.glyphs.unknown if found.status == "unknown" else status(row, view)


def status(row: Parameter, view: View) -> str:
    """Return the status of a gradient; of several tensors the worst, and how many have it if not all do."""
    if row.gradient is None:
        return ""
    word, members = row.gradient.status, members_of(row)
    having = sum(member.gradient is not None and member.gradient.status == word for member in members)
    return view.text(word) if having == len(members) else f"{having:,} of {len(members):,} {view.text(word)}"
