"""Literal comparisons of schemes."""

from __future__ import annotations

import math

from paraminspect.report import Comparison, Report, Signal, Trial
from tests.render.signals import relu_net, signal_report

FACTORS = {
    "default": 1 / 6,
    "xavier_normal": 0.5,
    "kaiming_normal": 1.0,
    "normal:std=0.01": 0.0128,
    "normal:std=1": 128.0,
}


def trial(
    scheme: str, width: int | None = None, depth: int | None = None, failed: bool = False, net: Signal | None = None
) -> Trial:
    factor = FACTORS.get(scheme, 0.9)
    verdict = "steady" if factor == 1 else "vanishing" if factor < 1 else "exploding"
    signal = None if failed else net or relu_net(depth or 12, factor, width or 256, verdict)
    return Trial(scheme, width, depth, signal, unsteadiness=None if failed else 2 * abs(math.log(factor)))


def compared(*schemes: str, failed: bool = False) -> Report:
    return of_trials(*(trial(scheme, failed=failed) for scheme in schemes))


def of_trials(*trials: Trial) -> Report:
    ranked = [one for one in trials if one.unsteadiness is not None]
    best = min(ranked, key=lambda one: one.unsteadiness).scheme if ranked else None
    return signal_report(None, command="compare", comparison=Comparison(3, trials, best, "because"))
