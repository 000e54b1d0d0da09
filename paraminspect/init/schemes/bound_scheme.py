"""A scheme with all its arguments: whether it can fill a tensor, how it does, and the line of Python that would."""

from __future__ import annotations

import importlib
import inspect
import math
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.schemes.activation import LINEAR, following_activation
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.fans import fan_in_and_fan_out
from paraminspect.init.schemes.scheme import AUTO, Scheme, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn

RANDOM_DTYPES: Final = ("float16", "bfloat16", "float32", "float64")
"""The dtypes for which torch draws real random numbers."""

LOW_PRECISION: Final = ("float16", "bfloat16")

LARGEST: Final = {
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
    "float16": 65504.0,
    "bfloat16": 255.0 * 2.0**120,
    "float32": (2.0 - 2.0**-23) * 2.0**127,
    "float64": (2.0 - 2.0**-52) * 2.0**1023,
    "complex64": (2.0 - 2.0**-23) * 2.0**127,
    "complex128": (2.0 - 2.0**-52) * 2.0**1023,
}
"""The largest finite value of each floating-point dtype; of the real part of a complex one."""

INTEGER_RANGES: Final = {
    "bool": (0, 1),
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class BoundScheme:
    """A scheme with all its arguments: `args` is complete, in torch's order."""

    scheme: Scheme
    args: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the scheme's name."""
        return self.scheme.name

    @property
    def needs_batch(self) -> bool:
        """Tell whether the weights are to be scaled on a batch once they are filled, see `init.calibration`."""
        return self.scheme.needs_batch

    @property
    def is_open(self) -> bool:
        """Tell whether an argument is left to the model: see `for_parameter`."""
        return bool(self.scheme.activation) and self.args[self.scheme.activation] == AUTO

    @property
    def solution(self) -> dict[str, Any]:
        """Return the numbers that were solved for: the gain of an activation, the variances of a critical point.

        Raises UserError where an argument is left to the model, and where there is no solution.
        """
        return self.scheme.solve(self.args) if self.scheme.solve else {}

    @property
    def remark(self) -> str:
        """Return what these arguments come to and do not look like; "" for nothing."""
        return self.scheme.remark(self.args)

    def __str__(self) -> str:
        """Spell the scheme as on the command line, with the arguments that differ from their defaults."""
        given = ",".join(f"{name}={value}" for name, value in self._changed().items())
        return f"{self.name}:{given}" if given else self.name

    def for_parameter(self, module: nn.Module, name: str) -> BoundScheme:
        """Return the scheme for parameter `name` of `module`: ``auto`` is replaced by the activation that follows.

        Raises UserError where the module tree does not tell.
        """
        if not self.is_open:
            return self
        found, argument = following_activation(module, name), self.scheme.activation
        if found is None:
            message = f"{self.name} cannot tell which activation follows {name!r}"
            hint = f"say which, e.g. {self.name}:{argument}=tanh; it sees the layers of an nn.Sequential"
            raise UserError(message, hint=hint, code="unknown-activation")
        left_out = dict.fromkeys(self.scheme.unless_linear if found == LINEAR else ())
        return replace(self, args={**self.args, argument: found, **left_out})

    def lack(self, shape: Shape) -> str:
        """Return what `shape` lacks for this scheme, as words after its name, "" when it can be filled."""
        scheme = self.scheme
        return _wrong_ndim(scheme, len(shape)) or _wrong_size(scheme, shape) or scheme.misfit(shape, self.args)

    def check(self, name: str, shape: Shape, dtype: str) -> None:
        """Raise `UserError` if the scheme cannot fill parameter `name` of this shape and dtype (e.g. ``float32``)."""
        lack = self.lack(shape) or _no_bias(self.scheme, name, shape)
        if lack:
            message = f"{self.scheme.name} {lack}; parameter {name!r} has shape {shape}"
            raise UserError(message, hint=_advice(self.scheme, name, shape), code="wrong-shape")
        if self.scheme.random and dtype not in RANDOM_DTYPES:
            message = f"{self.scheme.name} can fill {', '.join(RANDOM_DTYPES)}; parameter {name!r} is {dtype}"
            raise UserError(message, hint="leave it out of the rule, or use constant", code="wrong-dtype")
        limits = _beyond(dtype, self._moments_for(name, shape))
        if limits:
            message = f"{self} does not fit parameter {name!r}, which is {dtype}"
            raise UserError(message, hint=limits, code="wrong-dtype")

    def _moments_for(self, name: str, shape: Shape) -> ExpectedMoments:
        """Return the moments; an error says which parameter has none."""
        try:
            return self.moments(shape)
        except UserError as error:
            message = f"{self} cannot fill {name!r}: {error.message}"
            raise UserError(message, hint=error.hint, code=error.code) from error

    def moments(self, shape: Shape) -> ExpectedMoments:
        """Return what the scheme should give a tensor of this shape."""
        return self.scheme.moments(shape, self.args)

    def fans(self, shape: Shape) -> tuple[int, int] | None:
        """Return (fan_in, fan_out) as torch counts them, or None when the scheme uses neither."""
        return fan_in_and_fan_out(shape) if self.scheme.uses_fans and len(shape) > 1 else None

    def apply(self, tensor: torch.Tensor, name: str = "") -> None:
        """Fill `tensor` in place, drawing from torch's global generator, without recording a gradient.

        It makes the call that `line` prints, except that a scheme with a `fallback` uses that one for memory that is
        not contiguous, some of which torch's function refuses. `name`, the parameter's, serves the messages of schemes
        that can fail: a user's function can.
        """
        import torch

        dtype = str(tensor.dtype).removeprefix("torch.")
        recipe = self._recipe(dtype, contiguous=tensor.is_contiguous())
        function = _load_recipe(recipe) if recipe else getattr(torch.nn.init, f"{self._torchs}_")
        with torch.no_grad():
            function(tensor, **self._given())

    def line(self, target: str, dtype: str = "float32") -> str:
        """Return the Python statement for a script, e.g. ``nn.init.normal_(net[0].weight, std=0.01)``."""
        function = self._recipe(dtype) or f"nn.init.{self._torchs}_"
        given = self._given()
        call = f"{function}({', '.join([target, *(f'{name}={value!r}' for name, value in given.items())])})"
        return f"{call}  # {self}" if self.scheme.solve and given else call

    def helper(self, dtype: str = "float32") -> str:
        """Return the source of the functions that `line` needs, two blank lines apart; "" where torch's own does.

        They need nothing but ``import math``, ``import torch`` and ``from torch import nn``.
        """
        recipe = self._recipe(dtype)
        return "\n\n\n".join(sources(recipe)) if recipe else ""

    @property
    def _torchs(self) -> str:
        return self.scheme.function or self.name

    def _changed(self) -> dict[str, Any]:
        """Return the arguments that differ from their defaults, in torch's order."""
        defaults = {argument.name: argument.default for argument in self.scheme.arguments}
        return {name: value for name, value in self.args.items() if value != defaults[name]}

    def _given(self) -> dict[str, Any]:
        """Return what the function is called with."""
        return self.solution if self.scheme.solve else self._changed()

    def _recipe(self, dtype: str, *, contiguous: bool = True) -> str:
        """Return the name of the recipe that fills such a tensor, or "" for torch's own function."""
        needs_fallback = dtype in LOW_PRECISION or not contiguous
        return (needs_fallback and self.scheme.fallback) or self.scheme.recipe


def sources(recipe: str) -> list[str]:
    """Return the source of a recipe, behind those of the recipes it calls."""
    function = _load_recipe(recipe)
    called = [name for name in function.__code__.co_names if hasattr(function.__globals__.get(name), "__code__")]
    return [*(text for name in called for text in sources(name)), inspect.getsource(function).strip()]


def _load_recipe(name: str) -> FunctionType:
    function: FunctionType = getattr(importlib.import_module("paraminspect.init.schemes.recipes"), name)
    return function


def _wrong_ndim(scheme: Scheme, ndim: int) -> str:
    low, high = scheme.min_ndim, scheme.max_ndim
    if ndim >= low and (high is None or ndim <= high):
        return ""
    if high is None:
        return f"needs at least {low} dimensions"
    return f"needs {low} dimensions" if low == high else f"needs {low} to {high} dimensions"


def _wrong_size(scheme: Scheme, shape: Shape) -> str:
    """Refuse an empty tensor where a fan may be 0: torch divides by it, or warns and does nothing."""
    return "needs at least one element" if scheme.uses_fans and 0 in shape else ""


def _no_bias(scheme: Scheme, name: str, shape: Shape) -> str:
    """Refuse what has one dimension and is no bias: the weight of a norm is a factor, not a sum."""
    is_bias = "bias" in name.rpartition(".")[2]
    return "needs at least 2 dimensions, or a bias" if scheme.biases and len(shape) == 1 and not is_bias else ""


def _advice(scheme: Scheme, name: str, shape: Shape) -> str:
    if 0 in shape:
        return "leave it out of the rule: it has nothing to fill"
    if len(shape) < 2 and "weight" in name.rpartition(".")[2]:
        return "name the parameters that have them"
    return scheme.shape_hint


def _beyond(dtype: str, moments: ExpectedMoments) -> str:
    """Return what `dtype` can hold if that is less than these moments need, else ""."""
    ends = [x for x in (moments.low, moments.high) if x is not None]
    if dtype in INTEGER_RANGES:
        low, high = INTEGER_RANGES[dtype]
        fits = all(low <= x <= high and x == math.floor(x) for x in ends)
        return "" if fits else f"{dtype} holds whole numbers from {low} to {high}"
    largest = LARGEST.get(dtype, math.inf)
    spread = max(ends) - min(ends) if ends else 0.0
    sizes = [abs(x) for x in (*ends, spread, moments.mean, moments.std) if x is not None]
    return "" if all(x <= largest for x in sizes) else f"the largest {dtype} is {largest:g}"
