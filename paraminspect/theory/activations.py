"""An activation by its name in torch, or any function of numpy arrays, whose derivative differences give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from paraminspect.errors import did_you_mean
from paraminspect.theory.checks import TheoryError, number
from paraminspect.theory.families import gated, rectified, sigmoidal
from paraminspect.theory.form import Activation, Array, Definition, Function, Setting

Spelled = str | Activation | Callable[[Any], Any]
"""What names an activation: torch's name of it, one made before, or a function of arrays."""

_ALL: Final = (
    *rectified.DEFINITIONS,
    *sigmoidal.DEFINITIONS,
    *gated.DEFINITIONS,
)
NAMES: Final = tuple(definition.name for definition in _ALL)
"""The names of all activations, as torch.nn.functional has them."""


def _folded(name: str) -> str:
    """Return a name without what sets LeakyReLU, leaky_relu and leaky_relu_ apart."""
    return name.replace("_", "").lower()


_BY_NAME: Final = {_folded(name): one for one in _ALL for name in (one.name, *one.others)}
_LARGEST_SETTING: Final = 1e9
"""Of a parameter: fourth powers of it still leave room for those of q."""


def known(name: str) -> bool:
    """Tell whether `activation` knows the name: torch.nn's class names and torch.nn.functional's function names."""
    return _folded(name) in _BY_NAME


def activation(
    which: Spelled,
    *,
    derivative: Callable[[Any], Any] | None = None,
    breakpoints: Iterable[float] | None = None,
    **params: Any,
) -> Activation:
    """Return the activation of a name and torch's own parameters, or make one of a function of numpy arrays.

    ``activation("leaky_relu", negative_slope=0.1)``, ``activation("LeakyReLU")``, ``activation(np.sinh)``. All
    elementwise activations of torch.nn are known (RReLU as in evaluation, PReLU by its `init`), and linear, erf, atan,
    sin and cos. A function takes an array and returns one of the same shape. Its `breakpoints` are where it or its
    derivative jumps, by default 0 alone; what is not named there costs accuracy. Without `derivative`, differences of
    fourth order that keep to one side of a breakpoint give it to about 1e-11.

    Raises TheoryError for an unknown name or parameter, a value out of its range, and a function that is not
    elementwise, raises, or gives NaN.
    """
    if isinstance(which, str):
        if derivative is not None or breakpoints is not None:
            message = f"derivative and breakpoints are for a function, not for {which!r}, whose own are known"
            raise TheoryError(message, where="activation", code="unknown-argument")
        return _named(which, tuple(params.items()))
    if params:
        message = f"{next(iter(params))!r} is a parameter of a named activation, not of a function or one made before"
        raise TheoryError(message, where="activation", code="unknown-argument")
    if isinstance(which, Activation) and derivative is None and breakpoints is None:
        return which
    if not callable(which):
        message = f"an activation is a name or a function of arrays, got {type(which).__name__}"
        raise TheoryError(message, where="activation", code="bad-argument")
    kinks = (0.0,) if breakpoints is None else tuple(sorted({number("breakpoints", point) for point in breakpoints}))
    try:
        return _of_function(which, derivative, kinks)
    except TypeError:  # a callable that cannot be hashed
        return _of_function.__wrapped__(which, derivative, kinks)


@lru_cache(maxsize=256)
def _named(name: str, params: tuple[tuple[str, Setting], ...]) -> Activation:
    definition = _BY_NAME.get(_folded(name))
    if definition is None:
        others = [other for one in _ALL for other in one.others]
        hint = did_you_mean(name, [*NAMES, *others]) or f"known: {', '.join(sorted(NAMES))}; in Python any function"
        raise TheoryError(f"unknown activation {name!r}", where="activation", hint=hint, code="unknown-activation")
    settings = _settings(definition, {definition.spellings.get(key, key): value for key, value in params})
    fault = definition.fault(**settings)
    if fault:
        raise TheoryError(f"{definition.name}: {fault}", where="activation", code="bad-argument")
    form = definition.build(**settings)
    return Activation(**vars(form), name=definition.name, params=MappingProxyType(settings))


