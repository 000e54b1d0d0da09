"""The page of a notebook: well-formed, complete or cut with a word, harmless, and legible on any background."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from paraminspect.render import render
from paraminspect.render.html import MOST_ROWS
from paraminspect.report import Failure, Report
from paraminspect.text.escape import View
from tests.cases import each

TAGS = {
    "div",
    "style",
    "p",
    "b",
    "table",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "th",
    "td",
    "code",
    "span",
    "dl",
    "dt",
    "dd",
}
EMPTY = {"br"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</table></div>",
    "<img src=x onerror=alert(1)>",
    "a\"b'c",
    "&lt;b&gt; &amp;",
    "</style><style>",
    "<!-- ",
    "]]>",
    "{{x}} ${y} `z`",
]


class Page(HTMLParser):
    """Hold the tags and attributes that were seen, the cells of every row, and the pairs of the list below."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.rows: list[list[str]] = []
        self.terms: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)
        if tag in EMPTY:
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("dt", "dd"):
            self.terms.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
        elif {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        elif {"dt", "dd"} & set(self.open):
            self.terms[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def page(report: Report) -> Page:
    return Page("".join(render(report, "html", View())))


def test_it_is_well_formed(sample: tuple[str, Report]) -> None:
    found = page(sample[1])
    assert found.tags <= TAGS | EMPTY
    assert {name for name, _ in found.attributes} == {"class"}


@each("text", HOSTILE)
def test_no_text_of_a_report_is_markup(text: str, sample_named: Callable[[str], Report]) -> None:
    report = sample_named("mixed")
    first, *rest = report.parameters
    rows = (replace(first, name=text, aliases=(text,), dtype=text), *rest)
    hostile = replace(
        report,
        source=replace(report.source, name=text),
        parameters=rows,
        errors=(Failure(text, text, text),),
        notes=(text,),
    )
    found = page(hostile)
    assert found.tags <= TAGS | EMPTY
    assert {name for name, _ in found.attributes} == {"class"}
    assert found.rows[1][0] == f"{text}= {text}"
    assert found.rows[1][3] == text
    assert found.terms[-4:] == ["error", f"{text}: {text}", "note", text]


def test_rows_and_totals(sample_named: Callable[[str], Report]) -> None:
    assert page(sample_named("partly_folded")).rows == [
        cells.split("|")
        for cells in (
            "parameter|shape|count|%|dtype|bytes|init|mean|std|expected std|min|max|gradient rms",
            "embed.weight|(5, 4)|20|11.0|float32|80|default|0|1|0.2887|-3|3|0.1000",
            "layers.0.up.weight|(3, 8)|24|13.2|float32|96|default|0|0.2000|0.2887|-0.5000|0.5000|0.5000",
            "layers.0.up.bias|(3,)|3|1.6|float32|12|default|0|0|0.2887|0|0|2",
            "layers.{1,2,3,5,7,9}.up.weight ×6|(3, 4)|72|39.6|float32|288|default"
            "|0.04500|0.2020|0.2887|-0.5000|9.500|5.737",
            "layers.{1..9}.up.bias ×9|(3,)|27|14.8|float32|108|default|0|0|0.2887|0|0|2",
            "layers.4.up.weight|(3, 4)|12|6.6|float32|48|default|0.04000|0.2000|0.2887|-0.5000|4.500|nonfinite",
            "layers.6.up.weight|(3, 4)|12|6.6|float32|48|default|0.06000|0.2000|0.2887|-0.5000|6.500|6.500",
            "layers.8.up.weight|(3, 4)|12|6.6|float32|48|default|0.08000|0.2000|0.2887|-0.5000|8.500|frozen",
            "total||182|100.0||728|||||||",
        )
    ]


def test_a_very_long_table_is_cut_and_says_so(sample_named: Callable[[str], Report]) -> None:
    report = sample_named("show")
    rows = tuple(replace(report.parameters[0], name=f"p{i}x") for i in range(MOST_ROWS + 7))
    long = replace(report, parameters=rows)
    assert len(page(long).rows) == MOST_ROWS + 2
    assert '<p class="quiet">7 more rows (<code>.parameters</code> has every row)</p>' in "".join(
        render(long, "html", View())
    )


def test_it_keeps_the_colours_of_the_page(sample_named: Callable[[str], Report]) -> None:
    style = page(sample_named("mixed")).style
    selectors = [line for line in style.split("\n") if line and not line.startswith("  ")]
    assert all(selector.startswith(".paraminspect") for selector in selectors)
    assert set(re.findall(r"background[^:]*: *([^;}]+)", style)) == {"none"}
    assert set(re.findall(r"[{;] *color: *([^;}]+)", style)) == {"inherit", "#d9480f", "#2b8a3e"}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.1 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_what_is_wrong_and_what_is_fine_are_legible_on_light_and_dark(background: str) -> None:
    assert min(contrast("#d9480f", background), contrast("#2b8a3e", background)) > 4
