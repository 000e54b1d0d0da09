"""Expectations over Gaussians of functions with known breakpoints, roots, and what numpy lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Final

import numpy as np

from paraminspect.theory.form import PIECEWISE_LINEAR, Array, Form, Function

# --- expectations over one Gaussian, and over two correlated ones --------------------------------------------
#
# Gauss–Legendre on panels that end at the breakpoints, out to twelve standard deviations; for two Gaussians on axes
# turned by 45°, along which the breakpoints of both are straight lines. Smooth functions of two Gaussians take the
# trapezoidal rule, which converges exponentially there (Trefethen & Weideman 2014).

_REACH: Final = 12.0
_PANELS: Final = (0.0, 1.5, 3.0, 5.0, 8.0, 12.0)
_BENDS: Final = (1.0, 3.0, 10.0, 30.0, 200.0, 2e3, 2e4)
_STEEP: Final = 3.0
_NODES: Final = 20
_PLANE_REACH: Final = 9.0
_PLANE_PANELS: Final = (0.0, 1.5, 4.0, 9.0)
_PLANE_NODES: Final = 12


@cache
def _legendre(nodes: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Gauss–Legendre on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return (x + 1.0) / 2.0, w / 2.0


def _mirrored(points: Iterable[float]) -> set[float]:
    return {sign * point for point in points for sign in (-1.0, 1.0)}


def _bends(form: Form, root: float) -> set[float]:
    """Return where, in z, further panels should end: around 0 where φ bends within a small part of √q."""
    if form.width == PIECEWISE_LINEAR or root <= _STEEP * form.width:
        return set()
    return _mirrored(form.width * bend for bend in _BENDS if form.width * bend < _PLANE_REACH * root)


def line(form: Form, q: float) -> tuple[Array, Array]:
    """Return points z and weights w such that Σ w·f(z) is E f(√q ξ), for f made of φ and φ'; q above 0."""
    root = math.sqrt(q)
    turns = {turn / root for turn in {*form.breakpoints, *_bends(form, root)} if abs(turn) < _REACH * root}
    xi, weights = _rule(tuple(sorted(turns)))
    return root * xi, weights


@lru_cache(maxsize=256)
def _rule(turns: tuple[float, ...]) -> tuple[Array, Array]:
    """Return the nodes and weights for a standard normal; most activations turn at 0 alone, and share one rule."""
    xi, weights = _composite(np.array(sorted({*_mirrored(_PANELS), *turns})), _NODES)
    weights = weights * _density(xi)
    xi.flags.writeable = weights.flags.writeable = False
    return xi, weights


def _composite(edges: Array, nodes: int) -> tuple[Array, Array]:
    """Return nodes and weights on the panels between neighbouring edges, along the last axis."""
    x, w = _legendre(nodes)
    start, length = edges[..., :-1, None], np.diff(edges)[..., None]
    shape = (*edges.shape[:-1], -1)
    return (start + length * x).reshape(shape), (length * w).reshape(shape)


