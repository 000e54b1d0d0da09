"""What the uses of one parameter contributed, added up and held against what arrived at the parameter.

The proof behind a line like ``3 + 3 = 6``. A weight w = 2 is used twice on the input x = 3, as in y = w x + w x; then
∂y/∂w = 6, and each use contributes 3. Autograd hands the two contributions to us one after the other, adds them up
itself, and then hands the sum to the node that writes ``w.grad``. An `Account` hears of all three events:

1. contribute(3): the first contribution is held as it came, without a copy;
2. contribute(3): a second one, so from now on a sum of our own is kept, in float32 at least: 6;
3. the sum 6 arrives at w: it is compared with ours. The difference, 0, may be as large as rounding makes it: adding n
   terms costs at most n · eps · Σ|largest element of each term|, here 2 · 1.2e-7 · (3 + 3) = 1.4e-6.

If 7 arrived instead, the 1 beyond the contributions would be the `rest`: a use that we did not see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paraminspect.analysis.statistics.contents import Numbers, numbers_of
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Gradient, Values

NOTHING = Numbers()


def summarise(grad: Tensor, wanted: bool = False) -> Gradient:
    """Return the figures of a gradient, and the elements themselves if they are `wanted` and few."""
    shown = numbers_of(dense(grad)) if wanted else NOTHING
    return with_status(measure(grad, histogram=False), grad.numel(), shown)


def with_status(values: Values | None, numel: int, shown: Numbers = NOTHING, error: float = 0.0) -> Gradient:
    """Return the figures of a gradient with its status, which is ``unknown`` where there are no numbers (meta).

    One that is nowhere larger than the `error` that rounding may have made is ``zero`` too.
    """
    if values is None:
        return Gradient("unknown")
    status = "nonfinite" if values.nan or values.inf else "zero" if values.zeros == numel else "ok"
    rounding = status == "ok" and peak(values) <= error
    return Gradient(
        "zero" if rounding else status,
        mean=values.mean,
        std=values.std,
        rms=values.rms,
        min=values.min,
        max=values.max,
        l2=values.l2,
        zeros=values.zeros,
        nan=values.nan,
        inf=values.inf,
        data=shown.data,
        text=shown.text,
        rounding=error if rounding else None,
    )


def dense(grad: Tensor) -> Tensor:
    """Return a gradient with every element in memory; a sparse one has only some."""
    return grad if grad.layout is torch.strided else grad.to_dense()


Grads = tuple[Tensor | None, ...]  # what autograd hands to a node


class Account:
    """Add up contributions as they come, and compare the sum with each gradient that the parameter receives.

    A parameter with one use costs no memory: its contribution and what arrives are one tensor, held until then. With
    several, their sum is held from the first to the last. A parameter receives more than one gradient where parts
    of the backward run on their own, as reentrant checkpoints do: each closes the sum that was open, and differences
    and tolerances add up.

    `compared` tells whether a gradient arrived that holds numbers. `difference` is the largest difference between the
    two, and `tolerance` what rounding may account for. `rest` is what arrived beyond the contributions, None where that
    is rounding. `figures` are those of the last contribution, and `passed_on` tells that nothing but this one tensor
    arrived, as it was. `received` is kept only where the user's hooks may change or drop ``.grad`` afterwards.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.compared = False
        self.figures: Values | None = None
        self.passed_on = False
        self.difference = 0.0
        self.tolerance = 0.0
        self.rest: Tensor | None = None
        self.received: Tensor | None = None
        self._keeps = bool(parameter._post_accumulate_grad_hooks)
        self._node: Any = None  # where the gradient arrives; held, for the parameter holds it only weakly
        self._handle: Any = None
        self._sum: Tensor | None = None
        self._version: int | None = None  # of a contribution that is held as it came, None for a sum of ours
        self._peaks: list[float] = []

    def watch(self, view: Tensor, gathering: Callable[[], bool], flush: Callable[[], None]) -> None:
        """Compare what arrives at the parameter, of which `view` is an alias, while `gathering`.

        `flush` delivers the largest magnitudes that are still due.
        """

        def compare(grads: Grads) -> None:
            grad = grads[0]
            if grad is not None and gathering():
                with torch._C.DisableTorchFunction(), torch.no_grad():
                    self._receive(grad, flush)

        self._node = view.grad_fn.next_functions[0][0]  # type: ignore[union-attr]  # an alias has a grad_fn
        self._handle = self._node.register_prehook(compare)

    def contribute(self, grad: Tensor) -> list[float]:
        """Add what one use contributed; return where its largest magnitude is to be appended."""
        # The version tells later whether the one contribution that is held uncopied was written to in the meantime.
        if self._sum is None and not self.parameter._backward_hooks:
            self._sum, self._version = grad, grad._version
        elif self._sum is None:  # the user's hooks on the parameter may change in place what arrives
            self._sum, self._version = _wide(grad).clone(), None
        elif self._version is not None:
            self._sum, self._version = _wide(self._sum) + _wide(grad), None
        else:
            self._sum += _wide(grad)
        return self._peaks

    def knows(self, grad: Tensor | None) -> bool:
        """Tell whether `figures` are those of ``.grad``: it is what the only use contributed, untouched."""
        return self.passed_on and grad is not None and grad is self.parameter.grad and grad._version == 0

    def close(self) -> None:
        """Stop watching; count also what the user's hooks did to ``.grad`` after it had arrived."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = self._node = self._sum = None
        grad = self.parameter.grad
        if self.received is not None and grad is not None:
            with torch.no_grad():
                self._compare(grad, self.received)

    def _receive(self, grad: Tensor, flush: Callable[[], None]) -> None:
        """Compare what arrives with the sum, and begin the next one at nothing."""
        # With one use autograd passes the very tensor on that we hold: nothing is left to compare.
        self.passed_on = not self.compared and self._sum is grad and grad._version == self._version
        if self._sum is grad and grad._version == self._version:
            self.compared = True
        else:
            flush()
            self._compare(grad, self._sum)
        if self._keeps:
            self.received = grad.clone() if self.received is None else self.received + grad
        self._sum, self._version, self._peaks = None, None, []

    def _compare(self, grad: Tensor, total: Tensor | None) -> None:
        rest = _wide(grad).clone() if total is None else _difference(grad, total)
        most = largest(rest)
        if most is None:
            return
        self.compared = True
        # n terms added one by one are off by (n - 1) u Σ|x| at most (Higham 2002, eq. 4.4); eps is 2 u.
        tolerance = len(self._peaks) * torch.finfo(grad.dtype).eps * sum(self._peaks)
        self.difference += most
        self.tolerance += tolerance
        if most > tolerance:
            self.rest = rest if self.rest is None else self.rest + rest


def peak(figures: Values | None) -> float:
    """Return the largest magnitude, or for complex numbers a bound of it."""
    if figures is None:
        return 0.0
    if figures.min is None or figures.max is None:
        return figures.l2 or 0.0
    return float(max(-figures.min, figures.max))


def _wide(grad: Tensor) -> Tensor:
    """Return a gradient with every element in memory, in float32 at least."""
    return dense(grad).to(torch.promote_types(grad.dtype, torch.float32))


def _difference(grad: Tensor, total: Tensor) -> Tensor:
    """Return grad - total, and 0 where both are one number in the dtype of `grad`.

    So NaN - NaN is 0 here, and so is infinity less a sum of 70,000 for float16, which holds no more than 65,504.
    """
    received, summed = dense(grad), _wide(total)
    rounded = summed.to(grad.dtype)
    same = (received == rounded) | (received.isnan() & rounded.isnan())
    return (_wide(received) - summed).masked_fill_(same, 0)


def largest(rest: Tensor) -> float | None:
    """Return the largest magnitude, infinity where one is not finite, None where the numbers are unknown."""
    values = measure(rest.abs(), histogram=False)
    if values is None:
        return None
    return math.inf if values.nan or values.inf else float(values.max or 0)
