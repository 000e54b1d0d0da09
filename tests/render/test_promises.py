"""What holds of every output: it fits, it adds up, it is the same everywhere, and no text in it steers a terminal."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from paraminspect.render import render
from paraminspect.report import Report
from paraminspect.text.escape import ASCII, Glyphs, View, clean, to_ascii
from tests.cases import each
from tests.render.conftest import SAMPLES
from tests.render.expansion import expand

Sample = tuple[str, Report]
HUMAN = ("table", "plain", "markdown", "csv")
CUT_ON_A_TERMINAL = {"grad_mixed", "grad_folded", "grad_signal_long"}  # they have more uses or layers than a screen
HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
ANSI = re.compile("\x1b\\[[0-9;]*m")
NASTY = (
    "\x1b[31mred",
    "\x1b]8;;http://evil\x1b\\x",
    "\x1b]52;c;aGk=\x07",
    "\x9b2J",
    "\x7f\x00\x08",
    "\u202eleft\u2069",
    "a\nb",
    "\r",
    "\u2028",
    "\ud800",
    "[/x]",
    "layers[bias]",
    "=1+1",
    "@SUM(A1)",
    "`a``b`",
    "a|b",
    "\\|",
    "<img src=x>",
    "![x](http://evil)",
    "**b** __c__ ~~d~~",
    "&lt;",
    "模型",
    "\u00a0",
    "{0}",
    "%s",
    "",
)
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=6), max_size=4).map("".join)
reports = st.sampled_from([make() for make in SAMPLES.values()])


def rendered(form: str, report: Report, view: View) -> str:
    return "".join(render(report, form, view))


def swap(value: Any, text: str, field: str = "") -> Any:
    """Put `text` into every string field but the command."""
    if isinstance(value, str):
        return value if field == "command" else text
    if isinstance(value, tuple):
        return tuple(swap(item, text) for item in value)
    if isinstance(value, dict):
        return {swap(key, text): swap(item, text) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{name: swap(item, text, name) for name, item in vars(value).items()})
    return value


def keep_kinds(report: Report, original: Report) -> Report:
    """Give the rows their kinds and statuses back, so that every table is drawn."""
    rows = tuple(
        dataclasses.replace(
            one,
            kind=was.kind,
            gradient=dataclasses.replace(one.gradient, status=was.gradient.status) if one.gradient else None,
        )
        for one, was in zip(report.parameters, original.parameters, strict=True)
    )
    return dataclasses.replace(report, parameters=rows)


@settings(max_examples=80)
@given(report=reports, text=hostile, kinds=st.booleans(), form=st.sampled_from([*HUMAN, "html"]))
def test_no_text_of_a_report_reaches_a_terminal_unescaped(report: Report, text: str, kinds: bool, form: str) -> None:
    harmless = re.sub("[^\n]", "x", text)
    found, wanted = (swap(report, word) for word in (text, harmless))
    if kinds:
        found, wanted = keep_kinds(found, report), keep_kinds(wanted, report)
    view = View(values=True)
    out = rendered(form, found, view)
    assert not [c for c in out if c != "\n" and unicodedata.category(c) in HIDDEN]
    assert out.count("\n") == rendered(form, wanted, view).count("\n")
    assert rendered("plain", found, view).isascii()


@settings(max_examples=80)
@given(report=reports, width=st.integers(40, 250), colour=st.booleans(), text=st.none() | hostile)
def test_no_line_is_wider_than_the_terminal(report: Report, width: int, colour: bool, text: str | None) -> None:
    shown = report if text is None else keep_kinds(swap(report, text), report)
    out = rendered("table", shown, View(width=width, colour=colour, values=True))
    assert max(cell_len(ANSI.sub("", line)) for line in out.split("\n")) <= width


@each(("width", "glyphs"), [(1, Glyphs()), (2, ASCII), (5, Glyphs()), (12, ASCII)])
def test_a_terminal_of_no_width_is_no_error(sample: Sample, width: int, glyphs: Glyphs) -> None:
    """There too, colour is all that colour adds."""
    view = View(width=width, values=True, glyphs=glyphs)
    plain = rendered("table", sample[1], view)
    assert ANSI.sub("", rendered("table", sample[1], dataclasses.replace(view, colour=True))) == plain


@pytest.mark.parametrize("width", [5, 12])
def test_a_terminal_of_hardly_any_width(
    width: int, golden: Callable[[str, str], None], sample_named: Callable[[str], Report]
) -> None:
    golden(f"mixed.table.{width}.txt", rendered("table", sample_named("mixed"), View(width=width)))


def test_only_colour_tells_a_very_wide_terminal_from_a_pipe(sample: Sample) -> None:
    """And that a terminal leaves out the middle of what is longer than a screen."""
    wide, pipe = (
        rendered("table", sample[1], view).split("\n")
        for view in (View(width=10**9, colour=True, values=True), View(values=True))
    )
    found = [ANSI.sub("", line) for line in wide]
    if sample[0] in CUT_ON_A_TERMINAL:
        assert [line for line in found if line not in pipe] == [line for line in found if "…" in line] != []
    else:
        assert found == pipe


@each("form", ["csv", "json", "markdown", "plain"])
def test_the_other_formats_do_not_know_the_terminal(sample: Sample, form: str) -> None:
    assert rendered(form, sample[1], View(width=40, colour=True)) == rendered(form, sample[1], View())


@each("form", HUMAN)
def test_no_text_is_cut_in_a_pipe(sample: Sample, form: str) -> None:
    """A long text takes the place of a short one, and nothing else changes but the room that columns need."""
    long = "n" * 400
    report = dataclasses.replace(sample[1], edit=None)  # its outputs are printed if they are short
    whole, short = (swap(report, text) for text in (long, "n"))
    found, wanted = (re.sub("[ ─-]+", "", rendered(form, one, View(values=True))) for one in (whole, short))
    assert found.replace(long, "n") == wanted
    assert long in found or (form == "csv" and not sample[1].parameters)


def test_a_very_long_text_is_cut_on_a_terminal() -> None:
    assert View(width=80).text("n" * 400) == "n" * 300 + "… (400 characters)"


@each("form", HUMAN)
def test_the_output_in_a_pipe_has_every_name(sample: Sample, form: str) -> None:
    """In a table repeated blocks are patterns, and buffers that are one line a kind have the last part of their names."""
    report = sample[1]
    rows = {"edit": (), "share": ()}.get(report.command, report.parameters)
    names = {word for row in rows for word in (row.name, *row.aliases)} | {
        name for shared in report.sharing for name in shared.names
    }
    shown = to_ascii if form == "plain" else clean
    out = rendered(form, report, View(buffers=True))
    patterns = re.findall(r"\S*\{\S*\}\S*", out) if form == "table" else []
    expanded = {name for pattern in patterns for name in expand(pattern)}
    assert [name for name in names - expanded if shown(name) not in out] == []
    assert expanded <= names | {use.module for use in report.uses}


def counts(table: str) -> tuple[list[int], int]:
    """Return the numbers under `count` and the one on the line `total`."""
    lines = table.split("\n")
    head = next(line for line in lines if re.search(r"\bcount\b", line))
    end = head.index("count") + len("count")
    cells = {line: line[:end].rpartition("  ")[2].removeprefix("at least ") for line in lines[lines.index(head) + 1 :]}
    numbers = {line: int(cell.replace(",", "")) for line, cell in cells.items() if cell.replace(",", "").isdecimal()}
    (total,) = (number for line, number in numbers.items() if line.startswith("total"))
    return [number for line, number in numbers.items() if not line.startswith("total")], total


@each("width", [None, 60, 80, 120, 200])
@each(
    "name",
    ["show", "mixed", "before_backward", "failed", "lazy_in_part", "folded", "partly_folded", "forgotten"],
)
@each("depth", [None, 1, 2])
def test_the_column_of_counts_adds_up_to_the_total(
    name: str, width: int | None, depth: int | None, sample_named: Callable[[str], Report]
) -> None:
    report = sample_named(name)
    out = rendered("table", report, View(width=width, depth=depth))
    tables = [part for part in out.split("\n\n") if re.search("^total ", part, re.M)]
    assert len(tables) == len({row.kind for row in report.parameters})
    for table in tables:
        numbers, total = counts(table)
        assert sum(numbers) == total
    assert counts(tables[0])[1] == report.totals.parameters


def test_csv_reads_back_exactly(sample: Sample) -> None:
    _, report = sample
    lines = list(csv.DictReader(io.StringIO(rendered("csv", report, View())), strict=True))
    assert len(lines) == len(report.parameters)
    for line, row in zip(lines, report.parameters, strict=True):
        assert line["name"] == row.name
        assert line["shape"] == ("" if row.numel is None else "x".join(map(str, row.shape)))
        for prefix, figures in (("", row.values), ("gradient_", row.gradient), ("before_", row.before)):
            for key in ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf"):
                wanted = None if figures is None else getattr(figures, key)
                cell = line[prefix + key]
                assert (float(cell) if cell else None) == wanted


@pytest.mark.parametrize("start", "=+-@\t\r")
def test_csv_lets_no_name_start_a_formula(start: str, sample_named: Callable[[str], Report]) -> None:
    report = swap(sample_named("show"), f"{start}1+1")
    for line in list(csv.reader(io.StringIO(rendered("csv", report, View()))))[1:]:
        assert line[0] == f"'{clean(start)}1+1"
        assert not [cell for cell in line if cell.startswith(("=", "+", "@", "\t", "\r"))]


def test_csv_has_a_header_and_nothing_else_for_an_empty_report(sample_named: Callable[[str], Report]) -> None:
    figures = ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf")
    columns = [
        *("name", "aliases", "module", "module_type", "kind", "shape", "dtype", "numel", "bytes", "device"),
        *("requires_grad", "identity", "storage", *figures),
        *("gradient_status", *(f"gradient_{figure}" for figure in figures)),
        *(
            "init_scheme",
            "expected_mean",
            "expected_std",
            *(f"before_{figure}" for figure in figures),
            "note",
            "persistent",
            "fan_in",
            "fan_out",
            "expected_low",
            "expected_high",
            "verdict",
            "init_notes",
            "digest",
            "init_distribution",
            "init_confidence",
            "init_p_value",
        ),
    ]
    assert rendered("csv", sample_named("empty"), View()) == ",".join(columns) + "\n"


@settings(max_examples=80)
@given(report=reports, text=st.none() | hostile)
def test_json_is_the_report(report: Report, text: str | None) -> None:
    shown = report if text is None else swap(report, text)
    out = rendered("json", shown, View())
    assert out.isascii() and out == out.strip() + "\n"
    assert json.loads(out) == shown.to_dict()
    assert list(json.loads(out)) == list(shown.to_dict())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_has_null_for_what_is_not_finite(number: float, sample_named: Callable[[str], Report]) -> None:
    report = sample_named("mixed")
    wild = dataclasses.replace(
        report.parameters[0], data=[[number, 1.0]], values=dataclasses.replace(report.parameters[0].values, l2=number)
    )
    report = dataclasses.replace(report, parameters=(wild, *report.parameters[1:]))
    told = json.loads(rendered("json", report, View()))
    assert told == report.to_dict()
    assert told["parameters"][0]["values"]["l2"] is None and told["parameters"][0]["data"] == [[None, 1.0]]


def tables_of(markdown: str) -> list[list[list[Any]]]:
    """Return the rows of each table, each a list of cells, each a list of inline tokens."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    tables: list[list[list[Any]]] = []
    for before, token in pairwise(tokens):
        if before.type == "table_open":
            tables.append([])
        if before.type == "tr_open":
            tables[-1].append([])
        if before.type in ("td_open", "th_open"):
            tables[-1][-1].append(token.children)
    return tables


