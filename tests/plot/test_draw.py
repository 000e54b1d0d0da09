"""What a picture says and shows: every axis has its name, every line its entry, and no text covers a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from paraminspect import plot
from paraminspect.plot.panel import COLOURS
from paraminspect.plot.picture import cut, fitted, points
from paraminspect.report import Course, Report, Signal, SignalHistogram, SignalLayer, SignalMoments, Source
from tests.plot.comparisons import FACTORS, compared, of_trials, trial
from tests.plot.conftest import legend_of, texts, words
from tests.render.signals import ENVIRONMENT, grad_signal, relu_net, signal_report, tanh_net

Drawn = Callable[..., Figure]
HOSTILE = "$x_1^2$ \\frac{a}{b} _under\n\x1b[31mnew\u202eline 模型 %s {0} <b>&"


def with_histograms(report: Report, path: Path) -> None:
    plot.draw(report, path, histograms=True)


def test_the_signal_is_labelled(drawn: Drawn) -> None:
    figure = drawn(grad_signal())
    forward, backward = figure.axes
    assert figure.get_suptitle() == (
        "deep-relu: kaiming_normal\nseeds 0 to 2 · input (64, 256) float32 normal · torch 2.13.0 · paraminspect 0.1.0"
    )
    assert [axes.get_title(loc="left") for axes in (forward, backward)] == [
        "forward: vanishing exponentially\nrms² × 0.168 per layer (expected 0.167)",
        "backward: vanishing exponentially\nnorm² × 0.165 per layer (expected 0.167)",
    ]
    assert [axes.get_ylabel() for axes in (forward, backward)] == ["rms", "norm of the gradient"]
    assert {axes.get_xlabel() for axes in (forward, backward)} == {"depth (layer)"}
    assert [tick.get_text() for tick in forward.get_yticklabels()] == ["1e-5", "1e-4", "1e-3", "0.01", "0.1", "1"]
    assert legend_of(figure) == ["pre-activation", "activation", "gradient", "expected", "tolerance"]
    assert [one.get_text() for one in forward.texts] == ["below 1/1000\nat depth ≥ 9"]
    assert [one.get_text() for one in backward.texts] == ["below 1/1000\nat depth ≤ 4"]


def test_the_lines_are_the_figures_of_the_report(drawn: Drawn) -> None:
    report = grad_signal()
    layers = report.signal.layers
    forward, backward = drawn(report).axes
    measured = [line for line in forward.lines if line.get_marker() in "os"]
    assert [list(line.get_xdata()) for line in measured] == [list(range(1, 13))] * 2
    assert measured[0].get_ydata() == pytest.approx([math.log10(one.pre.rms) for one in layers])
    assert measured[1].get_ydata()[:-1] == pytest.approx([math.log10(one.out.rms) for one in layers[:-1]])
    (gradient,) = (line for line in backward.lines if line.get_marker() == "^")
    assert gradient.get_ydata() == pytest.approx([math.log10(one.grad_norm) for one in layers])
    expected = [line.get_ydata() for line in forward.lines if line.is_dashed() and line.get_marker() == "None"]
    assert expected[0] == pytest.approx([math.log10(one.expected.pre.rms) for one in layers])


def test_a_net_without_activations_and_theory_has_no_entries_for_them(drawn: Drawn) -> None:
    layers = tuple(
        SignalLayer(at, str(at), "Linear", at, pre=SignalMoments(0.0, 1.0), grad_norm=1.0) for at in (1, 2, 3)
    )
    assert legend_of(drawn(signal_report(Signal(1, layers=layers)))) == ["pre-activation", "gradient"]


def test_zeros_and_nans_have_signs_where_no_logarithm_has_a_place(drawn: Drawn) -> None:
    values = (1.0, 0.0, math.nan, math.inf)
    layers = tuple(
        SignalLayer(at, str(at), "Linear", at, pre=SignalMoments(0.0, value), grad_norm=0.0)
        for at, value in enumerate(values, 1)
    )
    figure = drawn(signal_report(Signal(1, layers=layers)))
    forward, backward = figure.axes
    signs = {(line.get_marker(), tuple(line.get_xdata())) for line in forward.lines if line.get_marker() in "vx"}
    assert signs == {("v", (2,)), ("x", (3, 4))}
    assert ("v", (1, 2, 3, 4)) in {(line.get_marker(), tuple(line.get_xdata())) for line in backward.lines}
    assert legend_of(figure)[-2:] == ["exactly 0", "NaN or infinite"]


@pytest.mark.parametrize(
    "signal",
    [
        relu_net(1, 1.0, 256, "steady"),
        relu_net(2, 1.0, 1, "steady"),
        relu_net(100, 1.0, 1, "steady"),
        relu_net(200, 1e-2),
        relu_net(150, 50.0),
        tanh_net(),
        replace(relu_net(3), forward=Course(), backward=Course()),
        replace(relu_net(3), layers=tuple(replace(one, depth=None) for one in relu_net(3).layers)),
        replace(
            relu_net(3),
            layers=tuple(
                replace(one, pre=SignalMoments(), out=SignalMoments(), grad_norm=None) for one in relu_net(3).layers
            ),
        ),
        replace(relu_net(3), layers=tuple(replace(one, tolerance=1e9) for one in relu_net(3).layers)),
        replace(
            relu_net(3),
            layers=tuple(
                replace(
                    one, pre_histogram=SignalHistogram(0.0, 0.0, (5,)), out_histogram=SignalHistogram(0.0, 0.0, (0,))
                )
                for one in relu_net(3).layers
            ),
        ),
        replace(
            relu_net(3),
            layers=tuple(
                replace(one, pre_histogram=SignalHistogram(-1e308, 1e308, (5, 1)), out_histogram=None)
                for one in relu_net(3).layers
            ),
        ),
    ],
    ids=[
        *("one-layer", "width-1", "100-of-width-1", "200-vanishing", "150-exploding", "mixed", "no-verdict"),
        *("no-depth", "nothing-known", "any-tolerance", "all-zero", "huge-range"),
    ],
)
def test_any_net_has_a_picture(signal: Signal, drawn: Drawn) -> None:
    """Warnings are errors here; and every axis has finite ends."""
    figure = drawn(signal_report(signal), with_histograms)
    assert all(math.isfinite(end) for axes in figure.axes for end in (*axes.get_xlim(), *axes.get_ylim()))


@pytest.mark.parametrize("draw", [plot.draw, with_histograms, plot.histograms])
def test_texts_are_drawn_literally_and_can_steer_nothing(draw: Callable[..., None], drawn: Drawn) -> None:
    report = grad_signal()
    layers = tuple(replace(one, module=HOSTILE, activation=HOSTILE) for one in report.signal.layers)
    course = replace(report.signal.forward, verdict=HOSTILE)
    signal = replace(report.signal, layers=layers, forward=course)
    report = replace(report, signal=signal, source=replace(report.source, name=HOSTILE))
    report = replace(report, environment=replace(report.environment, torch=HOSTILE, paraminspect=HOSTILE))
    figure = drawn(report, draw)
    assert not [text for text in texts(figure) if text.get_parse_math() or text.get_usetex()]
    assert not set("\x1b\u202e模") & set("".join(words(figure)))
    assert figure.get_suptitle().count("\n") == 1


def test_schemes_and_their_names(drawn: Drawn) -> None:
    figure = drawn(compared("default", "xavier_normal", "kaiming_normal", "_hidden$_$"))
    assert figure.get_suptitle().startswith("deep-relu: 4 schemes\nseeds 0 to 2 ·")
    assert legend_of(figure) == [
        "default: 0.168 | 0.165",
        "xavier_normal: 0.505 | 0.495",
        "kaiming_normal: 1.01 | 0.990 *",
        "_hidden$_$: 0.909 | 0.891",
        "expected",
    ]
    title = "scheme: factor of rms² per layer, forward | backward (* the steadiest)"
    assert figure.legends[0].get_title().get_text() == title
    forward, backward = figure.axes
    assert (forward.get_title(loc="left"), backward.get_title(loc="left")) == (
        "forward: pre-activation",
        "backward: gradient",
    )
    assert {axes.get_xlabel() for axes in figure.axes} == {"depth (layer)"}


def test_a_scheme_that_failed_is_named_and_the_others_are_drawn(drawn: Drawn) -> None:
    figure = drawn(of_trials(trial("kaiming_normal"), trial("orthogonal", failed=True)))
    assert legend_of(figure) == ["kaiming_normal: 1.01 | 0.990 *", "orthogonal: failed", "expected"]
    assert len([line for line in figure.axes[0].lines if line.get_marker() == "o"]) == 1


def test_widths_of_a_scheme_share_its_colour(drawn: Drawn) -> None:
    figure = drawn(of_trials(*(trial(name, width) for name in ("default", "kaiming_normal") for width in (64, 256))))
    looks = [
        (line.get_color(), line.get_linestyle())
        for line in figure.axes[0].lines
        if line.get_marker() not in ("v", "x", "None")
    ]
    assert len({colour for colour, _ in looks}) == 2 and len(set(looks)) == 4
    assert legend_of(figure)[1] == "default, width 256: 0.168 | 0.165"


def test_no_two_of_thirty_schemes_look_alike(drawn: Drawn) -> None:
    figure = drawn(compared(*(f"scheme{i}" for i in range(30))))
    handles = figure.legends[0].legend_handles[:-1]
    looks = {(handle.get_color(), handle.get_marker(), str(handle.get_linestyle())) for handle in handles}
    assert len(looks) == 30 and {handle.get_color() for handle in handles} == set(COLOURS)


REPORTS = [
    (grad_signal(), plot.draw),
    (
        replace(grad_signal(), source=Source("spec", "M" * 99), environment=replace(ENVIRONMENT, torch="W" * 99)),
        plot.draw,
    ),
    (grad_signal(), with_histograms),
    (grad_signal(), plot.histograms),
    (signal_report(relu_net(40, 30.0, 64, "exploding")), plot.draw),
    (compared(*FACTORS), plot.draw),
    (compared(*FACTORS, "kaiming_normal:nonlinearity=relu", "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"), plot.draw),
    (compared(*FACTORS, "kaiming_normal:mode=fan_out,nonlinearity=leaky_relu"), plot.draw),
]


@pytest.mark.parametrize(("report", "draw"), REPORTS)
def test_every_text_is_on_the_picture_and_no_legend_covers_anything(
    report: Report, draw: Callable[..., None], drawn: Drawn
) -> None:
    figure = drawn(report, draw)
    whole = figure.bbox
    assert {text.get_fontname() for text in texts(figure)} == {"DejaVu Sans"}
    for text in texts(figure):
        extent = text.get_window_extent()
        assert text.get_fontsize() >= 9, text
        assert whole.x0 <= extent.x0 and extent.x1 <= whole.x1 and whole.y0 <= extent.y0 and extent.y1 <= whole.y1, text
    boxes = [axes.get_window_extent() for axes in figure.axes]
    legends = [legend for area in (figure, *figure.subfigs) for legend in area.legends]
    boxes += [legend.get_window_extent() for legend in legends]
    pairs = [(one, other) for at, one in enumerate(boxes) for other in boxes[:at]]
    assert pairs and not [pair for pair in pairs if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("factor", [1 / 6, 0.6, 1.8, 30.0])
def test_the_word_on_where_it_leaves_covers_no_point(factor: float, drawn: Drawn) -> None:
    verdict = "vanishing" if factor < 1 else "exploding"
    for depth in (12, 40):
        figure = drawn(signal_report(relu_net(depth, factor, 256, verdict)))
        for axes in figure.axes:
            points = [
                axes.transData.transform((x, y))
                for line in axes.lines
                if line.get_marker() in ("o", "s", "^")
                for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
                if not math.isnan(y)
            ]
            for note in axes.texts:
                box = note.get_window_extent()
                assert points and not [point for point in points if box.contains(*point)]


def test_ridges_are_the_layers_from_top_to_bottom(drawn: Drawn) -> None:
    figure = drawn(grad_signal(), plot.histograms)
    left, right = figure.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == [f"{i + 1}  {2 * i}" for i in range(12)]
    assert left.get_ylabel() == "depth, layer" and {left.get_xlabel(), right.get_xlabel()} == {
        "value (height: √ of the count)"
    }
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("pre-activations", "activations")
    assert (len(left.patches), len(right.patches)) == (12, 11)
    first = left.patches[0].get_data()
    assert list(first.edges[[0, -1]]) == [grad_signal().signal.layers[0].pre_histogram.low, -first.edges[0]]


def test_of_very_many_layers_some_are_drawn_and_it_is_said(drawn: Drawn) -> None:
    figure = drawn(signal_report(relu_net(500, 1.0)), plot.histograms)
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert (len(ticks), ticks[0], ticks[-1]) == (24, "1  0", "500  998")
    assert figure.axes[0].get_title(loc="left") == "pre-activations (24 of 500 layers)"


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("plain", 10, "plain"),
        ("0123456789", 10, "0123456789"),
        ("0123456789abcdef", 10, "012…abcdef"),
        ("a\nb\x1b", 20, "a\\x0ab\\x1b"),
        ("模", 20, "\\u6a21"),
        ("\U0001f600\U000f0000", 40, "😀\\U000f0000"),
        ("σ² → ∑", 20, "σ² → ∑"),
    ],
)
def test_words_have_only_what_the_font_has(text: str, most: int, shown: str) -> None:
    assert cut(text, most) == shown


def test_a_line_is_cut_where_the_room_ends() -> None:
    assert fitted("short", 10, 500) == "short"
    for text in ("i" * 300, "W" * 300, "ab" * 300):
        shown = fitted(text, 10, 500)
        assert shown.endswith("…") and points(shown, 10) <= 500 < points(f"{text[: len(shown)]}…", 10)
    assert fitted("abc", 10, 0) == "…"
