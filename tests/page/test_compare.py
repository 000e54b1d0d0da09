"""`compare` in every format, from a literal report: whole outputs, and what holds of any of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from paraminspect.page.pictures import CourseScale, backward_steps, course_scale, forward_steps
from paraminspect.render import render
from paraminspect.render.csv import TRIALS
from paraminspect.report import (
    Comparison,
    Course,
    Forward,
    Model,
    Report,
    Signal,
    SignalExpected,
    SignalLayer,
    SignalMoments,
    Slope,
    Source,
    TensorInfo,
    Totals,
    Trial,
)
from paraminspect.text.escape import ASCII, Glyphs, View, clean
from tests.cases import each
from tests.render.conftest import CPU, row
from tests.render.test_promises import ANSI, HIDDEN, hostile, swap

INPUT = TensorInfo(None, (64, 8), "float32", "cpu", "normal")
ROWS = tuple(row(f"{2 * at}.weight", (8, 8)) for at in range(5))


def course(factor: float, verdict: str, expected: float | None = None, law: str = "exponential") -> Course:
    return Course(verdict, law, factor, expected, 0.9, 1.1, first=1.0, last=factor**2)


def signal(forward: Course, backward: Course, depth: int = 5, gone: int | None = None) -> Signal:
    f, b = (math.sqrt(one.factor or 0.0) for one in (forward, backward))
    layers = tuple(
        SignalLayer(
            index=2 * at,
            module=f"{2 * at}",
            type="Linear",
            depth=at + 1,
            activation="relu",
            width=8,
            pre=SignalMoments(0.0, 0.0 if gone is not None and at >= gone else f**at),
            out=SignalMoments(0.1, f**at / 2),
            grad_norm=0.0 if gone is not None and at < depth - 1 else b ** (depth - 1 - at) / 100,
            expected=SignalExpected(),
        )
        for at in range(depth)
    )
    return Signal(5, 64, 1.0, layers, forward, backward)


HE = Trial(
    "kaiming_normal:nonlinearity=relu",
    signal=signal(course(1.02, "steady", 1.0, "constant"), course(0.98, "steady", 1.0, "constant")),
    q_last=1.97,
    gradient_ratio=0.961,
    dead=0.0812,
    expected_dead=0.0799,
    loss=2.4519,
    expected_loss=math.log(10),
    unsteadiness=0.04,
)
DEFAULT = Trial(
    "default",
    signal=signal(course(0.2, "vanishing", 0.19), course(1 / 6, "vanishing", 1 / 6)),
    q_last=0.0012,
    gradient_ratio=1.3e-3,
    dead=0.2,
    expected_dead=0.19,
    loss=2.3026,
    expected_loss=math.log(10),
    unsteadiness=3.4,
)
WILD = Trial(
    "normal:std=1",
    signal=signal(course(128.0, "exploding", 128.0), course(127.5, "exploding", 128.0)),
    q_last=4.3e9,
    gradient_ratio=6.6e4,
    dead=0.0834,
    loss=None,
    unsteadiness=9.7,
)
DEAD = Trial(
    "zeros", signal=signal(Course("dead", factor=0.0), Course("dead", factor=0.0), gone=0), q_last=0.0, dead=1.0
)
FAILED = Trial("orthogonal", error="orthogonal needs at least 2 dimensions; parameter '1.weight' has shape (8,)")
TRIALS_HERE = (DEFAULT, HE, WILD, DEAD, FAILED)
REASON = (
    "steady (1.02 per layer) forward and steady (0.98 per layer) backward; "
    "next is default, vanishing (0.2 per layer) forward and vanishing (0.167 per layer) backward"
)


def reported(trials: tuple[Trial, ...], slopes: tuple[Slope, ...] = ()) -> Report:
    return Report(
        "compare",
        Source("spec", "deep"),
        CPU,
        Model("Sequential", "Sequential()"),
        ROWS,
        Totals(parameters=320, trainable=320, as_named=320, bytes=1280, shown=320),
        forward=Forward((INPUT,), loss_name="cross_entropy"),
        comparison=Comparison(5, trials, HE.scheme, REASON, slopes),
    )


def compared() -> Report:
    return reported(TRIALS_HERE)


def widths() -> Report:
    trials = tuple(replace(one, width=width) for one in (HE, WILD) for width in (64, 1024))
    slopes = tuple(
        Slope(one.scheme, f"{2 * at}", figure, slope * (at > 0 or figure == "gradient"), 0.03, slope)
        for one, steep in ((HE, 0.0), (WILD, 0.5))
        for at in range(50)
        for figure, slope in (("pre", steep), ("out", steep), ("gradient", -0.5))
    )
    return reported(trials, slopes)


SAMPLES: dict[str, Callable[[], Report]] = {"compared": compared, "widths": widths}
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
}


def rendered(form: str, report: Report, view: View) -> str:
    return "".join(render(report, form.partition(".")[0], view))


@each("form", VIEWS)
@each("name", SAMPLES)
def test_the_output_is_the_golden_file(name: str, form: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.{form}.txt", rendered(form, SAMPLES[name](), VIEWS[form]))


@pytest.mark.parametrize("width", [70, 80, 100, 130, 200])
def test_on_a_terminal_too_every_trial_has_one_line(width: int) -> None:
    lines = ANSI.sub("", rendered("table", compared(), View(width=width, colour=True))).split("\n")
    assert max(map(cell_len, lines)) <= width
    after_first_line = lines.index("", lines.index("") + 1)
    table = lines[after_first_line + 1 :]
    for trial in TRIALS_HERE:
        (line,) = [line for line in table[: table.index("")] if line.startswith(trial.scheme[:5])]
        found = trial.signal
        for word in (found.forward.verdict, found.backward.verdict) if found else ("failed", "failed"):
            assert word in line


@settings(max_examples=60)
@given(name=st.sampled_from([*SAMPLES]), form=st.sampled_from(["table", "plain", "markdown", "csv"]), text=hostile)
def test_no_text_of_it_steers_a_terminal(name: str, form: str, text: str) -> None:
    found = swap(SAMPLES[name](), text)
    out = rendered(form, found, View())
    assert not [c for c in out if c != "\n" and unicodedata.category(c) in HIDDEN]
    if form == "markdown":
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(out)
        kinds = {token.type for block in tokens for token in block.children or ()}
        assert kinds <= {"text", "code_inline", "strong_open", "strong_close"}
    assert json.loads(rendered("json", found, View())) == found.to_dict()


@pytest.mark.parametrize("width", [1, 2, 5, 12])
def test_a_terminal_of_no_width_is_no_error(width: int) -> None:
    plain = rendered("table", widths(), View(width=width))
    assert ANSI.sub("", rendered("table", widths(), View(width=width, colour=True))) == plain


@pytest.mark.parametrize("form", ["table", "plain", "markdown", "csv"])
def test_no_text_is_cut_in_a_pipe(form: str) -> None:
    long = "n" * 400
    found = swap(compared(), long)
    assert rendered(form, found, View()).count(long) >= len(TRIALS_HERE)


def test_csv_reads_back_exactly() -> None:
    for report in (compared(), widths()):
        found = report.comparison
        assert found is not None
        lines = list(csv.DictReader(io.StringIO(rendered("csv", report, View())), strict=True))
        assert tuple(lines[0]) == TRIALS
        trials = [line for line in lines if line["row"] == "trial"]
        slopes = [line for line in lines if line["row"] == "slope"]
        assert lines == trials + slopes
        for line, trial in zip(trials, found.trials, strict=True):
            assert (line["scheme"], line["error"]) == (trial.scheme, trial.error or "")
            assert line["steadiest"] == str(trial.scheme == found.steadiest).lower()
            figures = {key: getattr(trial, key) for key in ("width", "q_last", "dead", "loss", "unsteadiness")}
            if trial.signal:
                figures |= {"forward_factor": trial.signal.forward.factor, "backward_low": trial.signal.backward.low}
                assert line["backward_verdict"] == trial.signal.backward.verdict
            assert {key: float(line[key]) if line[key] else None for key in figures} == figures
        for line, slope in zip(slopes, found.slopes, strict=True):
            assert (line["scheme"], line["layer"], line["figure"]) == (slope.scheme, slope.layer, slope.figure)
            assert (float(line["slope"]), float(line["slope_tolerance"])) == (slope.slope, slope.tolerance)


@pytest.mark.parametrize("start", "=+-@")
def test_csv_lets_no_scheme_start_a_formula(start: str) -> None:
    out = rendered("csv", swap(widths(), f"{start}1+1"), View())
    for line in list(csv.reader(io.StringIO(out)))[1:]:
        assert line[1] == f"'{clean(start)}1+1"
        assert not [cell for cell in line if cell.startswith(("=", "+", "@"))]


# --- the small picture -------------------------------------------------------------------------------------------

PROFILES = {
    "steady": ([0.0, 0.2, -0.2, 0.0], "▅▅▄▅"),
    "vanishing": ([0.0, -0.5, -1.0], "▅▃▁"),
    "exploding": ([0.0, 0.5, 1.0], "▅▆█"),
    "gone": ([0.0, -0.5, -math.inf, -math.inf], "▅▃00"),
    "overflowed": ([0.0, 0.9, math.nan, math.inf], "▅█!!"),
    "long": ([-at / 40 for at in range(41)], "▅▄▄▃▂▂▂▁"),
    "one": ([0.0], "▅"),
    "none": ([], ""),
}


@each("name", PROFILES)
def test_the_bars_follow_the_rms(name: str) -> None:
    steps, bars = PROFILES[name]
    assert CourseScale(-1.0, 1.0).draw(steps, Glyphs()) == bars
    assert CourseScale(-1.0, 1.0).draw(steps, ASCII).isascii()


def test_one_scale_serves_all_courses_and_does_not_blow_up_noise() -> None:
    assert course_scale([[0.0, 0.1], [0.0, -0.2]]) == CourseScale(-1.0, 1.0)
    assert course_scale([[0.0, -3.5], [0.0, 2.0, -math.inf, math.nan]]) == CourseScale(-3.5, 2.0)
    assert course_scale([[0.0, -40.0], [0.0, 40.0]]) == CourseScale(-6.0, 6.0)
    assert course_scale([]) == CourseScale(-1.0, 1.0)


def test_both_directions_start_where_their_signal_starts() -> None:
    assert forward_steps(WILD.signal) == pytest.approx([at * math.log10(math.sqrt(128)) for at in range(5)])
    assert backward_steps(WILD.signal) == pytest.approx([(4 - at) * math.log10(math.sqrt(127.5)) for at in range(5)])
    assert forward_steps(DEAD.signal) == forward_steps(None) == []
    assert backward_steps(DEAD.signal) == [-math.inf] * 4 + [0.0]


def test_plain_has_no_picture_and_no_legend_of_one() -> None:
    assert not re.search("by depth|=#", rendered("plain", compared(), View()))
