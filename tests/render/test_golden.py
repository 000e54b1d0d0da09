"""Whole outputs of every command, in every format and at several widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from paraminspect.render import render
from paraminspect.report import Report
from paraminspect.text.escape import ASCII, View
from tests.cases import each
from tests.render.trees import TREES

Golden = Callable[[str, str], None]
Sample = tuple[str, Report]
VIEWS = {
    "table.80": View(width=80),
    "table.120": View(width=120),
    "table.200": View(width=200),
    "table.pipe": View(),
    "table.ascii": View(glyphs=ASCII),
    "table.colour": View(width=120, colour=True),
    "plain": View(),
    "csv": View(),
    "json": View(),
    "markdown": View(),
    "html": View(),
}


@each("form", sorted(VIEWS))
def test_the_output_is_the_golden_file(sample: Sample, form: str, golden: Golden) -> None:
    name, report = sample
    view = replace(VIEWS[form], values=name in ("values", "before_backward"))
    golden(f"{name}.{form}.txt", "".join(render(report, form.partition(".")[0], view)))


@each("form", sorted(VIEWS))
@each("made", TREES)
def test_the_tree_of_modules_is_the_golden_file(made: Callable[[], Report], form: str, golden: Golden) -> None:
    golden(f"{made.__name__}.{form}.txt", "".join(render(made(), form.partition(".")[0], VIEWS[form])))


@each("form", ["table", "plain", "markdown"])
@each("name", ["folded", "partly_folded", "folded_init", "grad_folded", "mixed"])
@each("depth", [1, 2])
def test_the_output_at_a_depth(
    name: str, depth: int, form: str, sample_named: Callable[[str], Report], golden: Golden
) -> None:
    golden(f"{name}.depth{depth}.{form}.txt", "".join(render(sample_named(name), form, View(depth=depth))))


@each("form", ["plain", "csv", "json", "markdown"])
def test_only_the_table_folds(sample: Sample, form: str) -> None:
    assert "".join(render(sample[1], form, View())) == "".join(render(sample[1], form, View(fold=False)))


def test_plain_is_the_ascii_table_without_rules_pictures_and_folding(sample: Sample) -> None:
    bare = View(glyphs=ASCII, decoration=False, fold=False)
    assert "".join(render(sample[1], "plain", View(width=40, colour=True))) == "".join(render(sample[1], "table", bare))
