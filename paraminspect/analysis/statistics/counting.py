"""Types of 8 and 16 bits: few enough values to count them all, which makes every figure exact."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from paraminspect.analysis.statistics.two_pass import Array, Counts, Floats

_NUMPY = {
    torch.bool: np.bool_,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.int16: np.int16,
    torch.uint16: np.uint16,
    torch.float16: np.float16,
}
# Whatever 8-bit floats this torch has; their names say so, and it converts them all to float32.
_FLOAT8 = {getattr(torch, name) for name in dir(torch) if name.startswith("float8_")}

COUNTABLE = frozenset(_NUMPY) | _FLOAT8 | {torch.bfloat16}


@lru_cache
def values_of(dtype: torch.dtype) -> Floats:
    """Return the value of every bit pattern of `dtype`, one of COUNTABLE; the pattern is the index."""
    wide = dtype.itemsize == 2
    words = np.arange(65_536, dtype=np.uint16) if wide else np.arange(256, dtype=np.uint8)
    if dtype in _NUMPY:
        values = words.view(_NUMPY[dtype]).astype(np.float64)
    elif dtype is torch.bfloat16:
        values = (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    else:
        values = np.array(torch.from_numpy(words).view(dtype).to(torch.float32).tolist())
    values.flags.writeable = False
    return values


def count(words: Array) -> Counts:
    """Return how often each bit pattern occurs among `words`, uint8 or uint16."""
    return np.bincount(words.astype(np.intp), minlength=256**words.itemsize).astype(np.int64, copy=False)