def _density(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def plane(form: Form, function: Function, q: float, k: float) -> float:
    """Return E f(u₁)f(u₂), `function` being the form's φ or φ', for 0 < q and −q < k < q.

    u₁, u₂ = √q(ax ± by) with a, b = √((1 ± c)/2), c = k/q, and x, y independent. For c < 0 the sign of u₂ is turned,
    which makes the second function one of the mirrored argument and the correlation positive.
    """
    root, c, sign = math.sqrt(q), abs(k / q), math.copysign(1.0, k)
    a, b = math.sqrt((1.0 + c) / 2.0), math.sqrt((1.0 - c) / 2.0)
    if not form.breakpoints and root <= _STEEP * form.width:
        x, wx, y, wy = _lattice(form.width, root * a, root * b)
    else:
        x, wx, y, wy = _cells(form, root, sign, a, b)
    first = function(root * (a * x + b * y))
    second = function(sign * root * (a * x - b * y))
    return float(((first * second * wx).sum(axis=1) * wy).sum())


def _lattice(width: float, along: float, across: float) -> tuple[Array, Array, Array, Array]:
    """Return the points and weights of the trapezoidal rule for a function without a pole within π/2·width of the axis.

    The error exp(−2πd/h + d²/2), d being the distance of the pole in standard deviations, is held at 1e-13.
    """
    x, wx = _trapezoid(width, along)
    y, wy = _trapezoid(width, across)
    return x[None, :], wx[None, :], y[:, None], wy


def _trapezoid(width: float, scale: float) -> tuple[Array, Array]:
    distance = min(0.5 * math.pi * width / scale, 5.0) if scale > 0.0 else 5.0
    step = 2.0 * math.pi * distance / (30.0 + distance**2 / 2.0)
    half = math.ceil(_PLANE_REACH / step)
    x = np.linspace(-half * step, half * step, 2 * half + 1)
    return x, step * _density(x)


def _cells(form: Form, root: float, sign: float, a: float, b: float) -> tuple[Array, Array, Array, Array]:
    """Return points and weights on cells that the breakpoints of u₁ and of u₂ bound; x has a row for every y.

    Rows end where breakpoints cross. With u₂ not mirrored the integrand is even in y, and half of the rows will do.
    """
    bends = _bends(form, root)
    crossings = {(f - sign * s) / 2.0 for f in form.breakpoints for s in form.breakpoints} | bends
    half = sign > 0
    edges = _PLANE_PANELS if half else _mirrored(_PLANE_PANELS)
    rows = {one / (root * b) for one in crossings if abs(one) < _PLANE_REACH * root * b and not (half and one < 0)}
    y, wy = _composite(np.array(sorted({*edges, *rows})), _PLANE_NODES)
    first = np.array(sorted({*form.breakpoints, *bends})) / root
    shift = b * y[:, None]
    turns = np.clip(np.hstack([first - shift, sign * first + shift]) / a, -_PLANE_REACH, _PLANE_REACH)
    frame = np.broadcast_to(sorted(_mirrored(_PLANE_PANELS)), (len(y), 2 * len(_PLANE_PANELS) - 1))
    x, wx = _composite(np.sort(np.hstack([frame, turns]), axis=1), _PLANE_NODES)
    return x, wx * _density(x), y[:, None], wy * _density(y) * (2.0 if half else 1.0)


# --- roots of a function of one variable -----------------------------------------------------------------


_MOST_ROUNDS = 100


def root(function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-13) -> float:
    """Return x in [low, high] with function(x) = 0, to `tolerance` of max(1, |x|).

    The signs at the ends must differ; where rounding hides that they do, the end that is nearer to 0 is returned.
    Regula falsi in the Illinois form: an end that stays for two rounds counts half (Dowell & Jarratt 1971).
    """
    left, right = function(low), function(high)
    if left == 0.0 or right == 0.0 or (left > 0.0) == (right > 0.0):
        return low if abs(left) <= abs(right) else high
    kept = 0
    for _ in range(_MOST_ROUNDS):
        middle = high - right * (high - low) / (right - left)
        value = function(middle)
        if value == 0.0 or abs(high - low) <= tolerance * max(1.0, abs(middle)):
            return middle
        if (value > 0.0) == (right > 0.0):
            high, right = middle, value
            left = left / 2.0 if kept == 1 else left
            kept = 1
        else:
            low, left = middle, value
            right = right / 2.0 if kept == -1 else right
            kept = -1
    return (low + high) / 2.0


def positive_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the root between two positive points, found on a logarithmic axis."""
    return math.exp(root(lambda x: function(math.exp(x)), math.log(low), math.log(high)))


# --- functions that numpy lacks --------------------------------------------------------------------------


def erf(z: Array) -> Array:
    """Return the error function of every element, as exact as the standard library's."""
    flat = np.asarray(z, dtype=float)
    return np.fromiter(map(math.erf, flat.ravel().tolist()), float, flat.size).reshape(flat.shape)


def logistic(z: Array) -> Array:
    """Return 1/(1 + exp(−z)), which a tanh gives without overflow; to 1e-16 of 1, not of itself, where it is small."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def normal_cdf(x: float) -> float:
    """Return P(ξ < x) for a standard normal ξ, exact also far in the lower tail."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
