"""How far numbers moved, a block at a time: exact counts, and sums in float64 that neither overflow nor vanish."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from paraminspect.analysis.statistics.stored_numbers import EPS, Array
from paraminspect.report import ValueChange

_LARGE, _SMALL = 1e120, 1e-120
"""Beyond these a square leaves float64, or nearly: such blocks are scaled first."""


class Tolerance(NamedTuple):
    """Let an element of B be ``atol + rtol * |A|`` away from A's; where none is `given`, bytes have to be equal."""

    atol: float = 0.0
    rtol: float = 0.0
    given: bool = False


NO_TOLERANCE: Final = Tolerance()


class BlockChange(NamedTuple):
    """The change of one block; the sums are over what is finite on both sides, in long doubles."""

    different: int = 0
    beyond: int = 0
    nonfinite: int = 0
    became_nonfinite: int = 0
    max_abs: float | int = 0
    of_a: Any = 0
    of_b: Any = 0
    of_change: Any = 0
    product: Any = 0
    finite: int = 0

    def __add__(self, other: BlockChange) -> BlockChange:  # type: ignore[override]  # sums, not one tuple after another
        """Return the change of both blocks together."""
        return BlockChange(
            self.different + other.different,
            self.beyond + other.beyond,
            self.nonfinite + other.nonfinite,
            self.became_nonfinite + other.became_nonfinite,
            max(self.max_abs, other.max_abs),
            self.of_a + other.of_a,
            self.of_b + other.of_b,
            self.of_change + other.of_change,
            self.product + other.product,
            self.finite + other.finite,
        )


def block_change(a: Array, b: Array, tolerance: Tolerance) -> BlockChange:
    """Compare two blocks of as many numbers."""
    if a.dtype == b.dtype and a.dtype.kind in "iu" and a.dtype.itemsize == 8:
        return _integers(a, b, tolerance)
    if a.dtype.kind == "c" or b.dtype.kind == "c":
        wide_a, wide_b = a.astype(np.complex128), b.astype(np.complex128)
    else:
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        unequal = wide_a != wide_b
        finite_in_a = np.isfinite(wide_a)
        finite = finite_in_a & np.isfinite(wide_b)
        nonfinite = became = 0
        if not finite.all():
            unequal &= ~(np.isnan(wide_a) & np.isnan(wide_b))
            nonfinite = int(np.count_nonzero(unequal & ~finite))
            became = int(np.count_nonzero(finite_in_a & ~finite))
            wide_a, wide_b = wide_a[finite], wide_b[finite]
        change = wide_b - wide_a
        size = np.abs(change)
        beyond = np.count_nonzero(size > tolerance.atol + tolerance.rtol * np.abs(wide_a))
    counts = BlockChange(int(np.count_nonzero(unequal)), int(beyond) + nonfinite, nonfinite, became)
    return _summed(wide_a, wide_b, change, counts, size)


def _integers(a: Array, b: Array, tolerance: Tolerance) -> BlockChange:
    """Compare integers of 64 bits, whose differences float64 does not hold: they are taken modulo 2**64."""
    bits_a, bits_b = a.view(np.uint64), b.view(np.uint64)
    size = np.where(a > b, bits_a - bits_b, bits_b - bits_a)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    allowed = tolerance.atol + tolerance.rtol * np.abs(wide_a)
    beyond = int(np.count_nonzero((size != 0) & (size > allowed)))
    change = np.where(a > b, -1.0, 1.0) * size.astype(np.float64)
    return _summed(wide_a, wide_b, change, BlockChange(int(np.count_nonzero(size)), beyond), size)


def _summed(a: Array, b: Array, change: Array, counts: BlockChange, size: Array) -> BlockChange:
    if not a.size:
        return counts
    largest = size.max()
    return counts._replace(
        max_abs=int(largest) if size.dtype.kind == "u" else float(largest),
        of_a=_product(a, a),
        of_b=_product(b, b),
        of_change=_product(change, change),
        product=_product(a, b),
        finite=int(a.size),
    )


def _product(a: Array, b: Array) -> Any:
    """Return the real part of the sum of ``conj(a) * b``, however large or small the factors are."""
    scale_a, scale_b = _scale(a), _scale(b)
    one, other = (a if scale_a == 1 else a / scale_a), (b if scale_b == 1 else b / scale_b)
    found = np.vdot(one, other)
    return np.longdouble(found.real) * np.longdouble(scale_a) * np.longdouble(scale_b)


def _scale(values: Array) -> float:
    parts = values.view(np.float64) if values.dtype.kind == "c" else values
    with np.errstate(all="ignore"):
        largest = max(abs(float(parts.max())), abs(float(parts.min())))
    if not math.isfinite(largest):  # the difference of two finite numbers can be infinite
        return 1.0
    return 1.0 if _SMALL < largest < _LARGE or largest == 0 else 2.0 ** math.frexp(largest)[1] / 2


def value_change(found: BlockChange, numel: int) -> ValueChange:
    """Return the figures of a tensor of `numel` elements from the sum of its blocks."""
    counts = found.different, found.beyond, found.nonfinite
    if not found.finite:
        return ValueChange(numel, *counts, None, None, None, None, became_nonfinite=found.became_nonfinite)
    l2_of_a = np.sqrt(np.longdouble(found.of_a))
    norms = l2_of_a * np.sqrt(np.longdouble(found.of_b))
    cosine = float(found.product / norms) if norms else None
    return ValueChange(
        numel,
        *counts,
        found.max_abs,
        _finite(np.sqrt(np.longdouble(found.of_change))),
        _finite(np.sqrt(np.longdouble(found.of_change) / found.of_a)) if found.of_a else None,
        None if cosine is None else max(-1.0, min(1.0, cosine)),
        became_nonfinite=found.became_nonfinite,
        l2_of_a=_finite(l2_of_a),
    )


def _finite(value: Any) -> float | None:
    found = float(value)
    return found if math.isfinite(found) else None


def rank_of_change(a: Array, b: Array, dtypes: tuple[str, str]) -> tuple[int, int, float] | None:
    """Return the numerical rank of ``b - a``, the largest it could have, and the tolerance.

    Both are matrices of numbers. Counted are the singular values, in float64, above ``eps * rms * (√m + √n)``: three
    times what rounding the elements to the coarser of the types makes of one as a rule. eps is the distance from 1 to
    the next number of that type, rms that of the larger matrix.
    """
    kind = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    one, other = a.astype(kind), b.astype(kind)
    change = other - one
    if not np.isfinite(change).all():
        return None
    eps = max(EPS.get(dtype, 2.0**-52) for dtype in dtypes)
    rms = max(float(np.sqrt(np.mean(np.abs(matrix) ** 2))) for matrix in (one, other))
    rows, columns = change.shape
    singular = np.linalg.svd(change, compute_uv=False)
    least = max(rows, columns) * 2.0**-52 * float(singular.max(initial=0.0))
    tolerance = max(eps * rms * (math.sqrt(rows) + math.sqrt(columns)), least)
    return int(np.count_nonzero(singular > tolerance)), min(rows, columns), tolerance
