"""All that theory says of one activation and one choice of variances, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from paraminspect.frozen import dataclass
from paraminspect.theory.activations import Spelled, activation
from paraminspect.theory.checks import TheoryError, finite
from paraminspect.theory.criticality import Critical, Keep, critical, gain, torch_gain
from paraminspect.theory.dynamics import cosines, gradient_factors, propagate
from paraminspect.theory.fixed_points import FixedPoint, fixed_point, regime
from paraminspect.theory.form import Activation, Setting
from paraminspect.theory.gaussian_moments import expectation, mean, second_moment, slope_moment


@dataclass(frozen=True)
class Trajectory:
    """Hold the signal in layers 1, 2, …: q, the cosine of two inputs, squared gradients beside the last layer's."""

    propagate: tuple[float, ...]
    cosines: tuple[float, ...]
    gradients: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """Hold an activation's moments at q = 1, gains and critical point; with σw² the fixed point; with a depth the way.

    `critical` is None where there is none, and `no_critical` says why; it is `canonical` unless σb² was given.
    """

    activation: str
    params: Mapping[str, Setting]
    moments: Mapping[str, float]
    gains: Mapping[str, float | None]
    critical: Critical | None
    no_critical: str = ""
    canonical: bool = True
    sigma_w2: float | None = None
    sigma_b2: float | None = None
    q0: float = 1.0
    point: FixedPoint | None = None
    regime: str | None = None
    course: Trajectory | None = None


def summarise(
    which: Spelled,
    *,
    sigma_w2: float | None = None,
    sigma_b2: float | None = None,
    q0: float = 1.0,
    depth: int | None = None,
    **params: Any,
) -> Summary:
    """Return everything about an activation; the critical point is the one on the line of `sigma_b2` where it is given.

    The course is that of inputs of second moment `q0`, its cosine that of two orthogonal ones.
    Raises TheoryError as the functions that it calls do, and for a depth without σw².
    """
    act = activation(which, **params)
    if sigma_w2 is None and depth is not None:
        message = "a course through depth needs the variance of the weights"
        raise TheoryError(message, where="depth", hint="give sigma_w2 too", code="missing-argument")
    crossing, reason = _critical(act, sigma_b2)
    bias, start = finite("sigma_b2", 0.0 if sigma_b2 is None else sigma_b2), finite("q0", q0)
    point = None if sigma_w2 is None else fixed_point(act, sigma_w2=sigma_w2, sigma_b2=bias, q0=start)
    return Summary(
        activation=act.name,
        params=dict(act.params),
        moments=_moments(act),
        gains={**{keep: _gain(act, keep) for keep in get_args(Keep)}, "torch": torch_gain(act)},
        critical=crossing,
        no_critical=reason,
        canonical=sigma_b2 is None,
        sigma_w2=None if sigma_w2 is None else float(sigma_w2),
        sigma_b2=bias if sigma_w2 is not None or sigma_b2 is not None else None,
        q0=start,
        point=point,
        regime=None if point is None else regime(point.chi1),
        course=None if sigma_w2 is None or depth is None else _course(act, sigma_w2, bias, start, depth),
    )


def _moments(act: Activation) -> dict[str, float]:
    return {
        "mean": mean(act, 1.0),
        "second_moment": second_moment(act, 1.0),
        "mean_slope": expectation(act, act.derivative, 1.0),
        "slope_moment": slope_moment(act, 1.0),
        "cross_moment": expectation(act, lambda z: act.phi(z) * act.derivative(z), 1.0),
    }


def _gain(act: Activation, keep: Keep) -> float | None:
    try:
        return gain(act, keep)
    except TheoryError:
        return None


def _critical(act: Activation, sigma_b2: float | None) -> tuple[Critical | None, str]:
    if sigma_b2 is not None:
        finite("sigma_b2", sigma_b2)
    try:
        return critical(act, sigma_b2=sigma_b2), ""
    except TheoryError as error:
        return None, "; ".join(filter(None, [error.message, error.hint]))


def _course(act: Activation, sigma_w2: float, sigma_b2: float, q0: float, depth: int) -> Trajectory:
    q = propagate(act, sigma_w2=sigma_w2, sigma_b2=sigma_b2, depth=depth, q0=q0)
    c = cosines(act, sigma_w2=sigma_w2, sigma_b2=sigma_b2, depth=depth, q0=q0)
    factors = gradient_factors(act, sigma_w2=sigma_w2, sigma_b2=sigma_b2, depth=depth, q0=q0)
    with np.errstate(over="ignore", under="ignore"):
        gradients = np.cumprod([1.0, *factors[::-1]])[::-1] if depth else factors
    return Trajectory(tuple(q.tolist()), tuple(c.tolist()), tuple(gradients.tolist()))
