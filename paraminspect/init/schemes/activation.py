"""An activation as an argument of a scheme: ``gelu``, ``elu:alpha=0.5``, or ``auto``, the one that follows the layer.

Several arguments of it are parted by semicolons, for commas part the scheme's: ``hardtanh:min_val=-2;max_val=2``. What
follows from an activation is asked of the theory, which is imported, and numpy with it, only then; which one follows a
layer is read from the module tree.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from paraminspect.errors import UserError
from paraminspect.init.schemes.scheme import AUTO, parse_scheme

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.theory import Activation
    from paraminspect.theory.criticality import Keep


def check(value: Any) -> None:
    """Raise UserError unless `value` is ``auto`` or an activation that the theory knows, with arguments it takes."""
    if not isinstance(value, str):
        raise UserError(f"{value!r} is not the name of an activation", hint="e.g. gelu", code="bad-argument")
    if value != AUTO:
        _activation(value)


@cache
def gain(text: str, keep: Keep) -> float:
    """Return 1/√E[φ(z)²] (`keep` is ``second_moment``) or 1/√E[φ'(z)²] (``gradient``) for z ~ N(0, 1)."""
    from paraminspect import theory

    return theory.gain(_named_activation(text), keep=keep)


@cache
def critical(text: str, sigma_b2: float | None) -> tuple[float, float]:
    """Return (σw², σb²) for which χ₁ = 1; without `sigma_b2` the activation's own critical point.

    Raises UserError where there is none.
    """
    from paraminspect import theory

    found = theory.critical(_named_activation(text), sigma_b2=sigma_b2)
    return found.sigma_w2, found.sigma_b2


def _named_activation(text: str) -> Activation:
    """Return the activation that a text names; raises UserError for ``auto``, which is read off a model."""
    if text == AUTO:
        message = f"nonlinearity={AUTO} is read off a model, and there is none"
        raise UserError(message, hint="name the activation, e.g. nonlinearity=tanh", code="unknown-activation")
    return _activation(text)


@cache
def _activation(text: str) -> Activation:
    from paraminspect import theory

    name, args = parse_scheme(text.replace(";", ","), "")
    return theory.activation(name, **args)


# --- the activation that follows a layer -------------------------------------------------------------------------

LINEAR: Final = "linear"

_ACTIVATIONS: Final = {
    "CELU": ("celu", ("alpha",)),
    "ELU": ("elu", ("alpha",)),
    "GELU": ("gelu", ("approximate",)),
    "Hardshrink": ("hardshrink", ("lambd",)),
    "Hardsigmoid": ("hardsigmoid", ()),
    "Hardswish": ("hardswish", ()),
    "Hardtanh": ("hardtanh", ("min_val", "max_val")),
    "LeakyReLU": ("leaky_relu", ("negative_slope",)),
    "LogSigmoid": ("logsigmoid", ()),
    "Mish": ("mish", ()),
    "ReLU": ("relu", ()),
    "SELU": ("selu", ()),
    "SiLU": ("silu", ()),
    "Sigmoid": ("sigmoid", ()),
    "Softplus": ("softplus", ("beta", "threshold")),
    "Softshrink": ("softshrink", ("lambd",)),
    "Softsign": ("softsign", ()),
    "Tanh": ("tanh", ()),
    "Tanhshrink": ("tanhshrink", ()),
    "Threshold": ("threshold", ("threshold", "value")),
}
"""torch.nn's elementwise activations: the name in torch.nn.functional, and the arguments that change their shape."""

_ENDS: Final = ("LogSoftmax", "Softmax", "Softmax2d", "Softmin")
"""What makes probabilities of logits: the layer before them is a linear one."""

_PASSING: Final = frozenset(
    f"torch.nn.modules.{name}"
    for name in (
        "batchnorm",
        "channelshuffle",
        "dropout",
        "flatten",
        "instancenorm",
        "normalization",
        "padding",
        "pixelshuffle",
        "pooling",
        "upsampling",
    )
)
"""Where the layers are defined that stand between a layer and its activation."""

_IDENTITY: Final = ("torch.nn.modules.linear", "Identity")

_OWN_ACTIVATION: Final = ("activation", "rnn", "transformer")
"""Where the layers are defined whose weights meet activations of their own inside."""


def following_activation(module: nn.Module, name: str) -> str | None:
    """Return the activation that follows the layer of parameter `name`, spelled as in ``nonlinearity=``.

    That is the next elementwise activation in the same Sequential, dropout, norms, pooling and the like between them;
    in what a Sequential is nested in where it ends. ``linear`` where another layer comes first, and after the last
    layer of all. None where the tree does not tell: outside of a Sequential, and next to a module it does not know.
    """
    from paraminspect.modules.walk import walk

    modules = dict(walk(module).paths)
    path = name.rpartition(".")[0]
    if not _is_layer(modules[path]):
        return None
    while path:
        above, _, child = path.rpartition(".")
        children = _in_line(modules[above])
        if children is None:
            return None
        names = [one for one, _ in children]
        rest = (layer for _, layer in children[names.index(child) + 1 :])
        for layer in _flat(rest):
            found = _spelling(layer)
            if found != "":
                return found
        path = above
    return LINEAR


def _home(layer: nn.Module) -> tuple[str, str]:
    """Return the file and the class that define a module's forward: a subclass without one of its own is what it is."""
    forward = getattr(type(layer), "forward", None)
    return getattr(forward, "__module__", ""), getattr(forward, "__qualname__", "").partition(".")[0]


def _is_layer(owner: nn.Module) -> bool:
    """Tell whether the owner is one of torch's layers that an activation can follow."""
    place, _, file = _home(owner)[0].rpartition(".")
    return place == "torch.nn.modules" and file not in _OWN_ACTIVATION


def _in_line(parent: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """Return the children that a Sequential runs one after another; None where a module does as it pleases."""
    from torch import nn

    from paraminspect.modules.demo import Residual

    if isinstance(parent, nn.Sequential) and type(parent).forward in (nn.Sequential.forward, Residual.forward):
        return list(parent._modules.items())
    return None


def _flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers in order of execution, those of nested Sequentials among them."""
    for layer in layers:
        inner = _in_line(layer)
        if inner is None:
            yield layer
        else:
            yield from _flat(one for _, one in inner)


def _spelling(layer: nn.Module) -> str | None:
    """Return an activation with the arguments that are not its defaults; "" for a layer to look past, None if unknown.

    PReLU is the leaky ReLU that it begins as.
    """
    file, kind = _home(layer)
    if file in _PASSING or (file, kind) == _IDENTITY:
        return ""
    if kind in _ENDS or (_is_layer(layer) and layer._parameters):
        return LINEAR
    if file != "torch.nn.modules.activation":
        return None
    if kind == "PReLU":
        return f"leaky_relu:negative_slope={layer.init}"
    if kind not in _ACTIVATIONS:
        return None
    name, keys = _ACTIVATIONS[kind]
    defaults = inspect.signature(getattr(sys.modules[file], kind)).parameters
    given = {key: getattr(layer, key) for key in keys}
    changed = [f"{key}={value}" for key, value in given.items() if value != defaults[key].default]
    return f"{name}:{';'.join(changed)}" if changed else name
