"""What an activation is to theory: the function, its derivative, and what is known about both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt

from paraminspect.frozen import dataclass

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]
Setting = float | str
PIECEWISE_LINEAR = math.inf


@dataclass(frozen=True)
class Closed:
    """Hold the Gaussian moments of an activation that have closed forms.

    For centred Gaussians u₁, u₂ of variance q and covariance k, |k| ≤ q: `mean` is E φ(u₁), `pair` E φ(u₁)φ(u₂),
    `slope_pair` E φ'(u₁)φ'(u₂). Each is arranged so that nothing overflows or cancels from q = 0 to 1e300.
    """

    mean: Callable[[float], float]
    pair: Callable[[float, float], float]
    slope_pair: Callable[[float, float], float]


@dataclass(frozen=True)
class Form:
    """Describe a function: `phi`, its `derivative`, both elementwise on arrays, and where they are not smooth.

    `breakpoints` are the arguments at which φ or one of its derivatives jumps. `width` is the length over which φ
    bends between them, infinite when it is piecewise linear. `saturation` are the two arguments beyond which |φ'| is
    below a twentieth of its greatest value, None for a function that does not saturate on both sides.
    """

    phi: Function
    derivative: Function
    breakpoints: tuple[float, ...] = ()
    width: float = 1.0
    saturation: tuple[float, float] | None = None
    closed: Closed | None = None


@dataclass(frozen=True, eq=False)
class Activation(Form):
    """A Form with the name it goes by and its parameters."""

    name: str = ""
    params: Mapping[str, Setting] = field(default_factory=dict)


def no_fault(**params: Any) -> str:
    """Return an empty text, for an activation that takes any parameters."""
    return ""


def positive(name: str) -> Callable[..., str]:
    """Return the `fault` of an activation whose parameter `name` must be above 0."""
    return lambda **params: "" if params[name] > 0 else f"{name} must be above 0, got {params[name]:g}"


@dataclass(frozen=True)
class Definition:
    """Say how the activation `name` is made: its parameters with their defaults (None: must be given).

    `fault` returns what is wrong with the parameters, or an empty text. `others` are further names of the activation,
    `spellings` further names of a parameter. `bounds` are the parameters that cut an argument off: an infinite one cuts
    nothing off, and neither does one too large to be reached.
    """

    name: str
    build: Callable[..., Form]
    parameters: Mapping[str, Setting | None] = field(default_factory=dict)
    fault: Callable[..., str] = no_fault
    others: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[str, ...] = ()
