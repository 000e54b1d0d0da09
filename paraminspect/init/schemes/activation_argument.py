"""An activation as an argument of a scheme: ``gelu``, or with arguments of its own ``elu:alpha=0.5``.

Several of these are parted by semicolons, for commas part the scheme's: ``hardtanh:min_val=-2;max_val=2``. What follows
from an activation is asked of the theory, which is imported, and numpy with it, only then.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError
from paraminspect.init.schemes.scheme import AUTO

if TYPE_CHECKING:
    from paraminspect.theory import Activation
    from paraminspect.theory.criticality import Keep


def check(value: Any) -> None:
    """Raise UserError unless `value` is ``auto`` or an activation that the theory knows, with arguments it takes."""
    if not isinstance(value, str):
        raise UserError(f"{value!r} is not the name of an activation", hint="e.g. gelu", code="bad-argument")
    if value != AUTO:
        _activation(value)


@cache
def gain(text: str, keep: Keep) -> float:
    """Return 1/√E[φ(z)²] (`keep` is ``second_moment``) or 1/√E[φ'(z)²] (``gradient``) for z ~ N(0, 1)."""
    from paraminspect import theory

    return theory.gain(_closed(text), keep=keep)


@cache
def critical(text: str, sigma_b2: float | None) -> tuple[float, float]:
    """Return (σw², σb²) for which χ₁ = 1; without `sigma_b2` the activation's own critical point.

    Raises UserError where there is none.
    """
    from paraminspect import theory

    found = theory.critical(_closed(text), sigma_b2=sigma_b2)
    return found.sigma_w2, found.sigma_b2


def _closed(text: str) -> Activation:
    """Return the activation; raises UserError for ``auto``, which only a model can tell."""
    if text == AUTO:
        message = f"nonlinearity={AUTO} is read off a model, and there is none"
        raise UserError(message, hint="name the activation, e.g. nonlinearity=tanh", code="unknown-activation")
    return _activation(text)


@cache
def _activation(text: str) -> Activation:
    from paraminspect import theory
    from paraminspect.init.schemes.scheme_text import parse_scheme

    name, args = parse_scheme(text.replace(";", ","), "")
    return theory.activation(name, **args)
