"""Read from a call of a torch function what it did to the signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from paraminspect.analysis.passes.operands import name_of
from paraminspect.analysis.signal.operations import (
    PLAIN,
    TRANSPOSED,
    Connections,
    Dropout,
    Elementwise,
    Norm,
    Operation,
    Same,
    Scaling,
    Shift,
    Sum,
    Weighted,
    convolution,
    transposed,
)
from paraminspect.frozen import dataclass

SHAPED: Final = {
    *("view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "view_as", "reshape_as"),
    *("contiguous", "clone", "alias", "to", "float", "double", "half", "bfloat16", "type_as", "requires_grad_"),
    *("cpu", "cuda", "rename"),
}
"""The names of functions that leave the elements in the order in which they are counted."""
_MOVED: Final = {
    *("permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "T", "mT", "H", "mH"),
    *("roll", "flip", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
}

Settings = tuple[tuple[str, float | str], ...]

_ACTIVATIONS: Final[dict[str, tuple[str, Settings]]] = {
    "relu": ("relu", ()),
    "leaky_relu": ("leaky_relu", (("negative_slope", 0.01),)),
    "elu": ("elu", (("alpha", 1.0),)),
    "celu": ("celu", (("alpha", 1.0),)),
    "selu": ("selu", ()),
    "gelu": ("gelu", (("approximate", "none"),)),
    "silu": ("silu", ()),
    "mish": ("mish", ()),
    "tanh": ("tanh", ()),
    "sigmoid": ("sigmoid", ()),
    "special_expit": ("sigmoid", ()),
    "softplus": ("softplus", (("beta", 1.0), ("threshold", 20.0))),
    "softsign": ("softsign", ()),
    "relu6": ("relu6", ()),
    "hardsigmoid": ("hardsigmoid", ()),
    "hardswish": ("hardswish", ()),
    "hardshrink": ("hardshrink", (("lambd", 0.5),)),
    "softshrink": ("softshrink", (("lambd", 0.5),)),
    "tanhshrink": ("tanhshrink", ()),
    "log_sigmoid": ("logsigmoid", ()),
    "logsigmoid": ("logsigmoid", ()),
    "threshold": ("threshold", (("threshold", 0.0), ("value", 0.0))),
    "erf": ("erf", ()),
    "special_erf": ("erf", ()),
    "sin": ("sin", ()),
    "cos": ("cos", ()),
    "atan": ("atan", ()),
    "arctan": ("atan", ()),
}
"""Torch's functions of one element by name: what theory calls them, and their arguments after the input."""

_CUTS: Final[dict[str, dict[str, float]]] = {
    "clamp": {"min": -math.inf, "max": math.inf},
    "clip": {"min": -math.inf, "max": math.inf},
    "clamp_min": {"min": -math.inf},
    "clamp_max": {"max": math.inf},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}
"""What cuts the signal off, with the names of its bounds and what they are where they are not given."""

_OUT_OF_REACH: Final = 1e9

ACTIVATIONS: Final = {*_ACTIVATIONS, *_CUTS, "prelu"}
"""The names of functions that `read` may take for one of one element."""

_PRODUCTS: Final = {"matmul", "__matmul__", "mm"}
_ADDITIONS: Final = {"add", "__add__", "__radd__", "__iadd__", "add_"}
_SUBTRACTIONS: Final = {"sub", "__sub__", "__isub__", "sub_", "subtract"}
_MULTIPLICATIONS: Final = {"mul", "__mul__", "__rmul__", "__imul__", "mul_", "multiply"}
_DIVISIONS: Final = {"div", "__truediv__", "__itruediv__", "div_", "true_divide", "divide"}
_NEGATIONS: Final = {"neg", "__neg__", "neg_", "negative"}
_ARITHMETIC: Final = _ADDITIONS | _SUBTRACTIONS | _MULTIPLICATIONS | _DIVISIONS | _NEGATIONS


