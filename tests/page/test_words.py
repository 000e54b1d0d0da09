"""Every word that the program prints of its own is one that `paraminspect help WORD` explains."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paraminspect.cli.commands import COMMANDS
from paraminspect.cli.help import PAGES, TOPICS
from paraminspect.cli.words import glossary, meaning_of
from paraminspect.page import page
from paraminspect.page.parts import Column, Entries, Table
from paraminspect.page.sharing import MEANING
from paraminspect.page.signal_verdicts import _LAWS, _REGIMES
from paraminspect.report import Report
from paraminspect.rules.wording import WORST_FIRST
from paraminspect.text.escape import View, spell
from tests.cases import each
from tests.page.test_compare import SAMPLES as COMPARISONS
from tests.render.conftest import SAMPLES
from tests.render.trees import TREES

ROWS_OF_MODULES = {made.__name__: made for made in TREES}
PAGE_OF_WORDS = (PAGES / "words.md").read_text(encoding="utf-8")
VIEWS = [View(histograms=True, theory=True), View(on_paper=True, histograms=True, theory=True)]
STATUSES = [*WORST_FIRST, "unregistered", "computed", "constant", "graph-constant", "parameter", "buffer"]
VERDICTS = ["steady", "vanishing", "exploding", "dead", "nonfinite", "unknown", "failed", "intact", "broken", "missing"]
OTHERS = ["undeclared", "mean ok", "std off", "bounds off", "unrecognised", "factor", "rms", "gain", "fan in", "trunk"]
SIGNS = ["χ₁", "ξ", "Σ 1/n", "cotangent", "regime", "stand-in", "half-tie", "random output gradient", "×", "–"]


def bare(text: str) -> str:
    return spell(text, lambda _, marked: marked).strip()


def printed(report: Report) -> Iterator[str]:
    """Yield the heads and groups of the columns of a page, and the terms of its entries."""
    for part in (part for view in VIEWS for part in page(report, view).parts):
        if isinstance(part, Table):
            columns: list[Column[object]] = [*part.columns]
            yield from (text for column in columns for text in (column.head, column.group))
        elif isinstance(part, Entries):
            yield from (term for term, _ in part.lines)


def is_own(text: str, report: Report) -> bool:
    """Leave out the ends of a scale of bars, and what comes from an input."""
    known = {trial.scheme for trial in report.comparison.trials} if report.comparison else set()
    return bool(text) and not re.fullmatch(r"[\d.e+-]+( +[\d.e+-]+)*", text) and text not in known


@each("name", [*SAMPLES, *COMPARISONS, *ROWS_OF_MODULES])
def test_what_a_page_prints_is_explained(name: str) -> None:
    report = {**SAMPLES, **COMPARISONS, **ROWS_OF_MODULES}[name]()
    words = dict.fromkeys(map(bare, printed(report)))
    unknown = [word for word in words if is_own(word, report) and not explained(word)]
    assert not unknown, "explain them in paraminspect/help/words.md"


def test_every_head_in_the_code_is_explained() -> None:
    """Also what no sample has: heads of columns, terms beside what is said, and the words of the setting."""
    heads = {"inferred", "seed", "train mode", "eval mode", "loss", "input"}
    for file in (PAGES.parent / "page").glob("*.py"):
        heads |= set(re.findall(r'(?:yield \(?|\[\(|Column\()"([a-z%][a-z -]+)",', file.read_text(encoding="utf-8")))
    assert len(heads) > 60
    assert not sorted(word for word in heads if not explained(word)), "explain them in paraminspect/help/words.md"


def explained(word: str) -> bool:
    return word in TOPICS or word in COMMANDS or word.startswith("loss") or meaning_of(word, PAGE_OF_WORDS) is not None


@each("word", [*STATUSES, *MEANING, *VERDICTS, *_LAWS, *_REGIMES, *OTHERS, *SIGNS])
def test_every_status_kind_and_verdict_is_explained(word: str) -> None:
    assert explained(word)


def test_no_two_entries_explain_one_word_and_none_says_nothing() -> None:
    entries = {id(one): one for one in glossary(PAGE_OF_WORDS).values()}.values()
    spellings = [spelling for one in entries for spelling in one.spellings]
    assert len(set(spellings)) == len(spellings) > 150
    assert all(len(one.text) > 8 for one in entries)
    assert not [one for one in spellings if "  " in one]
