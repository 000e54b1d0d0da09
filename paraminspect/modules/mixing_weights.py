"""Which weights mix inputs, and which are the gains of normalisation layers: read from classes, names and shapes.

Torch's own layers are known by their class, also below a subclass of it. Of a class of another package the last word
of its name decides (``LlamaRMSNorm`` is a norm, ``LayerNormLinear`` a linear layer), else what it holds: a weight and
a bias of the same shape act on one element each.
"""

from __future__ import annotations

import re
from math import prod
from typing import Final

from torch import jit, nn
from torch.nn.modules import batchnorm, conv, rnn
from torch.nn.parameter import is_lazy

from paraminspect.modules.walk import registered

_MIXING: Final = (
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
    conv._ConvNd,
    rnn.RNNBase,
    rnn.RNNCellBase,
)
_NORMS: Final = (batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d)
_OTHER_WORD: Final = re.compile(
    r"linear|dense|conv|embed|attention|proj|lstm|gru|rnn|mlp|block|flow|model|network|net$", re.IGNORECASE
)
_NORM_WORD: Final = re.compile(r"norm(?!al)|normali[sz](?!ed|ing)", re.IGNORECASE)
_MATRIX: Final = 2


def mixes_inputs(module: nn.Module, name: str, shape: tuple[int, ...] | None) -> bool:
    """Tell whether the weight `name` of `module` sums over inputs: it is no gain, and no factor of single elements.

    `shape` is None where it is not known yet. The weight of nn.LayerNorm((4, 4)) is a gain; so are (8,), and (8, 1, 1)
    in a class that is not torch's.
    """
    if shape is not None and len(shape) < _MATRIX:
        return False
    if is_of_norm(module, name):
        return False
    if isinstance(module, _MIXING):
        return True
    return shape is None or len(shape) == _MATRIX or sum(size > 1 for size in shape) > 1


def is_of_norm(module: nn.Module, name: str) -> bool:
    """Tell whether the parameter `name` of `module` is the gain or the shift of a normalisation."""
    return bool(_NORM_WORD.search(name)) or is_norm(module)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module is a normalisation layer: torch's, one by its class's name, or one by what it holds."""
    if isinstance(module, _MIXING):
        return False
    if isinstance(module, _NORMS):
        return True
    held = {name: tensor for name, tensor in registered(module, "_parameters") if not is_lazy(tensor)}
    weight, bias = held.get("weight"), held.get("bias")
    shape = None if weight is None else tuple(weight.shape)
    if any(map(_ends_as_norm, _class_names(module))):
        return shape is None or len(shape) < _MATRIX or bias is None or tuple(bias.shape) == shape
    if shape is None or bias is None or len(held) != _MATRIX or tuple(bias.shape) != shape:
        return False
    return prod(shape) > 1 and (len(shape) != _MATRIX or min(shape) > 1)  # (1, n) may be a matrix of one input


def _ends_as_norm(kind: str) -> bool:
    """Tell whether of all the words in a class's name that say what it does the last one is a norm."""
    norms = [match.end() for match in _NORM_WORD.finditer(kind)]
    others = [match.end() for match in _OTHER_WORD.finditer(kind)]
    return bool(norms) and max(norms) > max(others, default=0)


def _class_names(module: nn.Module) -> list[str]:
    """Return the names of a module's class and of those it derives from, up to torch's own; a script's first name."""
    scripted = [module.original_name] if isinstance(module, jit.ScriptModule) else []
    return [*scripted, *(kind.__name__ for kind in type(module).__mro__ if not kind.__module__.startswith("torch."))]
