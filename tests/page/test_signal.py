"""The signal in words and in columns: what is said of every outcome, and which columns stay at which width."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from paraminspect.page.signal_layers import LEGEND, layers_table, signal_tables, strays, wrong_with
from paraminspect.page.signal_verdicts import conditions, signal_lines
from paraminspect.render import render
from paraminspect.report import Course, Layer, LayerGrad, LayerOut, Signal, SignalExpected, SignalLayer, SignalMoments
from paraminspect.text.escape import ASCII, Glyphs, View
from tests.cases import each
from tests.render.signals import grad_signal, grad_signal_long, grad_signal_mixed, relu_net, signal_report

STEADY = Course("steady", None, 1.01, 1.0, 0.9, 1.1, None, 1.4, 1.5)


def rendered(form: str, signal: Signal, view: View) -> str:
    report = replace(signal_report(signal), forward=None)
    return "".join(render(report, form, view))


def told(signal: Signal, glyphs: Glyphs = Glyphs()) -> dict[str, list[str]]:  # noqa: B008  # frozen
    lines: dict[str, list[str]] = {}
    for head, text in signal_lines(signal):
        lines.setdefault(head, []).append(View(glyphs=glyphs).sentence(text))
    return lines


def layer(depth: int | None, rms: float | None = 1.0, grad: float | None = 1.0, **changes: object) -> SignalLayer:
    return SignalLayer(0, f"fc{depth}", "Linear", depth, pre=SignalMoments(0.0, rms), grad_norm=grad, **changes)


def net(*layers: SignalLayer, **changes: object) -> Signal:
    return Signal(1, layers=layers, **changes)


THREE = (layer(1), layer(2, 0.0, 0.0), layer(3, 0.0, 0.5))


@each(
    ("course", "forward", "backward"),
    [
        (Course(), "unknown", "unknown"),
        (STEADY, *["steady: factor 1.01 per layer (expected 1, steady is 0.900 to 1.10)"] * 2),
        (Course("steady", "constant", 1.01), *["steady: factor 1.01 per layer"] * 2),
        (Course("vanishing", "constant", 0.756), *["vanishing, levelling off: factor 0.756 per layer"] * 2),
        (Course("steady", None, 1.0, 1.0), *["steady: factor 1 per layer (expected 1)"] * 2),
        (Course("steady", None, 1.0, None, 0.9, 1.1), *["steady: factor 1 per layer (steady is 0.900 to 1.10)"] * 2),
        (
            Course("steady", "power law", 0.95, exponent=-1.0),
            *["steady as a power law (depth^-1): factor 0.950 per layer"] * 2,
        ),
        (
            Course("vanishing", "exponential", 0.167, leaves=2),
            "vanishing exponentially: factor 0.167 per layer; "
            "below 1e-3 of what it began with from depth 2 (layer fc2) on",
            "vanishing exponentially: factor 0.167 per layer; "
            "below 1e-3 of what it was at depth 2 from depth 2 (layer fc2) down",
        ),
        (
            Course("exploding", "exponential", 9.0, leaves=2),
            "exploding exponentially: factor 9 per layer; above 1e3 times what it began with from depth 2 (layer fc2) on",
            "exploding exponentially: factor 9 per layer; "
            "above 1e3 times what it was at depth 2 from depth 2 (layer fc2) down",
        ),
        (
            Course("exploding", None, 1.5, leaves=41, extrapolated=True),
            "exploding: factor 1.50 per layer; above 1e3 times what it began with in a net of depth 41",
            "exploding: factor 1.50 per layer; above 1e3 times what it was at depth 2 in a net of depth 41",
        ),
        (
            Course("vanishing", None, 0.5, leaves=4000),
            "vanishing: factor 0.500 per layer; below 1e-3 of what it began with from depth 4,000 on",
            "vanishing: factor 0.500 per layer; below 1e-3 of what it was at depth 2 from depth 4,000 down",
        ),
        (
            Course("dead", leaves=2),
            "dead: exactly 0 from depth 2 (layer fc2) on",
            "dead: exactly 0 from depth 2 (layer fc2) down",
        ),
    ],
)
def test_a_verdict_is_one_line(course: Course, forward: str, backward: str) -> None:
    found = told(net(*THREE, forward=course, backward=course))
    assert (found["forward"], found["backward"]) == ([forward], [backward])


def test_the_first_layer_that_is_not_finite_is_named() -> None:
    layers = (layer(1), layer(2, nonfinite=3), layer(3, None, math.inf))
    found = told(net(*layers, forward=Course("nonfinite", leaves=2), backward=Course("nonfinite", leaves=3)))
    assert found["forward"] == ["nonfinite: NaN or infinite from depth 2 (layer fc2) on"]
    assert found["backward"] == ["nonfinite: NaN or infinite from depth 3 (layer fc3) down"]
    assert found["nonfinite"] == ["3 values, NaN or infinite, the first at depth 2 (layer fc2)"]


@pytest.mark.parametrize(
    ("changes", "head", "text"),
    [
        ({"fluctuation": 0.078125}, "theory", "width to depth Σ 1/n = 0.0781"),
        (
            {"regime": "ordered", "chi1": 0.88, "xi_q": 3.0, "xi_c": 7.8},
            "regime",
            "ordered: gradients shrink with depth, samples grow alike; χ₁ = 0.880; depth scales ξ_q = 3, ξ_c = 7.80 layers",
        ),
        ({"regime": "critical", "chi1": 1.0}, "regime", "critical: gradients keep their size; χ₁ = 1"),
        (
            {"regime": "chaotic", "xi_c": 4.5},
            "regime",
            "chaotic: gradients grow with depth, samples drift apart; depth scale ξ_c = 4.50 layers",
        ),
        ({"regime": "new"}, "regime", "new"),
    ],
)
def test_what_theory_says_is_one_line(changes: dict[str, object], head: str, text: str) -> None:
    found = told(net(layer(1), **changes))
    assert found[head] == [text] and len(found) == 3
    ascii_only = told(net(layer(1), **changes), ASCII)[head][0]
    assert ascii_only.isascii() and "\\" not in ascii_only


def test_shares_are_averages_over_units() -> None:
    layers = (
        layer(1, width=300, dead=0.1, saturated=1.0, expected=SignalExpected(dead=0.2)),
        layer(2, width=100, dead=0.5, saturated=1.0, expected=SignalExpected(dead=0.2)),
        layer(3),
    )
    found = told(net(*layers))
    assert found["dead"] == [
        "20.0% of the units are off for the whole batch (expected 20.0%); most at depth 2 (layer fc2): 50.0%"
    ]
    assert found["saturated"] == ["100% of the elements lie where the activation is flat"]


def test_an_expectation_for_some_layers_only_is_none_for_all() -> None:
    layers = (layer(1, dead=0.0, expected=SignalExpected(dead=0.2)), layer(2, dead=0.0))
    assert told(net(*layers))["dead"] == ["0% of the units are off for the whole batch"]


def test_samples_are_followed_from_the_first_to_the_last_layer() -> None:
    known = (layer(1, cosine=0.0, rank=12.0), layer(2), layer(3, cosine=0.75, expected=SignalExpected(cosine=0.7)))
    found = told(net(*known, samples=16))
    assert found["samples"] == ["first to last layer: mean cosine between two 0.000 → 0.750 (expected 0.700)"]
    ranked = (known[0], replace(known[2], rank=3.5))
    text = "first to last layer: mean cosine between two 0.000 → 0.750 (expected 0.700), effective rank 12 → 3.50 of 16"
    assert told(net(*ranked, samples=16))["samples"] == [text]
    assert "samples" not in told(net(known[0]))


def test_symmetric_units_are_counted() -> None:
    found = told(net(layer(1, symmetric=1), layer(2, symmetric=0), layer(3)))
    assert found["symmetric"] == ["1 unit has the weights of another and will learn the same: 1 in fc1"]
    assert "symmetric" not in told(net(layer(1, symmetric=0)))


def test_of_many_texts_the_first_are_told() -> None:
    off = {"forward": 9.0, "tolerance": 0.5, "expected": SignalExpected(forward=1.0)}
    found = told(net(*(layer(at, note=f"note {at}", symmetric=1, **off) for at in range(1, 13))))
    assert found["off"][0].endswith("forward 9 at depth 8 (layer fc8), expected 1 and 4 more")
    assert found["symmetric"][0].endswith("1 in fc7, 1 in fc8 and 4 more")
    assert found["note"] == [*(f"fc{at}: note {at}" for at in range(1, 9)), "on 4 more layers"]


@each(
    ("measured", "expected", "tolerance", "off"),
    [
        (1.0, 1.0, 0.1, False),
        (math.exp(0.09), 1.0, 0.1, False),
        (math.exp(0.11), 1.0, 0.1, True),
        (math.exp(-0.11), 1.0, 0.1, True),
        (0.5, None, 0.1, False),
        (None, 1.0, 0.1, False),
        (9.0, 1.0, None, False),
        (0.0, 1.0, 0.1, True),
        (0.0, 0.0, 0.1, False),
        (math.nan, 1.0, 0.1, True),
        (math.inf, 1.0, 0.1, True),
        (1e-300, 1e300, 0.1, True),
    ],
)
def test_a_factor_strays_by_its_logarithm(
    measured: float | None, expected: float | None, tolerance: float | None, off: bool
) -> None:
    one = layer(1, forward=measured, tolerance=tolerance, expected=SignalExpected(forward=expected, backward=1.0))
    both = replace(one, backward=measured, expected=SignalExpected(forward=expected, backward=expected))
    assert strays(one) == (off, False) and strays(both) == (off, off)
    assert wrong_with(one) == ("factor off" if off else "")
    assert wrong_with(replace(both, nonfinite=2000, symmetric=1)) == ", ".join(
        filter(None, ("2,000 NaN or inf", "both factors off" if off else "", "1 symmetric"))
    )


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        (
            Signal(5, 64, 0.5773),
            "forward: 64 samples of rms 0.577; backward: a random output gradient of norm 1; 5 seeds",
        ),
        (Signal(1, 1, 0.0), "forward: 1 sample of rms 0; backward: a random output gradient of norm 1; 1 seed"),
        (Signal(1), "forward: the input; backward: a random output gradient of norm 1; 1 seed"),
    ],
)
def test_the_conditions_say_what_went_through(signal: Signal, text: str) -> None:
    assert conditions(signal) == text


# --- the table -----------------------------------------------------------------------------------------------


def heads(width: int | None) -> list[str]:
    """Return the heads of the table of the signal, ends of scales left out."""
    lines = rendered("table", grad_signal().signal, View(width=width)).split("\n")
    (head,) = (line for line in lines if line.startswith("depth  layer"))
    return re.split(r"  +", re.sub(r"1e-\d +[01.]+", "BARS", head))


def test_the_columns_that_stay() -> None:
    """At 80 characters: what it is, what it should be, what it looks like; the rest by rank, all of it in a pipe."""
    least = ["depth", "layer", "rms", "BARS", "norm", "BARS"]
    eighty = ["depth", "layer", "rms", "expected", "BARS", "norm", "expected", "BARS"]
    pipe = [
        *("depth", "layer", "type", "mean", "rms", "expected", "factor", "expected", "BARS"),
        *("mean", "rms", "expected", "norm", "expected", "factor", "expected", "BARS"),
        *("share", "expected", "cosine", "expected", "rank"),
    ]
    assert heads(60) == least and heads(80) == eighty
    assert heads(200) == [head for head in pipe if head != "mean"]
    assert heads(None) == heads(250) == pipe


def test_every_column_that_fits_less_fits_more() -> None:
    """A wider terminal only adds columns."""
    found = [heads(width) for width in range(50, 220, 5)]
    for narrow, wide in pairwise(found):
        rest = iter(wide)
        assert all(head in rest for head in narrow)


def test_bars_are_pictures() -> None:
    for form, view, pictures in (("table", View(), "█"), ("table", View(glyphs=ASCII), "=="), ("plain", View(), "")):
        out = rendered(form, grad_signal().signal, view)
        assert (pictures in out) if pictures else not re.search("[█▏]|==", out)
        assert "1e-5     1" in out or form == "plain"


def test_vanishing_is_seen() -> None:
    """Forward every bar is shorter than the one before, backward longer."""
    rows = [
        line
        for line in rendered("table", grad_signal().signal, View(width=80)).split("\n")
        if "▏" in line or "█" in line
    ]
    pairs = [re.findall("[▏▎▍▌▋▊▉█]+", row) for row in rows]
    assert len(pairs) == 12
    eighths = [[8 * len(bar[:-1]) + "▏▎▍▌▋▊▉█".index(bar[-1]) for bar in pair] for pair in pairs]
    assert [forward for forward, _ in eighths] == sorted({forward for forward, _ in eighths}, reverse=True)
    assert [backward for _, backward in eighths] == sorted({backward for _, backward in eighths})


@pytest.mark.parametrize(
    ("width", "layers", "left_out"), [(80, 40, None), (80, 41, "… 1 more layer"), (None, 99, None)]
)
def test_a_terminal_leaves_out_the_middle_of_very_many(width: int | None, layers: int, left_out: str | None) -> None:
    out = rendered("table", relu_net(layers, 1.0, 256, "steady"), View(width=width))
    rows = [int(number) for number in re.findall(r"^ +(\d+)  \d+ ", out, re.MULTILINE)]
    assert (left_out in out) if left_out else "more layer" not in out
    assert rows == [at for at in range(1, layers + 1) if not left_out or at != 21]


def test_the_signal_takes_the_place_of_the_layers() -> None:
    """And where nothing could be followed, its notes are there all the same."""
    empty = rendered("table", Signal(1, notes=("a loop over the data",)), View())
    assert "no layers\n" in empty and "note      a loop over the data\n" in empty
    for form in ("table", "markdown"):
        assert "layer" not in rendered(form, Signal(1), View()).replace("no layers", "")


def test_the_legend_is_there_where_it_fits_one_line() -> None:
    for width, there in ((80, False), (len(LEGEND) - 1, False), (len(LEGEND), True), (None, True)):
        assert ("1 keeps the size" in rendered("table", grad_signal().signal, View(width=width))) is there


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("80", View(width=80, histograms=True)),
        ("pipe", View(histograms=True)),
        ("ascii", View(glyphs=ASCII, histograms=True)),
        ("plain", View(histograms=True)),
    ],
)
def test_histograms_on_request(name: str, view: View, golden: Callable[[str, str], None]) -> None:
    form = "plain" if name == "plain" else "table"
    golden(f"signal.histograms.{name}.txt", rendered(form, grad_signal().signal, view))


def test_without_histograms_none_are_drawn() -> None:
    bare = net(layer(1))
    assert rendered("table", bare, View(histograms=True)) == rendered("table", bare, View())
    assert "histogram" not in rendered("table", grad_signal().signal, View())


def test_markdown_and_html_have_every_figure() -> None:
    for form in ("markdown", "html"):
        out = rendered(form, grad_signal_mixed().signal, View())
        for head in (
            "pre-activation expected factor",
            "gradient expected norm",
            "dead share",
            "samples rank",
            "remark",
        ):
            assert out.count(head) == 1
        assert "both factors off" in out and "12.5%" in out
    assert rendered("html", grad_signal_long().signal, View()).count("<tr>") == 3 + 1 + 45


def test_csv_has_a_row_a_tensor_as_ever() -> None:
    assert rendered("csv", grad_signal().signal, View()).count("\n") == 1 + 12


def test_several_outputs_of_a_layer_are_told_apart() -> None:
    rows = (layer(None, output="output"), layer(None, output="h_n"), layer(2))
    (table,) = signal_tables(net(*rows), View())
    names = [View().sentence(table.columns[0].cell(row)).strip() for row in table.rows]
    assert names == ["fcNone: output", "fcNone: h_n", "2  fc2"]


def test_layers_of_a_forward_that_failed_fold_as_well() -> None:
    """Twelve blocks of two layers, one of which is broken: it stays by itself, as what is beside it does."""
    names = [f"h.{block}.{part}" for block in range(12) for part in ("fc", "proj")]
    layers = [
        Layer(
            at, name, "Linear", LayerOut(0.0, 1.0 + at / 100, -2.0, 2.0, nan=3 if name == "h.7.fc" else 0), LayerGrad()
        )
        for at, name in enumerate(names)
    ]
    table = layers_table(layers, View())
    shown = [(row.name, len(row.layers)) for row in table.rows]
    assert shown == [("h.{{0..6},{8..11}}.fc", 11), ("h.{0..11}.proj", 12), ("h.7.fc", 1)]
    rms = next(column for column in table.columns if (column.group, column.head) == ("output", "rms"))
    assert [rms.cell(row) for row in table.rows] == ["1→1.220", "1.010→1.230", "1.140"]
    assert [len(row.layers) for row in layers_table(layers, View(fold=False)).rows] == [1] * 24
