"""The user's own initialiser: a Python function that changes one tensor in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.importing import load_attribute
from paraminspect.isolation.user_code import call

if TYPE_CHECKING:
    import torch
    from torch import nn

_HOW = "write it as a torch initialiser: def init_weight_(weight): with torch.no_grad(): weight.normal_(0, 0.02)"


@dataclass(frozen=True)
class CustomScheme:
    """A function that the user named as ``path/file.py:func`` or ``pkg.mod:func``; `name` is that reference."""

    name: str
    function: Callable[..., Any]
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_batch(self) -> bool:
        """Return False: a function is given the tensor and nothing else."""
        return False

    def check(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Accept every parameter: only the function knows what it can fill."""

    def moments(self, shape: tuple[int, ...]) -> None:
        """Return None: nobody knows what the values should be."""

    def fans(self, shape: tuple[int, ...]) -> None:
        """Return None: the formula is the user's."""

    def for_parameter(self, module: nn.Module, name: str) -> CustomScheme:
        """Return the function as it is: it has no argument that a module could decide."""
        return self

    def apply(self, tensor: torch.Tensor, parameter: str) -> None:
        """Call the function on `tensor` under ``torch.no_grad()``.

        Raises UserError naming the function and the parameter when it raises, changes the shape, the dtype or the
        place of the tensor, returns a new one, or leaves every bit as it was.
        """
        import torch

        from paraminspect.modules.nested_tensors import same_bits

        what = f"{self.name} on parameter {parameter!r}"
        before, shape = tensor.detach().clone(), tensor.shape
        version = tensor._version
        with torch.no_grad():
            try:
                returned = call(what, self.function, tensor)
            except UserError as error:
                raise _explained(error) from error
        if tensor.shape != shape or tensor.dtype != before.dtype:
            found = f"{tuple(tensor.shape)} {tensor.dtype}"
            message = f"{what} changed {tuple(shape)} {before.dtype} to {found}"
            raise UserError(message, hint="an initialiser fills the tensor it is given", code="scheme-changed-shape")
        untouched = tensor._version == version and same_bits(tensor, before)
        if isinstance(returned, torch.Tensor) and not _same_memory(returned, tensor) and untouched:
            message = f"{what} returned a new tensor and left the parameter as it was"
            raise UserError(message, hint=_HOW, code="scheme-not-in-place")
        if untouched and tensor.numel() and not tensor.is_meta:
            raise UserError(f"{what} changed nothing", hint=_HOW, code="scheme-not-in-place")

    def line(self, target: str, dtype: str = "float32") -> str:
        """Return the call, as a script has it: with gradients off, as `apply` calls it."""
        name = self.name.rpartition(":")[2]
        return f"with torch.no_grad():\n    {name}({target})"

    def helper(self, dtype: str = "float32") -> str:
        """Return the statement that brings the function into a script."""
        target, _, attribute = self.name.rpartition(":")
        first = attribute.partition(".")[0]
        if target.endswith(".py"):
            return f"import runpy\n\n{first} = runpy.run_path({target!r})[{first!r}]"
        return f"from {target} import {first}"


def _explained(error: UserError) -> UserError:
    """Return the error, with what to try if it was autograd that refused the change."""
    if "leaf Variable" in error.message:
        hint = "change the values with gradients off: with torch.no_grad(): …"
        return UserError(error.message, where=error.where, hint=hint, code="scheme-needs-no-grad")
    return error


def _same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one is other or (one.shape == other.shape and one.data_ptr() == other.data_ptr() and one.data_ptr() != 0)


def load_scheme(reference: str, args: dict[str, Any]) -> CustomScheme:
    """Import the function `reference` names; running it is the user's explicit wish.

    Raises UserError when there is no such function.
    """
    if args:
        message = f"a function takes no arguments here, got {', '.join(args)}"
        raise UserError(message, where=reference, code="scheme-bad-argument")
    function = load_attribute(reference)
    if not callable(function):
        message = f"{reference} is a {type(function).__name__}, not a function"
        raise UserError(message, hint=_HOW, code="scheme-not-callable")
    return CustomScheme(reference, function)
