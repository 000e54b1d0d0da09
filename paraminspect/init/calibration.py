"""The second step of a scheme that needs data: scale weights by what their layers return on a batch.

Mishkin & Matas 2015, All you need is a good init, algorithm 1. The layers are met in the order in which one forward
calls them, so that each is scaled on what the ones before it, scaled already, give. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.expected_moments import scaled
from paraminspect.init.target import StoredTarget

if TYPE_CHECKING:
    import torch
    from torch import nn

_INPUT = "draw the input from another distribution, e.g. --input 64,784:float32:normal, or give it more samples"
_PARAMETRISED = ".parametrizations."
_NOTABLE, _SAME = 0.04, 0.02  # of a std: what a division should change, and what the outputs may where it does not


def scale_to_batch(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    applied: Mapping[int, FillRecord],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> dict[int, FillRecord]:
    """Run the second step of the schemes that go by what layers return on a batch (lsuv), where they came last.

    `contain` is what the module's code runs inside. Raises UserError as `calibrate` does.
    """
    chosen = {
        key: one
        for key, one in applied.items()
        if one.scheme and one.scheme.needs_batch and key in (id(one.target), id(getattr(one.target, "parameter", None)))
    }
    weights = [
        (one.fills[-1].names[0], one.target, one.scheme)
        for one in chosen.values()
        if isinstance(one.target, StoredTarget | ComputedTarget) and isinstance(one.scheme, BoundScheme)
    ]
    done = calibrate(module, args, kwargs, weights, contain) if weights else ()
    return {**applied, **{key: _scaled(chosen[key], found) for key, found in zip(chosen, done, strict=True)}}


def _scaled(applied: FillRecord, found: Calibration) -> FillRecord:
    """Return the record of a weight after the second step: its moments times the factor, and a note on the factor."""
    scale = ""
    if found.before is not None and found.after is not None:
        steps = "1 step" if found.steps == 1 else f"{found.steps} steps"
        scale = f"scaled by {found.scale:.4g} in {steps}: std of the output {found.before:.4g}, then {found.after:.4g}"
    expected = applied.with_moments(applied.moments and scaled(applied.moments, found.scale))
    return expected.with_note(scale).with_note(found.note)


@dataclass(frozen=True)
class Calibration:
    """What the batch did to one weight.

    `before` and `after` are the standard deviations of what its layer returned, None where that is not known; `scale`
    is the factor by which the weight was multiplied, in `steps` divisions. `note` says why the variance is not 1.
    """

    name: str
    before: float | None
    after: float | None
    scale: float
    steps: int
    note: str = ""


def calibrate(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    chosen: Sequence[tuple[str, nn.Parameter | StoredTarget | ComputedTarget, BoundScheme]],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> tuple[Calibration, ...]:
    """Divide each chosen weight by the std of what its layer returns, until |variance − 1| < tol; in that order.

    `chosen` are names, Parameters and their schemes, which have the arguments `tol` and `max_steps`; every name is
    looked up in `module`. One forward runs on the batch, without gradients and in the modes the modules are in;
    `contain` wraps it. Of a layer that is called several times the first call counts. Afterwards everything else is as
    it was: buffers, hooks, what the modules keep, the random number generators.

    A layer whose output does not vary, as behind a gain of zero, leaves its weight as it was drawn.

    Raises UserError when the forward fails, when no layer's output varies, or when a variance is not finite.
    """
    from paraminspect.isolation.untouched import untouched
    from paraminspect.modules.walk import walk

    weights = [_Weight(name, parameter, **scheme.args) for name, parameter, scheme in chosen]
    modules = [child for _, child in walk(module).once()]
    with untouched(modules, _kept_tensors(module)) as watching, _fitting_hooks(module, weights):
        _forward(module, args, kwargs, contain, watching)
    for weight in weights:
        if isinstance(weight.target, ComputedTarget):
            weight.target.refresh()
    if weights and all(weight.is_still for weight in weights):
        raise weights[0].fault("no variance")
    return tuple(weight.result() for weight in weights)


@dataclass
class _Weight:
    """A weight being scaled; `stds` are the standard deviations that its layer's output had so far, in order."""

    name: str
    target: nn.Parameter | StoredTarget | ComputedTarget
    tol: float
    max_steps: int
    stds: list[float | None] = field(default_factory=list)
    calls: int = 0
    why_still: str = ""
    is_fixed: bool = False

    @property
    def is_still(self) -> bool:
        """Tell whether the output of its layer does not vary, so that there is nothing to divide by."""
        return bool(self.stds) and self.stds[-1] == 0.0

    def fit(self, output: Any, again: Callable[[], Any]) -> Any:
        """Divide until the variance is near 1; return what the layer gives now. `again` runs its forward once more."""
        self.stds.append(_std(output))
        drawn = _elements(self.target) if self._divisor() is not None else None
        while (std := self._divisor()) is not None and len(self.stds) <= self.max_steps:
            earlier = output
            _divide(self.target, std)
            output = again()
            self.stds.append(_std(output))
            if abs(std - 1.0) > _NOTABLE and _is_same(earlier, output, std):
                _put_back(self.target, drawn)
                self.is_fixed = True
                return again()
        return output

    def _divisor(self) -> float | None:
        """Return the last std if the variance is not near 1 yet and the std is a number to divide by, else None."""
        std = self.stds[-1]
        is_off = std is not None and 0.0 < std < math.inf and abs(std**2 - 1.0) >= self.tol
        return std if is_off else None

    def result(self) -> Calibration:
        """Return how the weight was scaled; raises UserError when its output had no std to divide by."""
        last = self.stds[-1] if self.stds else None
        if last is not None and not last < math.inf:
            raise self.fault("a variance that is not finite")
        if self.is_still or self.is_fixed:
            return Calibration(self.name, None, None, 1.0, 0, self._note())
        divisors = [std for std in self.stds[:-1] if std is not None]
        before = self.stds[0] if self.stds else None
        return Calibration(self.name, before, last, 1.0 / math.prod(divisors), len(divisors), self._note())

    def fault(self, variance: str) -> UserError:
        """Return the error for a weight whose layer gives no variance to go by."""
        message = f"lsuv cannot scale {self.name!r}: what its layer returns on this input has {variance}"
        return UserError(message, hint=_INPUT, code="no-variance")

    def _note(self) -> str:
        """Return a note on what the figures alone do not show, or an empty text."""
        if self.is_fixed:
            return f"what its layer returns stops changing with the size of the weight{self.why_still}: not scaled"
        if self.is_still:
            return f"what its layer returns does not vary{self.why_still}: not scaled"
        if not self.calls:
            return "its layer was not called: not scaled"
        if self.stds[-1] is None:
            return "its layer returned no real numbers: not scaled"
        if (std := self._divisor()) is not None:
            return f"the variance is {std**2:.4g} after {self.max_steps} steps"
        return f"its layer was called {self.calls} times: scaled on the first call" if self.calls > 1 else ""


