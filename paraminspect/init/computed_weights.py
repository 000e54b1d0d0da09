"""Weights that are computed from stored ones: a rule that names one goes through the inverse of what computes it.

`torch.nn.utils.parametrize` knows the right inverse of a parametrisation; the hooks of torch's older weight_norm,
spectral_norm and of pruning have one that is as simple. Nothing here imports torch before it is called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.target import Outcome
from paraminspect.isolation.user_code import call

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paraminspect.init.custom_scheme import CustomScheme
    from paraminspect.init.schemes.bound_scheme import BoundScheme

_POWER_ITERATIONS = 15  # as many as the constructor of spectral_norm makes


@dataclass(frozen=True, eq=False)
class ComputedTarget:
    """A weight that `how` computes from `stored`, which go by `stored_names`."""

    names: tuple[str, ...]
    owners: tuple[tuple[nn.Module, str], ...]
    how: str
    stored: tuple[torch.Tensor, ...]
    stored_names: tuple[str, ...]

    @cached_property
    def before(self) -> torch.Tensor:
        """Return the weight as it was when it was first asked for, which is before it is filled."""
        return self.compute().clone()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the weight."""
        return tuple(self.before.shape)

    @property
    def known_shape(self) -> tuple[int, ...]:
        """Return the shape of the weight, which is never unknown."""
        return self.shape

    @property
    def dtype(self) -> str:
        """Return the dtype of the weight, e.g. ``float32``."""
        return str(self.before.dtype).removeprefix("torch.")

    @property
    def note(self) -> str:
        """Return a note that says what computes the weight from which stored tensors."""
        return f"computed by {self.how} from {', '.join(map(repr, self.stored_names))}"

    def refuse(self) -> None:
        """Raise UserError if the computation has no known inverse."""

    def compute(self) -> torch.Tensor:
        """Return the weight as it is now, as in eval mode: computing it changes nothing."""
        raise NotImplementedError

    def fill(self, scheme: BoundScheme | CustomScheme, name: str) -> Outcome:
        """Draw a weight, and store what it is computed from; raises UserError where that gives NaN."""
        import torch

        drawn = torch.empty_like(self.before, memory_format=torch.contiguous_format)
        return self._filled(drawn, lambda tensor: scheme.apply(tensor, name), scheme.name, name)

    def fill_part(self, draw: Callable[[torch.Tensor], None], scheme: str, name: str) -> Outcome:
        """Let `draw` change a part of the weight as it is now, and store what that is computed from."""
        self.before  # noqa: B018  # asked for now, before anything is filled
        return self._filled(self.compute().clone(), draw, scheme, name)

    def _filled(self, drawn: torch.Tensor, draw: Callable[[torch.Tensor], None], scheme: str, name: str) -> Outcome:
        import torch

        with torch.no_grad():
            draw(drawn)
            self._store(drawn, name)
            now = self.compute()
        if not _finite(now) and _finite(drawn):
            message = f"{self.how} computes NaN or infinity from what {scheme} gave {name!r}"
            hint = f"a norm of zero cannot be divided by; {self._instead()}"
            raise UserError(message, hint=hint, code="not-invertible")
        return self._outcome(drawn, now)

    @property
    def takes_any_size(self) -> bool:
        """Tell whether the computation gives a weight of any size back: spectral_norm and orthogonal fix it."""
        return False

    def refresh(self) -> None:
        """Set the attribute that a hook sets before every forward; a parametrisation has none."""
        hook = getattr(self, "hook", None)
        if hook is not None:
            import torch

            with torch.enable_grad():
                hook(self.owners[0][0], ())

    def divide(self, by: float) -> None:
        """Store what a weight that much smaller is computed from."""
        self._store(self.compute() / by, self.names[0])

    def _store(self, drawn: torch.Tensor, name: str) -> None:
        raise NotImplementedError

    def _outcome(self, drawn: torch.Tensor, now: torch.Tensor) -> Outcome:
        if _agree(drawn, now):
            return Outcome(notes=(f"set through {self.how}",))
        return Outcome(kept=False, notes=(f"{self.how} computes another weight of what was drawn: not judged",))

    def _instead(self) -> str:
        return f"name what is stored: {', '.join(map(repr, self.stored_names))}"


