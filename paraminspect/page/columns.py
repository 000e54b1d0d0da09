"""The columns of a table of parameters, and what their cells say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from operator import attrgetter

from paraminspect.page.part_lines import PartOf, counted
from paraminspect.page.parts import BROKEN, QUIET, SHARED, SUSPICIOUS, Column
from paraminspect.page.pictures import sparkline
from paraminspect.page.several import Several, members_of
from paraminspect.report import Forward, Init, Parameter, Report, Values
from paraminspect.rules.wording import in_a_word
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import UNKNOWN, figure, plural, total, whole

Row = Parameter
_SURE = 0.95
Pick = Callable[[Row], Values | None]
_TROUBLE = {
    "zero": SUSPICIOUS,
    "zero (rounding)": QUIET,
    "behind a zero weight": QUIET,
    "unused": SUSPICIOUS,
    "disconnected": SUSPICIOUS,
    "nonfinite": BROKEN,
    "frozen": QUIET,
}


def before(row: Row) -> Values | None:
    """Pick the values from before an initialisation or an edit."""
    return row.before


def now(row: Row) -> Values | None:
    """Pick the values of the tensor as it is."""
    return row.values


# --- which tensor, and how large ---------------------------------------------------------------------------------


def name(head: str, elided: Collection[str] = ()) -> Column[Row]:
    """Show a tensor's name and how many rows were folded into it, and on lines of their own its other names.

    Of the rows whose names are `elided` there is only a sign that they have others.
    """

    def without(row: Row) -> bool:
        return bool(elided) and all(member.name in elided for member in members_of(row))

    def cell(row: Row) -> str:
        return f"{name_of(row)} = …" if row.aliases and without(row) else name_of(row)

    def others(row: Row) -> Sequence[str]:
        return [] if without(row) else [f"  = {code(alias)}" for alias in row.aliases]

    return Column(head, cell, foot="total", tone=lambda row: SHARED if row.aliases else "", below=others)


def name_of(row: Row) -> str:
    """Return a row's name, and how many rows were folded into it; a part has its own, below that of the whole."""
    if not isinstance(row, Several):
        return code(row.name)
    if isinstance(row, PartOf):
        return f"  {code(row.label)}"
    return f"{code(row.name)} ×{row.times:,}" if row.times > 1 else code(row.name)


def shape(rank: int) -> Column[Row]:
    """Show the shape, as `shape_of` writes it."""
    return Column("shape", shape_of, rank=rank)


def shape_of(row: Row) -> str:
    """Return a shape as PyTorch writes it, ``(3, 4)``; the sign of unknown for a tensor that has none yet.

    A row that sums up a module says of how many tensors, one whose tensors grow from what to what: ``(64..224,)``.
    """
    if not isinstance(row, Several):
        return UNKNOWN if row.numel is None else _as_text(row.shape)
    if row.tensors:
        return plural(row.tensors, "tensor")
    shapes = {member.shape for member in members_of(row)}
    if len(shapes) > 1 and len(set(map(len, shapes))) == 1:
        sizes = [(min(sizes), max(sizes)) for sizes in zip(*shapes, strict=True)]
        spelled = [f"{low}" if low == high else f"{low}..{high}" for low, high in sizes]
        return f"({', '.join(spelled)}{',' * (len(spelled) == 1)})"
    return UNKNOWN if row.numel is None else _as_text(row.shape)


_as_text = lru_cache(1000)(str)  # models have few shapes


def count(rows: Sequence[Row], rank: int) -> Column[Row]:
    """Show each row's exact number of elements, of several tensors at least the known ones, and the sum of all."""
    return _added_up("count", attrgetter("numel"), rows, rank)


def nbytes(rows: Sequence[Row], rank: int) -> Column[Row]:
    """Show the exact bytes of each row, of several tensors at least the known ones, and the sum of all."""
    return _added_up("bytes", attrgetter("bytes"), rows, rank)


def _added_up(head: str, number: Callable[[Row], int | None], rows: Sequence[Row], rank: int) -> Column[Row]:
    """Show the sum of a number of the tensors in each row; nothing for a part, which is counted in the whole."""

    def cell(row: Row) -> str:
        if not isinstance(row, Several):
            return whole(number(row))
        members = counted(row)
        return total(list(map(number, members))) if members else ""

    foot = total([number(member) for row in rows for member in counted(row)])
    return Column(head, cell, "right", rank, foot=foot)


def percent(report: Report, rows: Sequence[Row], rank: int) -> Column[Row]:
    """Show each row's share of the whole model's elements; nothing where the model's are not all known."""
    known = all(row.numel is not None for row in report.parameters if row.kind == "parameter")
    whole = report.totals.parameters if known else None
    foot = percent_of(sum(row.numel or 0 for row in rows if not isinstance(row, PartOf)), whole)
    return Column(
        "%", lambda row: "" if isinstance(row, PartOf) else percent_of(row.numel, whole), "right", rank, foot=foot
    )