def _std(output: Any) -> float | None:
    """Return the population std of the first tensor in `output`; None where there is none of real numbers."""
    import torch

    from paraminspect.modules.nested_tensors import tensors_in

    first = next(iter(tensors_in(output)), None)
    if first is None or first.is_meta or not first.is_floating_point():
        return None
    with torch._C.DisableTorchFunction():
        return float(first.detach().double().std(correction=0)) if first.numel() else 0.0


def _divide(target: torch.Tensor | StoredTarget | ComputedTarget, std: float) -> None:
    """Divide in place; the write is ours, and no mode that watches for the forward's own writes is to undo it."""
    import torch

    with torch._C.DisableTorchFunction(), torch.no_grad():
        if isinstance(target, ComputedTarget):
            target.divide(std)
        else:
            (target.parameter if isinstance(target, StoredTarget) else target).div_(std)


def _is_same(earlier: Any, now: Any, std: float) -> bool:
    """Tell whether a division changed nothing: a layer that standardises its weight takes no notice of its size."""
    import torch

    from paraminspect.modules.nested_tensors import tensors_in

    one, other = (next(iter(tensors_in(output)), None) for output in (earlier, now))
    if one is None or other is None or one.shape != other.shape or one is other:
        return False
    with torch._C.DisableTorchFunction():
        return bool((one.detach() - other.detach()).abs().max() < _SAME * std)


