"""What a layer of torch's takes: the smallest ordinary input, or a given one put right in what does not fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from paraminspect.modules.nested_tensors import dtype_name
from paraminspect.spec.model import Input

BATCH, STEPS, SIDE = 2, 4, 32


def first_input(module: nn.Module) -> Input | None:
    """Return the input of the first layer, as registered, that tells; None where one has no parameters yet.

    Parameters that hang on a container (a ``cls_token``) say nothing of its input.
    """
    layers = [*module.modules()]
    if any(isinstance(one, nn.modules.lazy.LazyModuleMixin) and one.has_uninitialized_params() for one in layers):
        return None
    return next(filter(None, map(input_of, layers)), None)


def input_of(layer: nn.Module) -> Input | None:
    """Return the smallest ordinary input of a layer of torch's, None for any other module."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return Input((BATCH, STEPS), f"0..{layer.num_embeddings - 1}", "int64") if layer.num_embeddings else None
    shape = _shape_of(layer)
    return Input(shape, "uniform", dtype_name(dtype_of(layer))) if shape and all(shape) else None


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the first parameter that has a fraction, float32 without one."""
    found = (parameter.dtype for parameter in module.parameters())
    return next((dtype for dtype in found if dtype.is_floating_point or dtype.is_complex), torch.float32)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the first parameter, or of the first buffer; the CPU without either."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def fitted(given: Input, layer: nn.Module) -> Input | None:
    """Return `given` with the channels, the features or the range that `layer` takes, and all else as it is.

    None where that is no change; where the dimensions are others, the layer's own input.
    """
    wanted = input_of(layer)
    if wanted is None:
        return None
    shape = given.shape
    if wanted.bounds:
        shape = shape if given.bounds or 0 < len(shape) < 3 else wanted.shape
    elif isinstance(layer, _ConvNd | _NormBase) and len(shape) == len(wanted.shape):
        shape = (shape[0], wanted.shape[1], *shape[2:])
    elif not isinstance(layer, _ConvNd | _NormBase) and len(shape) > 1 and not given.bounds:
        shape = (*shape[:-1], wanted.shape[-1])
    else:
        shape = wanted.shape
    found = Input(shape, wanted.sample if wanted.bounds or given.bounds else given.sample, wanted.dtype)
    return None if (found.shape, found.sample) == (given.shape, given.sample) else found


def _shape_of(layer: nn.Module) -> tuple[int, ...] | None:
    if isinstance(layer, nn.Linear):
        return BATCH, layer.in_features
    if isinstance(layer, _ConvNd):
        return BATCH, layer.in_channels, *_sides(layer)
    if isinstance(layer, nn.RNNBase):
        first, second = (BATCH, STEPS) if layer.batch_first else (STEPS, BATCH)
        return first, second, layer.input_size
    if isinstance(layer, nn.RNNCellBase):
        return BATCH, layer.input_size
    if isinstance(layer, nn.MultiheadAttention):
        return BATCH, STEPS, layer.embed_dim
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        return BATCH, *(STEPS,) * (len(layer.normalized_shape) == 1), *layer.normalized_shape
    if isinstance(layer, _NormBase):
        return BATCH, layer.num_features, *_normalised_sides(layer)
    if isinstance(layer, nn.GroupNorm):
        return BATCH, layer.num_channels, SIDE, SIDE
    return _shape_of_other(layer)


def _shape_of_other(layer: nn.Module) -> tuple[int, ...] | None:
    """Return what a Linear that is not torch's takes: it has a matrix, and says of how many features."""
    weight = layer._parameters.get("weight")
    for features in (getattr(layer, "in_features", None), getattr(layer, "in_channels", None)):
        if isinstance(features, int) and weight is not None and weight.dim() == 2 and features in weight.shape:
            return BATCH, features
    return None


def _sides(layer: _ConvNd) -> Iterator[int]:
    """Yield 32 for every dimension of space, more where the dilated kernel, less the padding, is larger."""
    padding = (0,) * len(layer.kernel_size) if isinstance(layer.padding, str) else layer.padding
    for kernel, dilation, pad in zip(layer.kernel_size, layer.dilation, padding, strict=True):
        yield max(SIDE, dilation * (kernel - 1) + 1 - 2 * pad)


def _normalised_sides(layer: _NormBase) -> list[int]:
    """Return a side for every dimension of space that the name of the class tells."""
    return [SIDE] * next((n for n in (3, 2) if type(layer).__name__.endswith(f"{n}d")), 0)
