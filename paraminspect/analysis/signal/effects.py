"""What theory expects of each operation: the second moments forward, the gradient's backward. Numbers only.

Mean-field theory (Poole et al. 2016; Schoenholz et al. 2017): units are independent, what a random weight returns is
Gaussian, and the gradient is independent of what it meets. The gradient's figure is its second moment per element.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np

from paraminspect import theory
from paraminspect.analysis.signal.operations import Connections
from paraminspect.analysis.signal.states import Field, Law, State, everywhere, mean_of
from paraminspect.frozen import dataclass

_LITTLE: Final = 0.2  # of the variance: uniform biases that are no more leave a sum as good as normal
_ROUNDING: Final = 1e-14
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)

NO_ANSWER: Final = (theory.TheoryError, ArithmeticError)
"""What theory raises where it has no answer; what was measured is to be shown all the same."""

States = tuple[State, ...]
Known = tuple[State | None, ...]


class Effect:
    """Expect nothing: this is what theory does not know, and every effect that it knows says more."""

    def forward(self, states: States) -> State | None:
        """Return what comes of the inputs, None where theory does not reach."""
        return None

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the second moment of the gradient at each input, from `grad` at the output."""
        return (None,) * len(states)


@dataclass(frozen=True)
class IdentityEffect(Effect):
    """Keep every element, at its place if `places`; `samples` tells whether it is known where the samples lie.

    ``x.reshape(n, -1)`` and ``x.t()`` keep no places, ``x.to(float64)`` keeps them.
    """

    places: bool = True
    samples: bool = True

    def forward(self, states: States) -> State | None:
        """Return the input's state.

        A ``transpose`` moves the elements: then one number stands for all places. Where nobody knows afterwards which
        elements are one sample's, two samples' product `k` is no longer known.
        """
        (before,) = states
        one = before if self.places else before.pooled()
        return one if self.samples else replace(one, k=None)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient as it is, averaged over the places where elements moved."""
        return (grad if self.places else mean_of(grad),)


@dataclass(frozen=True)
class ProductEffect(Effect):
    """Multiply by random weights of mean 0: q → E w² · c · q + E b², c being the products that one element adds up.

    For ``nn.Linear(100, 50)`` with E w² = 1/100 and no bias c is 100, so that q stays what it was.

    `samples` tells whether it is known where the samples lie.
    """

    weight: Law
    bias: Law
    connections: Connections
    samples: bool = True

    def forward(self, states: States) -> State | None:
        """Return the second moment; the mean of the biases is the result's."""
        if self.weight.mean != 0:
            return None
        (before,) = states
        q = self.weight.second * self.connections.gathered(before.q) + self.bias.second
        k = None
        if before.k is not None and self.samples:
            k = self.weight.second * self.connections.gathered(before.k) + self.bias.second
        uniform = self.bias.variance if self.bias.uniform else 0.0
        return State(q, self.bias.mean, k, True, self.bias.second, uniform)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return E w² times the gradients that one element of the input collects: those of all it went into."""
        return (None if self.weight.mean != 0 else self.weight.second * self.connections.returned(grad),)


@dataclass(frozen=True)
class ActivationEffect(Effect):
    """Apply a function to every element: q → E φ(z)², the gradient times E φ'(z)², where z is Gaussian.

    A relu halves both when the mean of z is 0: q = 2 becomes 1.
    """

    name: str
    params: Mapping[str, Any]

    @cached_property
    def known(self) -> theory.Activation | None:
        """Return the function as theory has it, None if it does not know the name, or not with such arguments."""
        with contextlib.suppress(theory.TheoryError):
            return theory.activation(self.name, **self.params)
        return None

    def forward(self, states: States) -> State | None:
        """Return the moments of φ(z)."""
        (before,) = states
        if self.known is None or not before.gaussian:
            return None
        given = _Gaussian(self.known, _uniform(before))
        k = None if before.k is None else everywhere(given.pair, before.q, before.m, before.k)
        return State(everywhere(given.second, before.q, before.m), everywhere(given.mean, before.q, before.m), k)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient times E φ'(z)², place by place."""
        (before,) = states
        if self.known is None or before is None or not before.gaussian:
            return (None,)
        return (grad * everywhere(_Gaussian(self.known, _uniform(before)).slope, before.q, before.m),)

    def saturated(self, before: State | None) -> float | None:
        """Return the share of elements that theory expects where the function is flat."""
        known = self.known
        if known is None or before is None or not _is_plain(before) or theory.saturated_share(known, 1.0) is None:
            return None
        with contextlib.suppress(*NO_ANSWER):
            return mean_of(everywhere(lambda q: theory.saturated_share(known, q) or 0.0, before.q))
        return None

    def dead(self, before: State | None, samples: int) -> float | None:
        """Return the share of units that theory expects to be 0 for the whole batch, its samples being alike."""
        if not is_rectifier(self.name, self.params) or before is None or before.k is None or not _is_plain(before):
            return None
        q, k = mean_of(before.q), mean_of(before.k)
        with contextlib.suppress(*NO_ANSWER):
            return theory.dead_share(samples, min(max(k / q, 0.0), 1.0)) if q > 0 else None
        return None


