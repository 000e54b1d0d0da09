"""Literal signals: what a measurement could have found, made of formulas, the same everywhere."""

from __future__ import annotations

import math
from dataclasses import replace

from paraminspect.report import (
    Course,
    Environment,
    Forward,
    Gradient,
    Init,
    Model,
    Parameter,
    Report,
    Signal,
    SignalExpected,
    SignalHistogram,
    SignalLayer,
    SignalMoments,
    Source,
    TensorInfo,
    Totals,
)

BELL = (1, 3, 9, 20, 33, 41, 40, 31, 19, 8, 3, 1, 0, 0, 0, 1)
HALF = (120, 40, 20, 12, 8, 5, 3, 2, 1, 1, 0, 0, 0, 0, 0, 1)
ENVIRONMENT = Environment("0.1.0", "2.13.0", "3.11.7", "cpu", "float32", 0)
INPUT = TensorInfo(None, (64, 256), "float32", "cpu", "normal")


def wave(at: int, by: float = 0.03) -> float:
    """Return a factor near 1, as chance might give it."""
    return math.exp(by * math.sin(1.7 * at))


def relu_layer(at: int, depth: int, factor: float, width: int) -> SignalLayer:
    """Return layer `at` of a ReLU net whose second moments change by `factor` a layer, both ways."""
    last = at == depth
    pre, gradient = math.sqrt(2 * factor**at), 0.01 * math.sqrt(factor ** (depth - at))
    out = pre if last else pre / math.sqrt(2)
    return SignalLayer(
        index=at - 1,
        module=str(2 * at - 2),
        type="Linear",
        depth=at,
        activation=None if last else "relu",
        parameter=f"{2 * at - 2}.weight",
        fan_in=width,
        width=width,
        pre=SignalMoments(0.01 * pre * math.cos(at), pre * wave(at)),
        out=SignalMoments(0.4 * out, out * wave(at)),
        grad_norm=gradient * wave(at + 1),
        forward=None if at == 1 else factor * (wave(at) / wave(at - 1)) ** 2,
        backward=None if last else factor * (wave(at + 1) / wave(at + 2)) ** 2,
        tolerance=4 * math.sqrt(5 / (width * 3)),
        dead=None if last else 0.005 * (at - 1),
        symmetric=0,
        cosine=1 - 0.7 / at,
        rank=60 / at,
        expected=SignalExpected(
            SignalMoments(0.0, pre),
            SignalMoments(0.4 * out, out),
            forward=None if at == 1 else factor,
            backward=None if last else factor,
            dead=None if last else 0.005 * at,
            cosine=1 - 0.68 / at,
            grad_norm=gradient,
        ),
        pre_histogram=SignalHistogram(-3 * pre, 3 * pre, BELL),
        out_histogram=SignalHistogram(-3 * pre if last else 0.0, 3 * pre, BELL if last else HALF),
    )


def relu_net(depth: int = 12, factor: float = 1 / 6, width: int = 256, verdict: str = "vanishing") -> Signal:
    """Return the signal of a ReLU net of equal widths."""
    layers = tuple(relu_layer(at, depth, factor, width) for at in range(1, depth + 1))
    leaves = next((one.depth for one in layers if not 1e-3 <= one.pre.rms / layers[0].pre.rms <= 1e3), None)
    back = next((one.depth for one in layers[::-1] if not 1e-3 <= one.grad_norm / layers[-1].grad_norm <= 1e3), None)
    law = None if verdict == "steady" else "exponential"
    band = (0.89, 1.12)
    forward = Course(
        verdict, law, factor * 1.01, factor, *band, None, layers[0].pre.rms, layers[-1].pre.rms, leaves, False
    )
    backward = Course(
        verdict, law, factor * 0.99, factor, *band, None, layers[0].grad_norm, layers[-1].grad_norm, back, False
    )
    regime = "critical" if verdict == "steady" else "ordered" if factor < 1 else "chaotic"
    scale = None if factor == 1 else abs(1 / math.log(factor))
    return Signal(3, 64, 1.0, layers, forward, backward, regime, factor, None, scale, (depth - 1) / width)


def tanh_net() -> Signal:
    """Return what is hard to print: branches, broken and exact zeros, notes, laws that are not exponential."""
    tanh = replace(
        relu_layer(1, 4, 0.9, 16), activation="tanh", dead=None, saturated=0.125, module="stem", pre_histogram=None
    )
    expected = replace(tanh.expected, dead=None, saturated=0.0004)
    layers = (
        replace(tanh, expected=expected, symmetric=3),
        replace(relu_layer(2, 4, 0.9, 16), index=1, module="block.0", depth=None, note="runs twice"),
        SignalLayer(2, "block", "sum", 2, pre=SignalMoments(0.1, 1.4), out=SignalMoments(0.1, 1.4), grad_norm=0.0),
        replace(relu_layer(3, 4, 0.9, 16), index=3, module="", forward=9.5, backward=0.01, nonfinite=12),
        SignalLayer(4, "head", "Linear", 4, pre=SignalMoments(), grad_norm=None, nonfinite=1, note="runs twice"),
    )
    return Signal(
        1,
        None,
        None,
        layers,
        Course("steady", "power law", 0.95, None, 0.4, 2.5, -0.96, 1.3, 1.1, 41, True),
        Course("dead", None, None, None, None, None, None, 0.01, 0.0, 2, False),
        None,
        None,
        4.25,
        8.5,
        0.25,
        ("attention: the softmax was measured only",),
    )


def signal_report(signal: Signal | None, name: str = "deep-relu", command: str = "grad", **changes: object) -> Report:
    """Return a report of a net, with a row for each weight."""
    layers = signal.layers if signal else ()
    rows = tuple(
        Parameter(
            one.parameter,
            (),
            one.module,
            one.type,
            "parameter",
            (one.width, one.fan_in),
            "float32",
            one.width * one.fan_in,
            4 * one.width * one.fan_in,
            "cpu",
            True,
            at,
            at,
            gradient=Gradient("ok", 0.0, one.grad_norm, one.grad_norm, -1.0, 1.0, 1.0, 0, 0, 0),
            init=Init("kaiming_normal", {}, 0.0, 0.1, one.fan_in, one.width),
        )
        for at, one in enumerate(layers)
        if one.parameter
    )
    count = sum(row.numel for row in rows)
    told: dict[str, object] = {
        "model": Model("Sequential", "Sequential()"),
        "parameters": rows,
        "totals": Totals(count, count, 0, count, 4 * count, shown=count),
        "forward": Forward((INPUT,), (), 0.0123, "sum", True),
        "signal": signal,
    }
    return Report(command, Source("spec", name), ENVIRONMENT, **(told | changes))


def grad_signal() -> Report:
    """Vanishing, as torch's own constructors have it."""
    return signal_report(relu_net())


def grad_signal_mixed() -> Report:
    return signal_report(tanh_net(), "mixed")


def grad_signal_long() -> Report:
    """More layers than a terminal shows; each like the tenth, so that leaving some out changes no other line."""
    like = relu_layer(10, 45, 1.0, 64)
    layers = tuple(
        replace(like, index=at, module=f"layers.{at}", parameter=f"layers.{at}.weight", depth=at + 1)
        for at in range(45)
    )
    return signal_report(replace(relu_net(45, 1.0, 64, "steady"), layers=layers), "long")
