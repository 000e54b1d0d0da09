"""Is theory fast enough to be asked in a loop? Milliseconds for 100 layers, microseconds a moment, nothing remembered.

python -m tests.benchmarks.theory

It exits with 1 when 100 layers of q, cosines and gradient factors take more than 50 ms, or a moment more than 100 µs.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

from paraminspect import theory
from paraminspect.theory import fixed_points, gaussian_moments
from tests.benchmarks.timing import in_turn

LAYERS = 100
LAYERS_LIMIT = 0.050
MOMENT_LIMIT = 100e-6
NAMES = ("relu", "tanh", "gelu", "silu", "elu", "selu", "hardtanh")
FRESH = itertools.count(1)


def variances() -> Iterator[float]:
    """Yield variances that were not asked for before."""
    for number in FRESH:
        yield 1.0 + 1e-7 * number


def layers(name: str) -> Callable[[], None]:
    """Return a way that follows the signal at variances of its own, so that no moment is remembered."""
    fresh = variances()

    def way() -> None:
        setting = {"sigma_w2": 1.5 * next(fresh), "sigma_b2": 0.05, "depth": LAYERS}
        theory.propagate(name, **setting)
        theory.cosines(name, **setting)
        theory.gradient_factors(name, **setting)

    return way


def fixed(name: str) -> Callable[[], None]:
    fresh = variances()
    return lambda: fixed_points.fixed_point(name, sigma_w2=1.5 * next(fresh), sigma_b2=0.05) and None


def moment(function: gaussian_moments.Moment, name: str, calls: int = 100) -> Callable[[], None]:
    fresh = variances()

    def way() -> None:
        for _ in range(calls):
            function(name, next(fresh))

    return way


def pair(name: str, calls: int = 20) -> Callable[[], None]:
    fresh = variances()

    def way() -> None:
        for _ in range(calls):
            q = next(fresh)
            theory.pair_moment(name, q, 0.6 * q)

    return way


def main() -> int:
    within = True
    print(f"{'':<10}{f'{LAYERS} layers':>12}{'fixed point':>13}{'second moment':>15}{'slope moment':>14}{'pair':>10}")
    for name in NAMES:
        seconds = in_turn(
            {
                "layers": layers(name),
                "fixed": fixed(name),
                "second": moment(theory.second_moment, name),
                "slope": moment(theory.slope_moment, name),
                "pair": pair(name),
            },
            rounds=9,
        )
        second, slope, both = seconds["second"] / 100, seconds["slope"] / 100, seconds["pair"] / 20
        within &= seconds["layers"] <= LAYERS_LIMIT and max(second, slope) <= MOMENT_LIMIT
        print(
            f"{name:<10}{seconds['layers'] * 1e3:9.2f} ms{seconds['fixed'] * 1e3:10.2f} ms"
            f"{second * 1e6:12.1f} µs{slope * 1e6:11.1f} µs{both * 1e6:7.1f} µs"
        )
    print(f"limits: {LAYERS_LIMIT * 1e3:.0f} ms for the layers, {MOMENT_LIMIT * 1e6:.0f} µs a moment")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