def is_rectifier(name: str, params: Mapping[str, Any]) -> bool:
    """Tell whether a function is 0 for everything below 0, as relu is; nn.ReLU6 is a hardtanh from 0 to 6."""
    return name in ("relu", "relu6") or (name == "hardtanh" and params.get("min_val", -1.0) == 0)


def _uniform(before: State) -> float:
    """Return the variance of the uniform part, 0 where it is too small a one to matter."""
    return before.uniform if before.uniform > _LITTLE * mean_of(before.q) else 0.0


def _is_plain(before: State) -> bool:
    """Tell whether z is normal around 0."""
    return before.gaussian and not np.any(before.m) and _uniform(before) == 0.0


@dataclass(frozen=True)
class _Gaussian:
    """Hold the moments of φ(z), where z is normal around a mean `m` and a uniform variable of variance `uniform`.

    `q` is E z², `k` the mean product of two samples' z, which have the uniform variable in common.
    """

    phi: theory.Activation
    uniform: float

    def second(self, q: float, m: float) -> float:
        """Return E φ(z)²."""
        return self._mixed(theory.second_moment, q, m)

    def mean(self, q: float, m: float) -> float:
        """Return E φ(z), exactly 0 where it is so but for rounding."""
        found = self._mixed(theory.mean, q, m)
        return 0.0 if abs(found) < _ROUNDING * math.sqrt(q) else found

    def slope(self, q: float, m: float) -> float:
        """Return E φ'(z)²."""
        return self._mixed(theory.slope_moment, q, m)

    def pair(self, q: float, m: float, k: float) -> float:
        """Return E φ(z₁)φ(z₂)."""

        def moment(phi: theory.Activation, variance: float) -> float:
            return theory.pair_moment(phi, variance, min(max(k - (q - variance), -variance), variance))

        return self._mixed(moment, q, m)

    def _mixed(self, moment: Callable[[theory.Activation, float], float], q: float, m: float) -> float:
        variance = max(q - m * m - self.uniform, 0.0)
        return math.fsum(weight * moment(phi, variance) for weight, phi in _around(self.phi, m, self.uniform))


@lru_cache(maxsize=256)
def _around(phi: theory.Activation, m: float, uniform: float) -> tuple[tuple[float, theory.Activation], ...]:
    """Return φ as a function of the deviation from each value that m plus the uniform variable takes, with weights."""
    if uniform == 0.0:
        return ((1.0, _shifted(phi, m)),)
    reach = math.sqrt(3.0 * uniform)
    nodes = zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True)
    return tuple((weight / 2.0, _shifted(phi, m + reach * node)) for node, weight in nodes)


def _shifted(phi: theory.Activation, by: float) -> theory.Activation:
    if by == 0.0:
        return phi
    return theory.activation(
        lambda z: phi.phi(z + by),
        derivative=lambda z: phi.derivative(z + by),
        breakpoints=tuple(point - by for point in phi.breakpoints),
    )