@dataclass(frozen=True, eq=False)
class Parametrised(ComputedTarget):
    """A weight computed by the modules of a ``ParametrizationList``."""

    steps: Any

    @property
    def takes_any_size(self) -> bool:
        """Tell whether every step is a weight_norm, which keeps the size apart."""
        return all(type(step).__name__ == "_WeightNorm" for step in self.steps)

    def refuse(self) -> None:
        """Raise UserError naming a parametrisation without a right inverse."""
        for step in self.steps:
            if not hasattr(step, "right_inverse"):
                message = f"{self.names[0]!r} is computed by {type(step).__name__}, which has no right_inverse"
                hint = f"{self._instead()}; or leave it out of the rule"
                raise UserError(message, hint=hint, code="not-invertible")

    def compute(self) -> torch.Tensor:
        """Return the weight as it is now, as in eval mode: there spectral_norm leaves its vectors alone."""
        import torch

        with torch.no_grad(), _mode(self.steps, training=False):
            weight: torch.Tensor = call(f"the parametrisation of {self.names[0]!r}", self.steps)
            return weight.detach()

    def _store(self, drawn: torch.Tensor, name: str) -> None:
        originals: Any = drawn
        for step in reversed([*self.steps]):
            try:
                originals = call(f"{type(step).__name__}.right_inverse for {name!r}", step.right_inverse, originals)
            except UserError as error:
                hint = error.hint or self._instead()
                raise UserError(error.message, where=error.where, hint=hint, code="not-invertible") from error
        found = [originals] if self.steps.is_tensor else [*originals]
        self._check(found, name)
        for tensor, original in zip(self.stored, found, strict=True):
            tensor.copy_(original)
        self._follow()

    def _check(self, found: Sequence[torch.Tensor], name: str) -> None:
        """Refuse shapes other than those stored: ``copy_`` would broadcast a smaller tensor."""
        gives, takes = ([tuple(tensor.shape) for tensor in tensors] for tensors in (found, self.stored))
        if gives != takes:
            message = f"the right_inverse for {name!r} gives {_listed(gives)}, what is stored has {_listed(takes)}"
            raise UserError(message, hint=self._instead(), code="not-invertible")

    def _follow(self) -> None:
        """Let the vectors of spectral_norm follow the new matrix, as far as its constructor takes them."""
        value: Any = self.stored if not self.steps.is_tensor else self.stored[0]
        with _mode(self.steps, training=False):
            for number, step in enumerate(self.steps):
                several = number == 0 and not self.steps.is_tensor
                if type(step).__name__ == "_SpectralNorm":
                    with _mode(step, training=True):
                        for _ in range(_POWER_ITERATIONS):
                            step(value)
                value = step(*value) if several else step(value)


@dataclass(frozen=True, eq=False)
class WeightNormed(ComputedTarget):
    """A weight of torch's older ``nn.utils.weight_norm``: a hook sets it before every forward."""

    hook: Any
    takes_any_size = True

    def compute(self) -> torch.Tensor:
        """Return g·v/‖v‖, g and v being what is stored."""
        import torch

        with torch.no_grad():
            weight: torch.Tensor = self.hook.compute_weight(self.owners[0][0])
            return weight

    def _store(self, drawn: torch.Tensor, name: str) -> None:
        import torch

        norm, direction = self.stored
        norm.copy_(torch.norm_except_dim(drawn, 2, self.hook.dim))
        direction.copy_(drawn)
        self.refresh()


@dataclass(frozen=True, eq=False)
class SpectralNormed(ComputedTarget):
    """A weight of torch's older ``nn.utils.spectral_norm``."""

    hook: Any

    def compute(self) -> torch.Tensor:
        """Return the stored matrix over its largest singular value, as far as the vectors know it."""
        import torch

        with torch.no_grad():
            weight: torch.Tensor = self.hook.compute_weight(self.owners[0][0], do_power_iteration=False)
            return weight

    def _store(self, drawn: torch.Tensor, name: str) -> None:
        import torch

        owner = self.owners[0][0]
        self.stored[0].copy_(drawn)
        for _ in range(_POWER_ITERATIONS):
            self.hook.compute_weight(owner, do_power_iteration=True)
        with torch.enable_grad():
            setattr(owner, self.hook.name, self.hook.compute_weight(owner, do_power_iteration=False))


@dataclass(frozen=True, eq=False)
class Pruned(ComputedTarget):
    """A weight of ``nn.utils.prune``: a mask times what is stored."""

    hook: Any
    takes_any_size = True

    def compute(self) -> torch.Tensor:
        """Return the stored weight with the mask's zeros in it."""
        import torch

        with torch.no_grad():
            weight: torch.Tensor = self.hook.apply_mask(self.owners[0][0])
            return weight

    def _store(self, drawn: torch.Tensor, name: str) -> None:

        self.stored[0].copy_(drawn)
        self.refresh()

    def _outcome(self, drawn: torch.Tensor, now: torch.Tensor) -> Outcome:
        owner, leaf = self.owners[0]
        masked = getattr(owner, f"{leaf}_mask") == 0
        zeros = 0.0 if masked.is_meta or not masked.numel() else masked.sum().item() / masked.numel()
        return Outcome(zeros, notes=(f"set under the mask of pruning, which keeps {zeros:.1%} at zero",))


@contextlib.contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Set the training flag of a module and of all modules in it, and put each back afterwards."""
    before = [(inner, inner.training) for inner in module.modules()]
    for inner, _ in before:
        inner.training = training
    try:
        yield
    finally:
        for inner, was in before:
            inner.training = was


def _finite(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.is_meta or not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _agree(drawn: torch.Tensor, now: torch.Tensor) -> bool:
    """Tell whether a weight is the one that was drawn, but for the rounding of computing it."""
    import torch

    if drawn.is_meta or not drawn.numel():
        return True
    if drawn.shape != now.shape or not drawn.is_floating_point():
        return drawn.shape == now.shape and torch.equal(drawn, now)
    rounding = 32 * torch.finfo(drawn.dtype).eps
    return bool((drawn - now).abs().max() <= rounding * drawn.abs().max())


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
