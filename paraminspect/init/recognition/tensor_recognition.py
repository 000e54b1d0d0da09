"""From the values of one tensor to the scheme that drew it, or to the answer that it is not recognised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import torch

from paraminspect.init.moment_verdicts import EPSILON
from paraminspect.init.recognition.candidates import Candidate, Place, default, named, unnamed
from paraminspect.init.recognition.distributions import CUT, FAMILIES, NORMAL, UNIFORM, Family, Floats, Whole
from paraminspect.init.recognition.goodness_of_fit import p_value
from paraminspect.init.recognition.guesses import FEW, MANY, REFUSED, SLIGHT, Guess, Recognition, judged, unrecognised
from paraminspect.init.recognition.structured_matrices import sparse, structured
from paraminspect.init.schemes import expected_moments
from paraminspect.modules.wrapper_tensors import whole
from paraminspect.report import Values

SIDE: Final = 192  # rows and columns of the sample
OFF_CENTRE: Final = 4.5  # standard errors of the mean
CLAMP: Final = 2.0  # where trunc_normal_ cuts unless told otherwise
NEAR: Final = 0.15
FAR: Final = 60.0  # in the logarithm of a likelihood: no weight of a candidate makes up for it
LEVELS: Final = 8  # different values that a tensor has at most that was set piece by piece
_SOME: Final = 256  # elements among which more levels show already, save for very rare ones
_FAMILY_WEIGHT: Final = {NORMAL: 1.0, UNIFORM: 1.0, CUT: 0.2}


def recognise(tensor: torch.Tensor, values: Values, place: Place) -> Recognition | None:
    """Tell what `tensor`, whose figures are `values`, was initialised with; None where no value is known.

    The figures are those of all elements. What they do not tell is read off a sample of SIDE rows and columns.
    """
    count, dtype, held = tensor.numel(), str(tensor.dtype).removeprefix("torch."), whole(tensor)
    if held is None or values.min is None or values.max is None or values.rms is None or values.mean is None:
        return None
    if values.nan or values.inf:
        return unrecognised("it has values that are not finite", refuted=True)
    if values.min == values.max:
        return _constant(float(values.min), count, dtype)
    if dtype not in EPSILON or tensor.layout is not torch.strided:
        return unrecognised(f"{dtype} is not what initialisers draw")
    plain = held.detach()
    found = structured(plain, values.zeros, place.groups, EPSILON[dtype])
    if found is not None:
        return found
    figures = Whole(count, values.mean, values.rms**2, float(max(-values.min, values.max)), EPSILON[dtype])
    answer = _drawn_or_not(plain, figures, values, place)
    return replace(answer, refuted=False) if answer.refuted and _in_levels(plain) else answer


def _constant(value: float, count: int, dtype: str) -> Recognition:
    """Name a constant; of one element any value is constant, so it has to be a round one."""
    rounded = float(f"{value:.1e}")
    if count == 1 and abs(value - rounded) > 2.0 * EPSILON.get(dtype, 0.0) * abs(value):
        return unrecognised("too few elements")
    word = {0.0: "zeros", 1.0: "ones"}.get(value)
    args = {} if word else {"val": value}
    words, moments = word or f"constant {value:.4g}", expected_moments.constant(value)
    return Recognition(words, word or "constant", args, moments, confidence=1.0, p_value=1.0)


def _in_levels(tensor: torch.Tensor) -> bool:
    """Tell whether a few values are all there is, as in the bias of an LSTM whose forget gates are open."""
    if tensor.numel() > SIDE * SIDE:
        return False
    elements, most = tensor.to("cpu", torch.float64).numpy().ravel(), min(LEVELS, tensor.numel() // 4)
    return len(np.unique(elements[:_SOME])) <= most and len(np.unique(elements)) <= most


def _drawn_or_not(tensor: torch.Tensor, figures: Whole, values: Values, place: Place) -> Recognition:
    """Set aside what initialisers put among the elements that they draw: rows of padding, zeros, clamped elements."""
    zeros = values.zeros
    row = place.padding
    if row is not None and tensor.dim() == 2 and row < len(tensor) and not tensor[row].any():
        zeros -= tensor.shape[1]
        figures = figures.without(tensor.shape[1], 0.0)
    if zeros > 1 + figures.count * 1e-5:
        each = sparse(tensor)
        rest = tensor[tensor != 0][:, None] if each else tensor
        found = _drawn(rest, figures.without(zeros, 0.0), values, Place()) if each else None
        if found is None or each is None or found.scheme != "normal":
            return unrecognised(f"{zeros:,} of its {figures.count:,} elements are 0", refuted=figures.count >= MANY)
        return each.drawn_from(found, len(rest) / tensor.numel())
    if figures.extreme == CLAMP and 20.0 * math.sqrt(figures.square) < CLAMP:
        return _clamped(tensor, figures, values, place)
    return _drawn(tensor, figures, values, place)


def _clamped(tensor: torch.Tensor, figures: Whole, values: Values, place: Place) -> Recognition:
    """Recognise what is left without the few elements at ±2.

    Up to torch 2.11, and in timm still, trunc_normal_ puts an element at its bound, however small the std, when the
    uniform number behind it is the last one before 1: once in some ten million.
    """
    far = tensor.abs() == CLAMP
    number, total = int(far.sum()), float(tensor[far].sum())
    if number > 2 + figures.count * 1e-5:
        return unrecognised(f"{number:,} of its {figures.count:,} elements are ±{CLAMP:g}", refuted=True)
    rest = torch.where(far, 0, tensor)
    found = _drawn(rest, figures.without(number, total, number * CLAMP**2, float(rest.abs().max())), values, place)
    return replace(found, words=f"trunc_{found.words}") if found.scheme == "normal" else found


def _drawn(tensor: torch.Tensor, figures: Whole, values: Values, place: Place) -> Recognition:
    """Weigh all candidates by their likelihood, and test how well the likeliest fit."""
    shape, block = tuple(tensor.shape), _block(tensor, figures.rounding)
    first = default(place, shape)
    if figures.count < FEW:
        fits = isinstance(first, Candidate) and p_value(figures, block, first.family, first.scale) >= REFUSED
        return unrecognised("too few elements", refuted=first is not None and not fits)
    if abs(figures.mean) > OFF_CENTRE * figures.std / math.sqrt(figures.count):
        candidates = list(_off_centre(figures, values))
    else:
        families = _in_question(figures)
        candidates = [(one, figures) for one in named(place, shape) if one.family in families]
        candidates += [(one, figures) for family in families for one in unnamed(family, figures)]
    guesses, p_value_of = _untested(_shares(candidates), block)
    fits = any(one.candidate.scheme == "default" and p_value_of(one) >= REFUSED for one in guesses)
    refuted = not fits and (first is not None or figures.count >= MANY)
    found = judged(guesses, figures.count, tensor.dim(), p_value_of=p_value_of)
    if not found.certain:  # it is judged again, by what other tensors tell
        found = replace(found, guesses=tuple(replace(one, p_value=p_value_of(one)) for one in guesses))
    if isinstance(first, Candidate) and _nearly(found, first):
        found = unrecognised(f"{found.words} fits, which is {first.words} no more", found.p_value)
    return replace(found, refuted=refuted)


def _in_question(figures: Whole) -> list[Family]:
    """Return the families that come near the likeliest one at their best: no scale of the others has any share."""
    best = [family.greatest(figures) for family in FAMILIES]
    return [family for family, score in zip(FAMILIES, best, strict=True) if score > max(best) - FAR]


def _nearly(found: Recognition, first: Candidate) -> bool:
    """Tell whether a scale that is fitted comes close to the default of the layer: so do weights after a few steps."""
    fitted = found.scheme == first.family.name and found.moments is None
    return fitted and abs(found.args["b" if first.family is UNIFORM else "std"] / first.scale - 1.0) < NEAR


_Weighed = list[tuple[Candidate, Whole, float]]


def _shares(candidates: Sequence[tuple[Candidate, Whole]]) -> _Weighed:
    """Return the candidates with their shares of the likelihood, the likeliest first."""
    scores = [
        _log(one.weight * _FAMILY_WEIGHT[one.family]) + one.family.log_likelihood(figures, one.scale)
        for one, figures in candidates
    ]
    top = max(scores)
    total = sum(math.exp(score - top) for score in scores)
    found = [(*one, math.exp(score - top) / total) for one, score in zip(candidates, scores, strict=True)]
    return sorted(found, key=lambda item: -item[2])


def _untested(shares: _Weighed, block: Floats) -> tuple[tuple[Guess, ...], Callable[[Guess], float]]:
    """Return what has any share, and what tests the fit of one: once for each scale of the likeliest family."""
    likely = [(one, figures, share) for one, figures, share in shares if share >= SLIGHT]
    tests: dict[str, float] = {}
    to_test = {_scale(one): (one, figures) for one, figures, _ in reversed(likely) if one.family is likely[0][0].family}

    def p_value_of(guess: Guess) -> float:
        if guess.candidate.family is not likely[0][0].family:
            return 0.0
        scale = _scale(guess.candidate)
        if scale not in tests:
            one, figures = to_test[scale]
            tests[scale] = p_value(figures, block, one.family, one.scale)
        return tests[scale]

    return tuple(Guess(one, share, math.nan) for one, _, share in likely), p_value_of


_log = lru_cache(100)(math.log)  # of the few weights that there are


def _scale(one: Candidate) -> str:
    return f"{one.scale:.5e}"


def _off_centre(figures: Whole, values: Values) -> Iterator[tuple[Candidate, Whole]]:
    """Yield normal and uniform distributions about another centre than 0, a round one where one is near."""
    if values.min is None or values.max is None:
        return
    low, high = float(values.min), float(values.max)
    reach = 3.0 * figures.std / math.sqrt(figures.count)
    for family, centre, error in (
        (NORMAL, figures.mean, reach),
        (UNIFORM, (low + high) / 2, 6.0 * (high - low) / figures.count),
    ):
        near = (float(f"{centre:.{digits}e}") for digits in range(3))
        about = figures.about(next((one for one in near if abs(one - centre) < error), centre), low, high)
        for one in unnamed(family, about):
            yield one, about


def _block(tensor: torch.Tensor, rounding: float) -> Floats:
    """Return a sample of rows and columns as float64, without rows of zeros.

    The steps are odd: one that shares a factor with the size of a kernel would see only some of its places. Numbers
    of 16 bits are spread over the interval that rounds to them: as they are, thousands of them would be equal.
    """
    lines = tensor if tensor.dim() > 1 else tensor[None]
    lines = lines[:: _step(lines.shape[0], SIDE)].flatten(1)
    lines = lines[:, :: _step(lines.shape[1], SIDE * SIDE // len(lines))]
    block = lines.to("cpu", torch.float64).numpy()
    if not (block.flags.c_contiguous and np.count_nonzero(block) == block.size):  # as it is in most
        block = np.asarray(block[np.any(block != 0.0, axis=1)])
    if rounding < 2.0**-12:
        return block
    spread = np.random.default_rng(0).uniform(-rounding, rounding, block.shape)  # a generator of its own
    return np.asarray(block + np.exp2(np.floor(np.log2(np.maximum(np.abs(block), 1e-30)))) * spread)


def _step(size: int, most: int) -> int:
    step = -(-size // most)
    return step + (step > 1 and step % 2 == 0)
