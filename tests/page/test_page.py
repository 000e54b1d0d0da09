"""A page says the same to every format: which parts it has, what is marked, what stands on paper only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from paraminspect.page import page
from paraminspect.page.parts import Entries, Table
from paraminspect.report import Failure, Report
from paraminspect.text.escape import View, code, word
from tests.cases import each

PARTS = {
    "show": ["Headline", "Code", "Table", "Entries"],
    "mixed": ["Headline", "Table", "Table", "Table", "Entries"],
    "empty": ["Headline", "Code", "Paragraph", "Entries"],
    "init": ["Headline", "Table", "Entries"],
    "grad_shared": ["Headline", "Table", "Table", "Entries"],
    "grad_signal": ["Headline", "Table", "Entries", "Table", "Entries"],
    "share": ["Headline", "Entries"],
    "share_nothing": ["Headline", "Paragraph"],
    "edit": ["Table", "Entries"],
}


@each("name", PARTS)
def test_the_parts_of_a_page(name: str, sample_named: Callable[[str], Report]) -> None:
    report = sample_named(name)
    found = page(report, View())
    assert [type(part).__name__ for part in found.parts] == PARTS[name]
    assert (found.name, page(report, View(width=80, colour=True)).title) == (code(report.source.name), found.title)


def test_what_comes_from_an_input_is_marked_and_raw(sample_named: Callable[[str], Report]) -> None:
    report = sample_named("show")
    row = replace(report.parameters[0], name="a\x1b[31m", dtype="<b>", aliases=("c\n",))
    found = page(replace(report, parameters=(row,)), View())
    (table,) = (part for part in found.parts if isinstance(part, Table))
    by_head = {column.head: column for column in table.columns}
    names = by_head["parameter"]
    assert (names.cell(row), by_head["dtype"].cell(row)) == (code("a\x1b[31m"), word("<b>"))
    assert names.below is not None and names.below(row) == [f"  = {code(chr(99) + chr(10))}"]


def test_paper_has_the_errors_and_notes_and_the_version(sample_named: Callable[[str], Report]) -> None:
    report = replace(sample_named("show"), errors=(Failure("x", "it failed", "net.0"),), notes=("a note",))
    *_, last = page(report, View(on_paper=True)).parts
    assert last == Entries([("error", f"{code('net.0')}: {code('it failed')}"), ("note", code("a note"))])
    terminal, paper = (page(report, View(on_paper=on_paper)).setting for on_paper in (False, True))
    assert paper == [*terminal, f"paraminspect {word('0.1.0')}"]
