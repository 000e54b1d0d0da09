"""What the constructors of torch's own layers draw their parameters from. Nothing here imports torch."""

from __future__ import annotations

import math
import re
from typing import Final

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.fans import STACKED, fan_in_and_fan_out

_OUT_PROJ: Final = "NonDynamicallyQuantizableLinear"
_LINEAR: Final = frozenset({"Linear", _OUT_PROJ})
_GATES: Final = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+(_reverse)?)?")
_CONVOLUTIONS: Final = frozenset(f"Conv{kind}{n}d" for kind in ("", "Transpose") for n in (1, 2, 3))
_NORMS: Final = frozenset(
    {
        *(f"{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in (1, 2, 3)),
        "SyncBatchNorm",
        "LayerNorm",
        "GroupNorm",
        "RMSNorm",
    }
)


def default_moments(
    module_type: str, parameter: str, shape: tuple[int, ...], fan_in: int | None
) -> ExpectedMoments | None:
    """Return the moments that the constructor of `module_type` gives `parameter`, or None if that is not known.

    `module_type` is the class name, `parameter` the name within the module (``weight``, ``weight_ih_l0``); for a
    bias, `fan_in` is what `bias_fan_in` says of the weight beside it. The rules are those of each class's
    ``reset_parameters`` in torch 2.13. Left out: Embedding's padding row of zeros, and containers that initialise
    their children anew (nn.Transformer).
    """
    if module_type in _LINEAR | _CONVOLUTIONS or module_type == "Bilinear":
        return _linear(module_type, parameter, shape, fan_in)
    if module_type in _NORMS:
        return {"weight": expected_moments.constant(1.0), "bias": expected_moments.constant(0.0)}.get(parameter)
    if module_type in ("Embedding", "EmbeddingBag"):
        return expected_moments.normal(0.0, 1.0) if parameter == "weight" else None
    if module_type in STACKED:
        return _recurrent(module_type, parameter, shape)
    return _attention(parameter, shape) if module_type == "MultiheadAttention" else None


def bias_fan_in(module_type: str, weight_shape: tuple[int, ...]) -> int | None:
    """Return the fan_in that sets the default bias of a layer whose weight has this shape, or None.

    It is the weight's own, except in Bilinear, which counts its first input alone.
    """
    if len(weight_shape) < 2:
        return None
    return weight_shape[1] if module_type == "Bilinear" else fan_in_and_fan_out(weight_shape)[0]


def _linear(module_type: str, parameter: str, shape: tuple[int, ...], fan_in: int | None) -> ExpectedMoments | None:
    """Return U(±1/√fan_in) for weight and bias: kaiming_uniform with a = √5 comes to that bound.

    MultiheadAttention sets the bias of its out_proj, the one use of that class, to 0.
    """
    if parameter == "weight":
        fan_in = bias_fan_in(module_type, shape)
    elif module_type == _OUT_PROJ or (module_type == "Linear" and fan_in == 0):
        return expected_moments.constant(0.0)
    return _within_root(fan_in) if parameter in ("weight", "bias") else None


def _recurrent(module_type: str, parameter: str, shape: tuple[int, ...]) -> ExpectedMoments | None:
    """Return U(±1/√hidden_size) for every weight and bias; weight_hr projects (proj_size, hidden_size)."""
    if not shape or not _GATES.fullmatch(parameter):
        return None
    return _within_root(shape[-1] if parameter.startswith("weight_hr") else shape[0] // STACKED[module_type])


def _attention(parameter: str, shape: tuple[int, ...]) -> ExpectedMoments | None:
    """Return Xavier's moments for the input projections, which count as one matrix when packed."""
    if parameter == "in_proj_bias":
        return expected_moments.constant(0.0)
    if len(shape) < 2 or 0 in shape:
        return None
    xavier = math.sqrt(2.0 / sum(fan_in_and_fan_out(shape)))
    if parameter.endswith("proj_weight"):
        return expected_moments.symmetric_uniform(xavier)
    return expected_moments.normal(0.0, xavier) if parameter in ("bias_k", "bias_v") else None


def _within_root(n: int | None) -> ExpectedMoments | None:
    """Return the moments of U(−1/√n, 1/√n)."""
    return expected_moments.symmetric_uniform(1.0 / math.sqrt(3.0 * n)) if n else None
