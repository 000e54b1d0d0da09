"""What torch can name and hold: dtypes, devices, the largest size, the seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from paraminspect.errors import UserError
from paraminspect.spec.tree import shown

DTYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "float32": 4,
        "float64": 8,
        "float16": 2,
        "bfloat16": 2,
        "complex64": 8,
        "complex128": 16,
        "int8": 1,
        "int16": 2,
        "int32": 4,
        "int64": 8,
        "uint8": 1,
        "bool": 1,
    }
)
"""Bytes per element of the dtypes a tensor can have."""

FLOATING: Final = tuple(name for name in DTYPES if name.startswith(("float", "bfloat", "complex")))
"""The dtypes a parameter can have: those with gradients."""

DEVICES: Final = ("cpu", "cuda", "mps", "xpu", "meta")
"""The devices; of those in `_COUNTED` a computer may have several, told apart by a number."""

_COUNTED: Final = ("cuda", "mps", "xpu")
DEVICE_PATTERN: Final = rf"({'|'.join(DEVICES)}|({'|'.join(_COUNTED)}):(0|[1-9][0-9]?))"


_MEANT: Final = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "intel": "xpu"}


def check_device(text: str, where: str, path: str = "") -> str:
    """Return `text` if it names a device; `path` is its key path, if it has one. Raises UserError."""
    if re.fullmatch(DEVICE_PATTERN, text):
        return text
    message = f"{path}: unknown device {shown(text)}" if path else f"unknown device {shown(text)}"
    meant = _MEANT.get(text.casefold()) or (f"cuda:{text}" if re.fullmatch("[0-9]", text) else text.casefold())
    known = f"known: {', '.join(DEVICES)}, and cuda:0 for one of several"
    hint = f"did you mean {meant!r}?" if re.fullmatch(DEVICE_PATTERN, meant) else known
    raise UserError(message, where=where, hint=hint, code="unknown-device")


LARGEST: Final = 2**63 - 1
"""The largest size, and the most bytes, of a tensor: sizes are int64."""

SEEDS: Final = 2**64
"""How many seeds there are: 0 to 2**64 - 1."""