@settings(max_examples=80)
@given(report=reports, text=hostile)
def test_markdown_shows_every_cell_as_it_is(report: Report, text: str) -> None:
    rows = tuple(dataclasses.replace(row, name=f"a{text}b", aliases=(text or "x",)) for row in report.parameters)
    edit = report.edit and dataclasses.replace(report.edit, parameters=tuple(row.name for row in rows))
    out = rendered("markdown", dataclasses.replace(report, parameters=rows, edit=edit), View())
    counts = []
    for head, *body in tables_of(out):
        for cells in body:
            assert len(cells) == len(head)
            names = [token.content for token in cells[0] if token.type == "code_inline"]
            if rows and names == [clean(rows[0].name), clean(rows[0].aliases[0])]:
                count = next(cell for cell, title in zip(cells, head, strict=True) if title[0].content == "count")
                counts.append(count[0].content)
    assert sorted(counts) == sorted("–" if row.numel is None else f"{row.numel:,}" for row in rows)


@settings(max_examples=80)
@given(report=reports, text=hostile)
def test_markdown_holds_no_markup_from_a_report(report: Report, text: str) -> None:
    out = rendered("markdown", swap(report, text), View())
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(out)
    kinds = {token.type for block in tokens for token in block.children or ()}
    assert kinds <= {"text", "code_inline", "strong_open", "strong_close"}
    assert not [
        token for token in tokens if token.type in ("html_block", "code_block", "fence", "hr", "blockquote_open")
    ]


@each("form", HUMAN)
@each("name", ["lazy", "share_lazy"])
def test_unknown_is_never_0(name: str, form: str, sample_named: Callable[[str], Report]) -> None:
    """Names, versions and seed aside, nothing reads as none, and no shape as that of a single number."""
    original = sample_named(name)
    report = keep_kinds(swap(original, "n"), original)
    report = dataclasses.replace(report, environment=dataclasses.replace(report.environment, seed=None))
    assert re.findall(r"\b0\b|\(\)", rendered(form, report, View(values=True))) == []


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "html"])
def test_no_renderer_imports_torch_nor_rich_before_it_paints(form: str) -> None:
    program = f"import sys, paraminspect.render.{form}; print(*{{'torch', 'rich'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