def _elements(target: torch.Tensor | StoredTarget | ComputedTarget) -> torch.Tensor | None:
    """Return a copy of the elements of a Parameter; None for a weight whose size is known to show."""
    import torch

    if isinstance(target, ComputedTarget):
        return None
    with torch._C.DisableTorchFunction():
        return (target.parameter if isinstance(target, StoredTarget) else target).detach().clone()


def _put_back(target: torch.Tensor | StoredTarget | ComputedTarget, elements: torch.Tensor | None) -> None:
    import torch

    if elements is not None and not isinstance(target, ComputedTarget):
        with torch._C.DisableTorchFunction(), torch.no_grad():
            (target.parameter if isinstance(target, StoredTarget) else target).copy_(elements)


def _why_still(owner: nn.Module, name: str, args: Sequence[Any]) -> str:
    """Say why the output of a layer does not vary: its input does not, or a parameter beside the weight is zero."""
    from paraminspect.modules.walk import registered

    if _std(args) == 0.0:
        return ", for its input is the same everywhere"
    leaf = name.rpartition(".")[2]
    zeros = [key for key, one in registered(owner, "_parameters") if key not in (leaf, "bias") and not one.any()]
    return f", for its {zeros[0]!r} is zero" if zeros else ""


@contextlib.contextmanager
def _fitting_hooks(module: nn.Module, weights: Sequence[_Weight]) -> Iterator[None]:
    """Fit every weight when its owner is called for the first time, and count the calls."""
    from paraminspect.modules.walk import walk

    owners = dict(walk(module).paths)
    held: dict[nn.Module, list[_Weight]] = {}
    for weight in weights:
        held.setdefault(owners[_owner(weight.name)], []).append(weight)

    def fit(owner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        for weight in held[owner]:
            weight.calls += 1
            if weight.calls == 1:
                output = weight.fit(output, lambda: owner.forward(*args, **kwargs))
                weight.why_still = _why_still(owner, weight.name, args) if weight.is_still or weight.is_fixed else ""
        return output

    # before the hooks of the user's, which may change what the layer returned
    handles = [owner.register_forward_hook(fit, prepend=True, with_kwargs=True) for owner in held]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _owner(name: str) -> str:
    """Return the path of the layer that a weight serves; a parametrised one is held by a list inside of it."""
    head, inside, _ = f".{name}".partition(_PARAMETRISED)
    return head.removeprefix(".") if inside else name.rpartition(".")[0]


def _kept_tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the tensors that a forward may change and this one must not: buffers, and lazy parameters."""
    from torch.nn.parameter import is_lazy

    from paraminspect.modules.walk import registered, walk

    for _, owner in walk(module).once():
        yield from (buffer for _, buffer in registered(owner, "_buffers"))
        yield from (parameter for _, parameter in registered(owner, "_parameters") if is_lazy(parameter))


def _forward(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    contain: Callable[[], AbstractContextManager[None]],
    watching: AbstractContextManager[object],
) -> None:
    """Run the forward without gradients; raises UserError naming the layer that failed."""
    import torch

    from paraminspect.analysis.passes.failing_module import explain
    from paraminspect.analysis.passes.running_modules import Running
    from paraminspect.isolation.torch_state import eager, room
    from paraminspect.modules.walk import walk

    running = Running(walk(module))
    try:
        with torch.inference_mode(False), torch.no_grad(), eager(), room(), running.active(), contain(), watching:
            module(*args, **kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may exit
        failed = explain(error, running.blamed(error), "forward")
        where = f"layer {failed.module!r}" if failed.module else "forward"
        message = f"lsuv needs a forward, which failed: {failed.message}"
        raise UserError(message, where=where, code="forward-failed") from error
    finally:
        running.forget()