@dataclass(frozen=True)
class NormEffect(Effect):
    """Normalise over `size` elements: q → E γ² + E β², the gradient by what was divided by.

    That is one number only where all are `even`: where one sample, or one token, is not much smaller than another.
    """

    centred: bool
    size: int
    eps: float
    even: bool
    weight: Law
    bias: Law

    def forward(self, states: States) -> State | None:
        """Return the second moment of what was brought to 1, then scaled and shifted."""
        before = states[0].pooled()
        q, m = mean_of(before.q), mean_of(before.m)
        removed = m * m if self.centred else 0.0
        spread = q - removed + self.eps
        if spread <= 0:
            return None
        scale, constant = self.weight.second / spread, self.bias.second
        mean = 0.0 if self.centred else self.weight.mean * m / math.sqrt(spread)
        k = None if before.k is None or not self.even else (before.k - removed) * scale + constant
        gaussian = before.gaussian and self.weight.variance == 0
        uniform = self.bias.variance if self.bias.uniform else 0.0
        return State((q - removed) * scale + constant, mean + self.bias.mean, k, gaussian, constant, uniform)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient's moment: of `size` directions one is lost to the scale, another to the mean."""
        (before,) = states
        if before is None or not self.even:
            return (None,)
        spread = mean_of(before.q) - (mean_of(before.m) ** 2 if self.centred else 0.0) + self.eps
        kept = 1.0 - (2.0 if self.centred else 1.0) / self.size
        return (mean_of(grad) * self.weight.second / spread * max(kept, 0.0) if spread > 0 else None,)


@dataclass(frozen=True)
class SumEffect(Effect):
    """Add two independent parts, the second times `factor`."""

    factor: float = 1.0

    def forward(self, states: States) -> State | None:
        """Return the sum of the second moments, and twice the product of the means."""
        if len(states) != 2:
            return None
        one, other = states
        if np.shape(one.q) and np.shape(other.q) and np.shape(one.q) != np.shape(other.q):
            one, other = one.pooled(), other.pooled()
        f = self.factor
        cross = 2 * f * one.m * other.m
        k = None if one.k is None or other.k is None else one.k + f * f * other.k + cross
        gaussian = one.gaussian and other.gaussian
        constant, uniform = (a + f * f * b for a, b in ((one.constant, other.constant), (one.uniform, other.uniform)))
        return State(one.q + f * f * other.q + cross, one.m + f * other.m, k, gaussian, constant, uniform)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient for both parts."""
        return (grad, grad * self.factor**2)[: len(states)]


@dataclass(frozen=True)
class ShiftEffect(Effect):
    """Add a bias, the same for all samples."""

    bias: Law

    def forward(self, states: States) -> State | None:
        """Return the sum of the second moments, and twice the product of the means."""
        (before,) = states
        added = self.bias.second + 2 * before.m * self.bias.mean
        return State(
            before.q + added,
            before.m + self.bias.mean,
            None if before.k is None else before.k + added,
            before.gaussian,
            before.constant + self.bias.second,
            before.uniform + (self.bias.variance if self.bias.uniform else 0.0),
        )

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient as it is: a sum passes it on."""
        return (grad,)


@dataclass(frozen=True)
class ScaleEffect(Effect):
    """Multiply by a number, or by independent ones with this mean and second moment."""

    by: Law

    def forward(self, states: States) -> State | None:
        """Return every moment times that of the number."""
        (before,) = states
        second = self.by.second
        return State(
            before.q * second,
            before.m * self.by.mean,
            None if before.k is None else before.k * second,
            before.gaussian and self.by.variance == 0,
            before.constant * second,
            before.uniform * second,
        )

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient times the second moment of the number."""
        return (grad * self.by.second,)


@dataclass(frozen=True)
class DropoutEffect(Effect):
    """Keep each element with probability 1 − p, divided by that; two samples are dropped independently."""

    p: float

    def forward(self, states: States) -> State | None:
        """Return the second moment over 1 − p: the mean, and what two samples have in common, stay."""
        (before,) = states
        return State(before.q / (1.0 - self.p), before.m, before.k)

    def backward(self, grad: Field, states: Known) -> tuple[Field | None, ...]:
        """Return the gradient's second moment over 1 − p: it passes the same mask."""
        return (grad / (1.0 - self.p),)