@dataclass(frozen=True)
class TorchCall:
    """One call of a torch function.

    `carries` tells whether the tensor of an id carries the signal, `owns` whether one is among the module's parameters,
    or a view of one.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    carries: Callable[[int], bool]
    owns: Callable[[Any], bool]

    def follows(self, argument: Any) -> bool:
        """Tell whether an argument carries the signal."""
        return self.carries(id(argument))

    def named(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the arguments by name, those by position having these names."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def bare_name(func: Callable[..., Any]) -> str:
    """Return the name of a function without what sets its in-place form apart."""
    name = name_of(func)
    return name if name.endswith("__") else name.rstrip("_")


def read(call: TorchCall, output: Tensor) -> Operation | None:
    """Say what a call did that returned `output`, None where theory has no word for it.

    An operation in place has changed its first argument by now: only shapes are read here, and numbers without one.
    """
    name = bare_name(call.func)
    if name in SHAPED or name in _MOVED:
        return _same(name, call, output)
    if name in _ACTIVATIONS:
        return _activation(name, call)
    if name in _BUILDERS:
        return _BUILDERS[name](call, output)
    if name in _PRODUCTS or name == "addmm":
        return _product(name, call, output)
    return _arithmetic(name_of(call.func), call, output) if name_of(call.func) in _ARITHMETIC else None


def _same(name: str, call: TorchCall, output: Tensor) -> Operation | None:
    """Read a change of shape, order or type, and whether it leaves the places where they were."""
    data = call.args[0] if call.args else None
    if not isinstance(data, Tensor) or data.numel() != output.numel():
        return None
    return Same(data, places=name not in _MOVED and data.shape == output.shape)


def _activation(name: str, call: TorchCall) -> Operation | None:
    known, parameters = _ACTIVATIONS[name]
    given = call.named(("input", *(parameter for parameter, _ in parameters)))
    data = given.get("input", given.get("self"))
    found = {key: given.get(key, usual) for key, usual in parameters}
    if not isinstance(data, Tensor) or not all(isinstance(value, (int, float, str)) for value in found.values()):
        return None
    unusual = {key: found[key] for key, usual in parameters if found[key] != usual}
    if name == "threshold":
        unusual = found
    return Elementwise(data, known, {k: v if isinstance(v, str) else float(v) for k, v in unusual.items()})


def _cut(call: TorchCall, output: Tensor) -> Operation | None:
    """Read ``clamp``, ``hardtanh`` and their like.

    A bound that is infinite, or so far out that no signal reaches it, is none: ``clamp(0, inf)`` is relu, and
    ``clamp(-inf, inf)`` leaves everything as it was.
    """
    bounds = _CUTS[bare_name(call.func)]
    given = {**bounds, **call.named(("input", *bounds))}
    low = _bound(next((given[key] for key in bounds if key.startswith("min")), None), -math.inf)
    high = _bound(next((given[key] for key in bounds if key.startswith("max")), None), math.inf)
    if not low < high:
        return None
    if math.isinf(low) and math.isinf(high):
        return Same(given["input"], places=True)
    if (low, high) == (0.0, math.inf):
        return Elementwise(given["input"], "relu")
    unusual = {"min_val": low} if low != -1.0 else {}
    return Elementwise(given["input"], "hardtanh", unusual | ({"max_val": high} if high != 1.0 else {}))


def _bound(value: Any, none: float) -> float:
    """Return a bound as a number, `none` where there is none, NaN where it differs from element to element."""
    if value is None:
        return none
    if not isinstance(value, (int, float)):
        return math.nan
    return math.copysign(math.inf, 1 if value > 0 else -1) if abs(value) > _OUT_OF_REACH else float(value)


def _prelu(call: TorchCall, output: Tensor) -> Operation | None:
    """Read a leaky rectifier whose slope is a parameter, the same for all units."""
    given = call.named(("input", "weight"))
    slopes = given["weight"].detach()
    alike = slopes.numel() > 0 and bool((slopes == slopes.reshape(-1)[0]).all())
    return (
        Elementwise(given["input"], "leaky_relu", {"negative_slope": float(slopes.reshape(-1)[0])}) if alike else None
    )


def _linear(call: TorchCall, output: Tensor) -> Operation | None:
    given = call.named(("input", "weight", "bias"))
    data, weight = given["input"], given["weight"]
    if weight.dim() != 2:
        return None
    width, fan_in = weight.shape
    units = output.dim() - 1
    return Weighted(data, weight, given.get("bias"), Connections(fan_in, width), fan_in, width, units, weight)


def _product(name: str, call: TorchCall, output: Tensor) -> Operation | None:
    """Read ``x @ w``, ``w @ x`` and ``addmm(b, x, w)`` with a matrix `w` that is not part of the signal."""
    operands = [*call.args, *call.kwargs.values()][:3]
    bias = operands.pop(0) if name == "addmm" else None
    if len(operands) != 2 or not all(isinstance(one, Tensor) for one in operands) or _factors(call):
        return None
    left, right = operands
    if call.follows(left) and not call.follows(right) and right.dim() == 2:
        fan_in, width = right.shape
        units = output.dim() - 1
        return Weighted(left, right, bias, Connections(fan_in, width), fan_in, width, units, right.mT)
    if call.follows(right) and not call.follows(left) and left.dim() == 2 and bias is None:
        width, fan_in = left.shape
        units = max(output.dim() - 2, 0)
        return Weighted(right, left, None, Connections(fan_in, width), fan_in, width, units, left)
    return None


def _factors(call: TorchCall) -> bool:
    """Tell whether ``addmm`` weighs its parts."""
    return any(call.kwargs.get(key, 1) != 1 for key in ("alpha", "beta"))


def _layer_norm(call: TorchCall, output: Tensor) -> Operation:
    given = call.named(("input", "normalized_shape", "weight", "bias", "eps"))
    size = math.prod(given["normalized_shape"])
    return Norm(given["input"], True, given.get("weight"), given.get("bias"), given.get("eps", 1e-5), size)


def _rms_norm(call: TorchCall, output: Tensor) -> Operation:
    given = call.named(("input", "normalized_shape", "weight", "eps"))
    eps = given.get("eps")
    eps = torch.finfo(output.dtype).eps if eps is None else eps
    return Norm(given["input"], False, given.get("weight"), None, eps, math.prod(given["normalized_shape"]))


def _dropout(call: TorchCall, output: Tensor) -> Operation | None:
    given = call.named(("input", "p", "training"))
    p = given.get("p", 0.5)
    if not given.get("training", given.get("train", True)) or p == 0:
        return Same(given["input"], places=True)
    return Dropout(given["input"], p) if p < 1 else None


def _convolution(call: TorchCall, output: Tensor) -> Operation:
    return convolution(call.named(PLAIN), output)


def _transposed(call: TorchCall, output: Tensor) -> Operation:
    return transposed(call.named(TRANSPOSED), output)


_BUILDERS: Final[dict[str, Callable[[TorchCall, Tensor], Operation | None]]] = {
    "prelu": _prelu,
    **dict.fromkeys(_CUTS, _cut),
    "linear": _linear,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
}


def _arithmetic(name: str, call: TorchCall, output: Tensor) -> Operation | None:
    """Read a sum of two parts of the signal; what is added to it, or multiplies it, and is a parameter or a number."""
    if name in _NEGATIONS:
        return Scaling(call.args[0], -1.0)
    given = [*call.args, *(call.kwargs[key] for key in ("other",) if key in call.kwargs)]
    if len(given) != 2 or call.kwargs.keys() - {"other", "alpha"}:
        return None
    data, other = given if call.follows(given[0]) else given[::-1]
    if not call.follows(data) or data.numel() != output.numel():
        return None
    if name in _ADDITIONS | _SUBTRACTIONS:
        factor = call.kwargs.get("alpha", 1) * (-1.0 if name in _SUBTRACTIONS else 1.0)
        if call.follows(other):
            return Sum(data, other, factor) if other.numel() == output.numel() else None
        return Shift(data, other) if call.owns(other) and factor == 1 else None
    if call.follows(other) or (name in _DIVISIONS and data is not given[0]):
        return None
    if name in _MULTIPLICATIONS and call.owns(other):
        return Scaling(data, other)
    number = _number(other)
    if number is None or (name in _DIVISIONS and number == 0):
        return None
    return Scaling(data, number if name in _MULTIPLICATIONS else 1.0 / number)


def _number(value: Any) -> float | None:
    """Return a Python number, or that of a tensor with no dimensions."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_meta and not value.is_complex():
        return float(value.detach())
    return None
