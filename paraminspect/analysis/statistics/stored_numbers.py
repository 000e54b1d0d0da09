"""The bytes of a tensor as numbers, with numpy alone: also of types that numpy does not have."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_SAME: Final = (
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_EIGHT_BITS: Final = {
    "float8_e4m3fn": (3, 7),
    "float8_e5m2": (2, 15),
    "float8_e4m3fnuz": (3, 8),
    "float8_e5m2fnuz": (2, 16),
    "float8_e8m0fnu": (0, 127),
}
"""How many bits of the mantissa are written, and what is taken off the exponent."""

EPS: Final = {
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float16": 2.0**-10,
    "complex32": 2.0**-10,
    "bfloat16": 2.0**-7,
    **{name: 2.0**-bits for name, (bits, _) in _EIGHT_BITS.items()},
}
"""The distance from 1 to the next number of a type."""


def width_of(dtype: str) -> int | None:
    """Return the bytes of an element whose numbers can be read, None of any other type."""
    if dtype in _SAME:
        return np.dtype(dtype).itemsize
    return {"bfloat16": 2, "complex32": 4, **dict.fromkeys(_EIGHT_BITS, 1)}.get(dtype)


def numbers(raw: Array, dtype: str) -> Array:
    """Return bytes as numbers of a type that holds each of them exactly: float32 for the shorter floats."""
    if dtype in _SAME:
        return raw.view(np.dtype(dtype))
    if dtype == "bfloat16":
        return (raw.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "complex32":
        return raw.view(np.float16).astype(np.float32).view(np.complex64)
    return _table(dtype)[raw.view(np.uint8)]


@cache
def _table(dtype: str) -> Array:
    """Return the number of each of the 256 bytes of an 8-bit float."""
    mantissa, bias = _EIGHT_BITS[dtype]
    return np.array([_eight_bits(byte, dtype, mantissa, bias) for byte in range(256)], np.float32)


def _eight_bits(byte: int, dtype: str, mantissa: int, bias: int) -> float:
    if dtype == "float8_e8m0fnu":
        return float("nan") if byte == 255 else 2.0 ** (byte - bias)
    sign = -1.0 if byte & 128 else 1.0
    exponent, fraction = (byte & 127) >> mantissa, byte & ((1 << mantissa) - 1)
    if dtype.endswith("fnuz"):
        if byte == 128:
            return float("nan")
    elif dtype.endswith("fn"):
        if byte & 127 == 127:
            return float("nan")
    elif exponent == 31:
        return float("nan") if fraction else sign * float("inf")
    scale = 2.0**-mantissa
    if exponent == 0:
        return float(sign * fraction * scale * 2.0 ** (1 - bias))
    return float(sign * (1 + fraction * scale) * 2.0 ** (exponent - bias))
