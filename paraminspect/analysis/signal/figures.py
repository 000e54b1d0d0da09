"""The figures of one tensor that theory is about, fast: a forward asks for them after every operation.

Sums are those of float64, whatever the dtype: half precision neither rounds nor overflows in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.frozen import dataclass
from paraminspect.report import SignalHistogram

_COPIED = 2**22  # elements: up to here a copy in float64 is faster than reductions that convert as they go
_HASHED = 2**24  # elements of a weight whose rows are compared at once
_TELLING = 4  # elements that tell most rows apart, at no cost
_EVEN, _CHANCE = 1.1, 6.0
_LOST = 1e-6  # of the mean square: a variance that is less has lost digits
_MOST_SAMPLES = 64  # for the effective rank, whose cost grows with the cube
_SHORT = {torch.float32, torch.float16, torch.bfloat16}  # whose squares float64 holds
_FLAT_BEYOND = {"tanh": math.sqrt(0.95), "erf": math.erf(math.sqrt(-math.log(0.05))), "softsign": 1 - math.sqrt(0.05)}
_SIGMOID_FLAT_BEYOND = math.sqrt(0.95)  # of 2·sigmoid − 1


@dataclass(frozen=True)
class Figures:
    """Hold mean and second moment of the finite elements, None where there are none.

    `nonfinite` counts the others, `infinite` those of them that are no NaN.
    """

    mean: float | None = None
    second: float | None = None
    nonfinite: int = 0
    infinite: int = 0


UNKNOWN = Figures()


class InDouble:
    """The elements of one tensor in float64, converted once for all the figures of it; not to outlive what it holds."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    @cached_property
    def numbers(self) -> Tensor:
        """Return them in the shape of the tensor; of one that has float64 already, itself."""
        return self._tensor.detach().to(torch.float64)

    @cached_property
    def products(self) -> npt.NDArray[np.float64] | None:
        """Return the inner products of the samples, which the first dimension counts.

        None where there are too many samples, or where a product of two numbers may overflow.
        """
        count = self._tensor.shape[0]
        if count > min(_MOST_SAMPLES, self._tensor.numel() // max(count, 1)) or self._tensor.dtype not in _SHORT:
            return None
        samples = self.numbers.flatten(1)
        return (samples @ samples.mT).cpu().numpy()  # of our own memory, so that numpy may have it


def figures(tensor: Tensor, doubles: InDouble | None = None) -> Figures:
    """Return mean and second moment over all elements."""
    if tensor.is_meta or tensor.numel() == 0:
        return UNKNOWN
    flat = tensor.detach()
    total, square = _sums(flat, doubles)
    if math.isfinite(total) and math.isfinite(square):
        return Figures(total / flat.numel(), square / flat.numel())
    finite = flat[torch.isfinite(flat)].double()
    infinite = int(torch.isinf(flat).sum())
    nonfinite = flat.numel() - finite.numel()
    if finite.numel() == 0:
        return Figures(None, None, nonfinite, infinite)
    largest = float(finite.abs().amax()) or 1.0
    scaled = finite / largest
    second = float(scaled.dot(scaled)) / finite.numel() * largest * largest
    mean = float(scaled.mean()) * largest
    return Figures(mean, second if math.isfinite(second) else None, nonfinite, infinite)


def second_moment(tensor: Tensor) -> Figures:
    """Return the figures of a gradient: without the mean, which nobody asks for."""
    if tensor.numel() == 0 or tensor.is_meta or tensor.numel() > _COPIED or tensor.is_complex():
        return figures(tensor)
    numbers = tensor.detach().to(torch.float64).reshape(-1)
    square = float(numbers.dot(numbers))
    return Figures(None, square / numbers.numel()) if math.isfinite(square) else figures(tensor)


def _sums(flat: Tensor, doubles: InDouble | None) -> tuple[float, float]:
    if flat.numel() > _COPIED:
        norm = torch.linalg.vector_norm(flat, dtype=torch.float64).item()
        return float(flat.sum(dtype=torch.float64)), norm * norm
    numbers = (doubles or InDouble(flat)).numbers.reshape(-1)
    return float(numbers.sum()), float(numbers.dot(numbers))


def cosine(tensor: Tensor, doubles: InDouble | None = None) -> float | None:
    """Return the mean cosine between the samples, which the first dimension counts; a sample of zeros has none."""
    if tensor.is_meta or tensor.dim() < 2 or tensor.shape[0] < 2 or tensor.numel() == 0:
        return None
    doubles = doubles or InDouble(tensor)
    if doubles.products is not None:
        return _cosine_of(doubles.products)
    samples = doubles.numbers.flatten(1)
    norms = torch.linalg.vector_norm(samples, dim=1)
    kept = (norms > 0) & norms.isfinite()
    if not bool(kept.all()):
        samples, norms = samples[kept], norms[kept]
    count = samples.shape[0]
    if count < 2:
        return None
    total = (1.0 / norms) @ samples
    return (float(total.dot(total)) - count) / (count * (count - 1))


def _cosine_of(products: npt.NDArray[np.float64]) -> float | None:
    squares = products.diagonal()
    kept = (squares > 0) & np.isfinite(squares)
    if not kept.all():
        products, squares = products[kept][:, kept], squares[kept]
    count = squares.size
    if count < 2:
        return None
    weights = 1.0 / np.sqrt(squares)
    return (float(weights @ products @ weights) - count) / (count * (count - 1))


def even(tensor: Tensor, size: int, centred: bool, eps: float) -> bool:
    """Tell whether a norm divides by about the same everywhere.

    The mean of 1/σ², by which a norm multiplies squared gradients, is 1/(mean of σ²) then, but for what chance makes of
    `size` elements: n/(n − 2) for normal ones.
    """
    if tensor.is_meta or tensor.numel() == 0:
        return False
    rows = tensor.detach().reshape(-1, size).to(torch.float64)
    squares: Tensor = torch.linalg.vector_norm(rows, dim=1).square() / size
    if centred:
        variances = squares - rows.mean(1).square()
        lost = bool((variances < _LOST * squares).any())  # to cancellation; torch's own takes ten times as long
        squares = rows.var(1, correction=0) if lost else variances
    squares = eps + squares
    return float(squares.reciprocal().mean() * squares.mean()) <= _EVEN + _CHANCE / size


def dead_share(activation: Tensor, units: int) -> float | None:
    """Return the share of units that a rectifier left at 0 for the whole batch; `units` is their dimension."""
    if activation.is_meta or activation.numel() == 0:
        return None
    others = [dim for dim in range(activation.dim()) if dim != units]
    if not others:
        return None
    return float((activation.detach().amax(others) == 0).double().mean())


def saturated_share(activation: Tensor, name: str, params: Mapping[str, float | str]) -> float | None:
    """Return the share of elements where the slope is below a twentieth of its largest, read from what came out."""
    if activation.is_meta or activation.numel() == 0:
        return None
    found = activation.detach()
    if name in _FLAT_BEYOND:
        flat = found.abs() > _FLAT_BEYOND[name]
    elif name == "sigmoid":
        flat = (2 * found - 1).abs() > _SIGMOID_FLAT_BEYOND
    elif name == "hardtanh":
        low, high = float(params.get("min_val", -1.0)), float(params.get("max_val", 1.0))
        if math.isinf(low) or math.isinf(high):
            return None
        flat = (found >= high) | ((found <= low) & (low != 0))  # at 0 it is off, as a relu is: see `dead_share`
    elif name == "hardsigmoid":
        flat = (found <= 0) | (found >= 1)
    else:
        return None
    return int(torch.count_nonzero(flat)) / found.numel()


def equal_units(rows: Tensor, bias: Tensor | None) -> Tensor | None:
    """Return a number for each unit, the same for those that have the same weights, and the same bias, to the bit.

    0 and −0 are one. None where no two units are alike, or the numbers are unknown.
    """
    if rows.is_meta or rows.numel() == 0 or _different(rows.detach().flatten(1)[:, :_TELLING]):
        return None
    step = max(_HASHED // max(rows[0].numel(), 1), 1)
    hashes = torch.cat([_hashed(part.flatten(1)) for part in torch.split(rows.detach(), step)])
    if bias is not None and bias.shape == rows.shape[:1]:
        hashes = hashes + _hashed(bias.detach()[:, None]) * _ODD
    found, numbers = torch.unique(hashes, return_inverse=True)
    return None if found.numel() == rows.shape[0] else numbers


def symmetric_units(numbers: Tensor, grad: Tensor, units: int) -> int:
    """Count the units that have the weights of an earlier one, and the gradient: they will learn the same.

    `numbers` are those of `equal_units`, `grad` is the gradient of what the layer returned, whose dimension `units`
    counts the units: of the same input, the weights get the same gradient where this is the same, but for rounding.
    """
    rows = grad.detach().movedim(units, 0).flatten(1)
    near = _ROUNDED * torch.finfo(grad.dtype).eps * float(rows.abs().max())
    found, left = 0, torch.arange(rows.shape[0], device=grad.device)
    for _ in range(_MOST_KINDS):
        if left.numel() < 2:
            break
        first, others = left[0], left[1:]
        same = (numbers[others] == numbers[first]) & ((rows[others] - rows[first]).abs().amax(1) <= near)
        found += int(same.sum())
        left = others[~same]
    return found


def _different(rows: Tensor) -> bool:
    """Tell whether no two of some short rows are the same: most often the first numbers tell."""
    first = (rows[:, 0] + 0.0).to(torch.float64).view(torch.int64)
    return _all_differ(first) or _all_differ(_hashed(rows))


def _all_differ(numbers: Tensor) -> bool:
    return int(torch.unique(numbers).numel()) == numbers.numel()


_ROUNDED, _MOST_KINDS = 64.0, 256  # times eps: what two sums of the same terms may differ by; kinds of units


_ODD = 0x9E3779B97F4A7C15 - 2**64  # 2^64 over the golden ratio, as a signed number


def _hashed(rows: Tensor) -> Tensor:
    """Return one whole number for each row, from all its bits: sums that wrap around, so the order is no matter."""
    bits = (rows + 0.0).to(torch.float64).view(torch.int64)
    place = torch.arange(1, bits.shape[1] + 1, device=bits.device) * _ODD
    mixed = (bits ^ (bits >> 32)) * _ODD
    return ((mixed ^ (mixed >> 29)) * (place | 1)).sum(1)


def effective_rank(activation: Tensor, doubles: InDouble | None = None) -> float | None:
    """Return exp(H) of the singular values' shares, H being their entropy (Roy & Vetterli 2007, eq. 2 and 3).

    The samples are the rows; of very many the first ones are taken. Between 1 (all samples alike, up to a factor) and
    the smaller of samples and units.
    """
    if activation.is_meta or activation.dim() < 2 or activation.numel() == 0:
        return None
    doubles = doubles or InDouble(activation)
    if doubles.products is not None:
        return _rank_of(doubles.products)
    samples = doubles.numbers[:_MOST_SAMPLES].flatten(1)
    low, high = torch.aminmax(samples)
    largest = torch.maximum(-low, high)
    if not bool(largest.isfinite()) or largest == 0:
        return None
    samples = samples / largest
    small = samples if samples.shape[0] <= samples.shape[1] else samples.mT
    return _rank_of((small @ small.mT).cpu().numpy())


def _rank_of(products: npt.NDArray[np.float64]) -> float | None:
    """Return the rank that the inner products tell; None where they are not finite, or all are 0."""
    if not np.isfinite(products).all() or not products.any():
        return None
    values = np.linalg.eigvalsh(products)
    singular = np.sqrt(values[values > values[-1] * values.size * np.finfo(np.float64).eps])  # the rest is rounding
    shares = singular / singular.sum()
    return math.exp(-float(shares @ np.log(shares)))


def histogram(tensor: Tensor) -> SignalHistogram | None:
    """Count the elements in equal bins."""
    values = measure(tensor)
    if values is None or values.histogram is None or values.min is None or values.max is None:
        return None
    return SignalHistogram(float(values.min), float(values.max), values.histogram)