def _settings(definition: Definition, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return every parameter of the definition with its value."""
    for key in given:
        if key not in definition.parameters:
            takes = f"{definition.name} takes {', '.join(definition.parameters) or 'no parameters'}"
            message = f"{definition.name} has no parameter {key!r}"
            raise TheoryError(message, where="activation", hint=takes, code="unknown-argument")
    return {key: _setting(definition, key, given.get(key, default)) for key, default in definition.parameters.items()}


def _setting(definition: Definition, key: str, value: Setting | None) -> Setting:
    if value is None:
        hint = f"{definition.name} takes {', '.join(definition.parameters)}"
        raise TheoryError(f"{definition.name} needs {key}", where="activation", hint=hint, code="missing-argument")
    if isinstance(definition.parameters[key], str):
        return str(value)
    found = number(f"{definition.name}: {key}", value)
    if abs(found) <= _LARGEST_SETTING:
        return found
    if key in definition.bounds:
        return math.copysign(math.inf, found)
    message = f"{definition.name}: {key} must lie within ±{_LARGEST_SETTING:g}, got {found:g}"
    raise TheoryError(message, where="activation", code="bad-argument")


@lru_cache(maxsize=64)
def _of_function(
    function: Callable[[Any], Any], derivative: Callable[[Any], Any] | None, breakpoints: tuple[float, ...]
) -> Activation:
    name = getattr(function, "__name__", type(function).__name__)
    phi = function.phi if isinstance(function, Activation) else _checked(function, name)
    slope = difference(phi, breakpoints) if derivative is None else _checked(derivative, f"derivative of {name}")
    return Activation(phi, slope, breakpoints, name=name)


def _checked(function: Callable[[Any], Any], name: str) -> Function:
    """Return `function` as one from arrays to float64 arrays, after trying it on a few numbers."""

    def phi(z: Array) -> Array:
        return np.asarray(function(z), dtype=float)

    probe = np.linspace(-2.0, 2.0, 8).reshape(2, 4)
    try:
        found = phi(probe)
    except Exception as error:
        message = f"{name} raised {type(error).__name__} on an array: {error}"
        hint = "it must be a function of numpy arrays; torch's activations go by their names, as 'tanh'"
        raise TheoryError(message, where="activation", hint=hint, code="bad-activation") from error
    if found.shape == probe.shape and not np.isnan(found).any():
        return phi
    fault = "gives NaN" if found.shape == probe.shape else f"gives shape {found.shape} for shape {probe.shape}"
    raise TheoryError(f"{name} is no elementwise function: it {fault}", where="activation", code="bad-activation")


# --- the derivative of a function that is only given by its values ---------------------------------------


_STEP = 1e-3
_WIDER = 100.0
_CENTRAL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
_FORWARD = ((0, -25 / 12), (1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4))


def difference(function: Function, breakpoints: tuple[float, ...]) -> Function:
    """Return the derivative by differences of fourth order (Abramowitz & Stegun 25.3.6 and, one-sided, 25.3).

    Steps are 1e-3, wider beyond |z| = 100 for the sake of the digits, and smaller between close breakpoints: the error
    is about 1e-12 of the fifth derivative and 1e-12 of φ. Where the central difference would reach over a breakpoint,
    the one-sided one away from it is taken.
    """
    kinks = np.array(breakpoints)
    gap = float(np.diff(kinks).min()) if len(kinks) > 1 else np.inf
    step = min(_STEP, gap / 8.0)

    def derivative(z: Array) -> Array:
        z = np.asarray(z, dtype=float)
        h = step * np.maximum(1.0, np.abs(z) / _WIDER)
        away = _direction(z, h, kinks)
        central = sum((weight * function(z + offset * h) for offset, weight in _CENTRAL), np.zeros_like(z)) / h
        if not away.any():
            return central
        h = h * np.where(away == 0.0, 1.0, away)
        sided = sum((weight * function(z + offset * h) for offset, weight in _FORWARD), np.zeros_like(z)) / h
        return np.where(away == 0.0, central, sided)

    return derivative


def _direction(z: Array, h: Array, kinks: Array) -> Array:
    """Return +1 or −1, away from a breakpoint within two steps, and 0 where there is none."""
    if not len(kinks):
        return np.zeros_like(z)
    nearest = kinks[np.abs(z[..., None] - kinks).argmin(axis=-1)]
    return np.where(np.abs(z - nearest) < 2.0 * h, np.where(z > nearest, 1.0, -1.0), 0.0)
