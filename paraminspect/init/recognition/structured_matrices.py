"""Tensors whose elements follow from each other: the identity, orthogonal matrices, matrices with zeros put in."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from paraminspect.frozen import dataclass
from paraminspect.init.recognition.guesses import Recognition
from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments

ROWS = (8, 64)  # of an orthogonal matrix that are multiplied with each other; the first suffice to tell that it is none
WIDE = 4096  # columns from which on a product in float32 is good enough


def structured(tensor: torch.Tensor, zeros: int, groups: int, rounding: float) -> Recognition | None:
    """Return what is told without a doubt: an identity, a Dirac kernel, an orthogonal matrix; None for all else."""
    if tensor.dim() < 2:
        return None
    if zeros >= tensor.numel() // 2 and (found := _diagonal(tensor, zeros, groups)):
        return found
    matrix = tensor.flatten(1)
    gain = _orthogonal_gain(matrix, rounding)
    if gain is None:
        return None
    rows, columns = matrix.shape
    std = gain * math.sqrt(min(rows, columns) / (rows * columns))
    words = "orthogonal" if gain == 1.0 else f"orthogonal gain {gain:.4g}"
    moments = ExpectedMoments(None, std, None, -gain, gain)
    return Recognition(words, "orthogonal", {"gain": gain}, moments, confidence=1.0, p_value=1.0)


def _diagonal(tensor: torch.Tensor, zeros: int, groups: int) -> Recognition | None:
    count = tensor.numel()
    value = float(tensor.max()) or float(tensor.min())
    if tensor.dim() == 2:
        ones = torch.eye(*tensor.shape, dtype=torch.bool, device=tensor.device)
        scheme = "eye" if value == 1.0 else "identity"
    elif tensor.dim() <= 5 and tensor.shape[0] % groups == 0 and value == 1.0:
        ones, scheme = torch.nn.init.dirac_(torch.empty(tensor.shape, device=tensor.device), groups) != 0, "dirac"
    else:
        return None
    if not torch.equal(tensor, ones.to(tensor.dtype) * value):
        return None
    moments = expected_moments.scaled(expected_moments.indicator(count - zeros, count), value)
    args = {"gain": value} if scheme == "identity" else {}
    words = f"identity gain {value:.4g}" if args else scheme
    return Recognition(words, scheme, args, moments, confidence=1.0, p_value=1.0)


def _orthogonal_gain(matrix: torch.Tensor, rounding: float) -> float | None:
    """Return the gain of a matrix with W·Wᵀ = gain²·I or Wᵀ·W = gain²·I, None of any other."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    if len(wide) < 2:
        return None
    two = wide[:2].to(torch.float64)
    (square, product), _ = (two @ two.t()).tolist()
    if abs(product) > 2.0 * (2e-5 + 8.0 * rounding) * square:  # as of most: no matrix with such rows is orthogonal
        return None
    gain = 0.0
    for count in ROWS:
        rows = wide[:: -(-len(wide) // count)].to(torch.float64 if wide.shape[1] < WIDE else torch.float32)
        gram = rows @ rows.t()
        square = float(gram.diagonal().mean())
        error = gram - square * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        if not 0.0 < square < math.inf or float(error.abs().max()) > (2e-5 + 8.0 * rounding) * square:
            return None
        gain = math.sqrt(square)
    return round(gain, 4)


@dataclass(frozen=True)
class Sparse:
    """A matrix with as many zeros in each column; `sparsity` is the roundest one that comes to that number."""

    sparsity: float

    def drawn_from(self, rest: Recognition, kept: float) -> Recognition:
        """Return the answer where the other elements, a share of `kept`, are what `rest` says."""
        std = rest.args["std"]
        moments = ExpectedMoments(0.0, std * math.sqrt(kept), 3.0 / kept, None, None)
        args = {"sparsity": self.sparsity, "std": std}
        return replace(
            rest, words=f"sparse {self.sparsity:g}, std {std:.3g}", scheme="sparse", args=args, moments=moments
        )


def sparse(tensor: torch.Tensor) -> Sparse | None:
    """Return what `sparse` of torch.nn.init would have done to a matrix; None where the columns' zeros differ."""
    if tensor.dim() != 2:
        return None
    zeros, rows = (tensor == 0).sum(0), len(tensor)
    each = int(zeros[0])
    if not each or each == rows or not bool((zeros == each).all()):
        return None
    shares = (round(each / rows, digits) for digits in range(1, 17))
    return next((Sparse(share) for share in shares if math.ceil(share * rows) == each), None)
