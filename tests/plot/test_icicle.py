"""The icicle of a tree: boxes that add up, lie below their module, and carry harmless texts that fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from paraminspect import plot
from paraminspect.errors import UserError
from paraminspect.plot.module_boxes import QUANTITIES, module_boxes
from paraminspect.report import Report, TreeLayer
from tests.plot.conftest import texts, words
from tests.plot.test_draw import HOSTILE
from tests.render.trees import layer, summary, summary_failed, tree

Drawn = Callable[..., Figure]
COUNTS = st.integers(0, 3).map(lambda n: n * 10**n)
PATHS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), max_size=40)


@st.composite
def trees(draw: st.DrawFn) -> Report:
    """Any tree of modules, their figures small, large and none, many of them alike."""
    paths = {tuple(path[:end]) for path in draw(PATHS) for end in range(1, len(path) + 1)}
    names = [".".join(map(str, path)) for path in sorted(paths)]
    figures = [draw(st.tuples(COUNTS, COUNTS, COUNTS)) for _ in names]
    rows = [layer(name, "Linear", *counts) for name, counts in zip(names, figures, strict=True)]
    return tree("drawn", [layer("", "Net", *draw(st.tuples(COUNTS, COUNTS, COUNTS))), *rows])


@settings(max_examples=120)
@given(report=trees(), levels=st.integers(1, 6))
def test_boxes_lie_inside_the_one_above_and_leave_only_what_it_has_itself(report: Report, levels: int) -> None:
    """Nothing is counted twice, and down to the deepest level nothing of what hangs on a module is lost."""
    rows: list[TreeLayer] = [*report.layers]
    found = module_boxes(rows, levels)
    assert found.totals == tuple(getattr(rows[0], field) for field in QUANTITIES)
    above: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((0, 0, 0), found.totals)]
    for box in found.boxes:
        assert 1 <= box.level <= levels and any(box.sizes) and box.times >= 1
        del above[box.level :]
        starts, ends = above[-1]
        assert all(start <= own for start, own in zip(starts, box.starts, strict=True))
        own_ends = tuple(start + size for start, size in zip(box.starts, box.sizes, strict=True))
        assert all(own <= end for own, end in zip(own_ends, ends, strict=True))
        above[-1] = (own_ends, ends)  # the next one beside it begins where it ends
        above.append((box.starts, own_ends))
    children = [row for row in rows if row.depth == 1] or rows
    for at, field in enumerate(QUANTITIES):
        assert sum(box.sizes[at] for box in found.boxes if box.level == 1) == sum(
            getattr(one, field) for one in children
        )


def test_what_is_drawn_are_the_figures_of_the_report(drawn: Drawn) -> None:
    figure = drawn(summary())
    assert figure.get_suptitle().startswith("decoder: Decoder\ninput (8, 4) float32 normal · torch 2.13.0")
    parameters, macs, saved = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "parameters: 128",
        "MACs of the forward: at least 736",
        "saved for the backward: 736 bytes",
    ]
    assert [one.get_text() for one in macs.texts] == [
        "blocks.{0..2} Block ×3  52%",
        "head Linear  43%",
        "up Linear ×3  52%",
    ]
    assert [one.get_text() for one in saved.texts][:2] == ["blocks.{0..2} Block ×3  78%", "norm  13%"]
    (shapes,) = (one for one in parameters.collections if isinstance(one, PolyCollection))
    widths = [path.get_extents().width for path in shapes.get_paths()]
    assert widths == pytest.approx([1, *(count / 128 for count in (40, 60, 8, 20)), 60 / 128], abs=0.002)


def test_a_depth_cuts_and_one_module_is_one_box(drawn: Drawn) -> None:
    def levels(report: Report, path: Path) -> None:
        plot.draw(report, path, depth=1)

    assert not [text for text in words(drawn(summary(), levels)) if text.startswith("up")]
    alone = tree("alone", [layer("", "Linear", 20, 16, 64)])
    assert words(drawn(alone)).count("Linear  100%") == 3


def test_what_is_not_known_is_no_band_and_nothing_at_all_is_no_picture(drawn: Drawn, tmp_path: Path) -> None:
    titles = [axes.get_title(loc="left") for axes in drawn(summary_failed()).axes]
    assert titles == ["parameters: 64", "MACs of the forward: not known", "saved for the backward: not known"]
    titles = [axes.get_title(loc="left") for axes in drawn(tree("act", [layer("", "GELU", saved=64)])).axes]
    assert titles == ["parameters: 0", "MACs of the forward: 0", "saved for the backward: 64 bytes"]
    with pytest.raises(UserError, match="nothing to draw: no module has"):
        plot.draw(tree("nothing", [layer("", "Identity")]), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", [HOSTILE, "x" * 5_000, "{0}", "模型" * 40])
def test_names_are_literal_harmless_and_inside_their_boxes(name: str, drawn: Drawn) -> None:
    name = name.replace(".", "")
    rows = [layer(f"{name}{at}", name, 2 ** (at + 1), 3 * at, 100) for at in range(8)]
    report = tree("net", [layer("", name), *rows])
    figure = drawn(replace(report, source=replace(report.source, name=name)))
    assert not [text for text in texts(figure) if text.get_parse_math() or text.get_usetex()]
    assert not set("\x1b\u202e模") & set("".join(words(figure)))
    figure.set_dpi(200)  # that of a PNG: at fewer dots a letter is wider than its shape
    figure.draw_without_rendering()
    for axes in figure.axes:
        right = axes.get_window_extent().x1
        assert all(text.get_window_extent().x1 <= right for text in axes.texts)


def test_a_thousand_modules_are_a_few_shapes(drawn: Drawn) -> None:
    rows = [layer(str(at), "Linear", 10 + at, 10 + at, 8) for at in range(1_000)]
    figure = drawn(tree("deep", [layer("", "Sequential"), *rows]))
    assert all(len(axes.collections[0].get_paths()) < 400 for axes in figure.axes)
    assert all(axes.collections[0].get_paths() for axes in figure.axes)
