"""Functions that are small near zero."""

from __future__ import annotations

from typing import Final

import numpy as np

from paraminspect.theory.form import PIECEWISE_LINEAR, Definition, Form


def _hardshrink(lambd: float) -> Form:
    return Form(
        lambda z: np.where(np.abs(z) > lambd, z, 0.0),
        lambda z: np.where(np.abs(z) > lambd, 1.0, 0.0),
        tuple({-lambd, lambd}),
        PIECEWISE_LINEAR,
    )


def _softshrink(lambd: float) -> Form:
    return Form(
        lambda z: z - np.clip(z, -lambd, lambd),
        lambda z: np.where(np.abs(z) > lambd, 1.0, 0.0),
        tuple({-lambd, lambd}),
        PIECEWISE_LINEAR,
    )


def _lambd_fault(lambd: float) -> str:
    return "" if lambd >= 0 else f"lambd must be at least 0, got {lambd:g}"


def _tanhshrink() -> Form:
    return Form(lambda z: z - np.tanh(z), lambda z: np.tanh(z) ** 2)


DEFINITIONS: Final = (
    Definition("hardshrink", _hardshrink, {"lambd": 0.5}, _lambd_fault),
    Definition("softshrink", _softshrink, {"lambd": 0.5}, _lambd_fault),
    Definition("tanhshrink", _tanhshrink),
)