def percent_of(part: int | None, whole: int | None) -> str:
    """Return a share with one decimal; ``<0.1`` is not nothing, and without a total there is no share."""
    if part is None or not whole:
        return ""
    return "<0.1" if 0 < part * 1000 < whole else f"{part * 100 / whole:.1f}"


def dtype(rank: int) -> Column[Row]:
    """Show the type of the elements."""
    return Column("dtype", lambda row: "" if isinstance(row, PartOf) else word(row.dtype), rank=rank)


# --- its values --------------------------------------------------------------------------------------------------


def scheme(head: str, rank: int) -> Column[Row]:
    """Show which scheme set the parameter."""
    return Column(head, lambda row: _scheme(row.init) if row.init else "", rank=rank)


def _scheme(init: Init) -> str:
    """Return the scheme; where the values told it, the distribution in short, with a question mark where in doubt."""
    if init.distribution is None:
        return word(init.scheme)
    likeliest, *others = re.sub(r"\(\w+'s default\)", "(default)", init.distribution).split(" or ")
    doubt = others or (init.confidence is not None and init.confidence < _SURE)
    return code(f"{likeliest} ?" if doubt else likeliest)


def fan(end: str, rank: int) -> Column[Row]:
    """Show a fan that the scheme's formula used, ``in`` or ``out``."""

    def cell(row: Row) -> str:
        fan = getattr(row.init, f"fan_{end}", None)
        return "" if fan is None else f"{fan:,}"

    return Column(end, cell, "right", rank, "fan")


def measured(
    key: str, pick: Pick, rank: int, group: str = "", off: Collection[tuple[str | None, str | None]] = ()
) -> Column[Row]:
    """Show one figure of a row's values; `off` are the rows, by name, and the figures in them that are wrong."""

    def tone(row: Row) -> str:
        return BROKEN if off and any((member.name, key) in off for member in members_of(row)) else ""

    of_values: Callable[[Values], float | None] = attrgetter(key)

    def cell(row: Row) -> str:
        values = pick(row)
        return UNKNOWN if values is None else figure(of_values(values))

    return Column(key, cell, "decimal", rank, group, tone=tone)


def expected(key: str, rank: int) -> Column[Row]:
    """Show a moment or bound that the row's scheme should give; nothing where no scheme says."""

    name = f"expected_{key}"

    def cell(row: Row) -> str:
        value = getattr(row.init, name) if row.init else None
        return "" if value is None else figure(value)

    return Column(key, cell, "decimal", rank, "expected")


def histogram(view: View, rank: int) -> Column[Row]:
    """Draw how the values lie between min and max, where pictures are wanted."""

    def picture(row: Row) -> str:
        if _has_no_histogram(row) and view.decoration and not view.on_paper:
            return UNKNOWN
        return sparkline(row.values.histogram, view) if row.values else ""

    return Column("histogram", picture, rank=rank)


def why_no_histogram(rows: Sequence[Row]) -> list[str]:
    """Say why a row of several tensors has a dash in the place of a histogram; nothing where none has."""
    reason = f"histogram {UNKNOWN}: some of the tensors in the row have none (complex, sparse or not finite)"
    return [reason] if any(map(_has_no_histogram, rows)) else []


def _has_no_histogram(row: Row) -> bool:
    return isinstance(row, Several) and row.values is not None and row.values.histogram is None


# --- its gradient ------------------------------------------------------------------------------------------------


def gradient(forward: Forward | None, rank: int) -> Column[Row]:
    """Show the rms of a gradient that is fine, else in a word why there is none, or what is wrong with it."""

    def cell(row: Row) -> str:
        found = row.gradient
        if found is None:
            return ""
        if found.status == "ok":
            return figure(found.rms)
        if found.status == "not-run":
            return "None" if forward else ""
        return UNKNOWN if found.status == "unknown" else status_of(row)

    return Column("rms", cell, "decimal", rank, "gradient", tone=trouble)


def status_of(row: Row) -> str:
    """Return the status of a gradient; of several tensors the worst, and how many have it if not all do."""
    if row.gradient is None:
        return ""
    status, members = in_a_word(row.gradient), members_of(row)
    having = sum(member.gradient is not None and in_a_word(member.gradient) == status for member in members)
    return word(status) if having == len(members) else f"{having:,} of {len(members):,} {word(status)}"


def trouble(row: Row) -> str:
    """Return the tone of a gradient's status."""
    return _TROUBLE.get(in_a_word(row.gradient), "") if row.gradient else ""
