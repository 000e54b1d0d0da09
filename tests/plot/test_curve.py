"""The figures behind a picture, against formulas written out here."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paraminspect.plot.curve import Curve, activation, gradient, pre_activation
from paraminspect.report import Signal, SignalExpected, SignalLayer, SignalMoments

nan = math.nan


def layer(depth: int | None, rms: float | None, grad: float | None = 1.0, **changes: object) -> SignalLayer:
    told: dict[str, object] = {"tolerance": 0.4, "expected": SignalExpected(SignalMoments(0.0, 10.0), grad_norm=0.1)}
    return SignalLayer(
        0,
        "fc",
        "Linear",
        depth,
        pre=SignalMoments(0.0, rms),
        out=SignalMoments(0.0, rms),
        grad_norm=grad,
        **told | changes,
    )


def test_a_curve_is_in_decades_and_its_band_widens_with_every_layer_passed() -> None:
    """Tolerances of the second moment add up as independent ones do; the rms is its root, so half of that."""
    signal = Signal(1, layers=(layer(1, 1.0), layer(2, 10.0), layer(3, 1000.0)))
    spread = [0.5 * math.sqrt(n * 0.4**2) / math.log(10) for n in (1, 2, 3)]
    assert pre_activation(signal) == Curve(
        (1, 2, 3),
        (0.0, 1.0, 3.0),
        (1.0, 1.0, 1.0),
        tuple(pytest.approx(1 - one) for one in spread),
        tuple(pytest.approx(1 + one) for one in spread),
    )


def test_backward_the_band_widens_towards_the_input_from_nothing_at_the_end() -> None:
    signal = Signal(1, layers=(layer(1, 1.0, 0.1), layer(2, 1.0, 1.0), layer(3, 1.0, 10.0)))
    spread = [0.5 * math.sqrt(n * 0.4**2) / math.log(10) for n in (2, 1, 0)]
    curve = gradient(signal)
    assert (curve.depths, curve.measured, curve.expected) == ((1, 2, 3), (-1.0, 0.0, 1.0), (-1.0, -1.0, -1.0))
    assert curve.high == tuple(pytest.approx(-1 + one) for one in spread)
    assert curve.low == tuple(pytest.approx(-1 - one) for one in spread)


@pytest.mark.parametrize("tolerance", [None, math.inf, nan])
def test_a_layer_without_a_tolerance_widens_nothing(tolerance: float | None) -> None:
    signal = Signal(1, layers=(layer(1, 1.0), layer(2, 1.0, tolerance=tolerance)))
    curve = pre_activation(signal)
    assert curve.high[0] == curve.high[1] > 1


def test_what_a_logarithm_cannot_show_has_a_sign_of_its_own() -> None:
    values = (0.0, nan, math.inf, None, 1e-320, 1e308)
    curve = pre_activation(Signal(1, layers=tuple(layer(at, value) for at, value in enumerate(values, 1))))
    assert [None if math.isnan(value) else value for value in curve.measured] == [None] * 4 + [-300.0, 300.0]
    assert (curve.zeros, curve.broken) == ((1,), (2, 3))
    assert curve.reach == [-300.0, 300.0] + [1.0] * 6


def test_branches_are_left_out_unless_there_is_nothing_else() -> None:
    some = Signal(1, layers=(layer(1, 1.0), layer(None, 5.0), layer(2, 10.0)))
    none = Signal(1, layers=(layer(None, 1.0), layer(None, 10.0)))
    assert (pre_activation(some).depths, pre_activation(some).measured) == ((1, 2), (0.0, 1.0))
    assert (pre_activation(none).depths, pre_activation(none).measured) == ((1, 2), (0.0, 1.0))


def test_activations_are_those_of_layers_that_have_one() -> None:
    acting = layer(1, 1.0, activation="relu")
    zero = layer(2, 0.0, activation="relu")
    curve = activation(Signal(1, layers=(acting, zero, replace(zero, depth=3, activation=None))))
    assert (curve.measured[0], curve.zeros) == (0.0, (2,))
    assert math.isnan(curve.measured[1]) and math.isnan(curve.measured[2]) and math.isnan(curve.expected[0])
