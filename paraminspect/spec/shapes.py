"""The shapes of the parameters and buffers of a layer, in exact integers, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeAlias

from paraminspect.errors import UserError
from paraminspect.spec.model import LayerItem
from paraminspect.spec.signatures import LAYERS, resolve

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = tuple[Shape, ...]
Arguments: TypeAlias = Mapping[str, Any]

MAX_TENSORS: Final = 100_000


def parameter_shapes(layer: str, arguments: Arguments) -> Shapes:
    """Return the shapes of the parameters that `layer`, a class of the table, will own.

    `arguments` are all of its arguments, defaults filled in (`layers.resolve`). Nothing is known of a Lazy class:
    no shapes. Of arguments that torch refuses, the shapes mean nothing. Raises UserError for more than
    `MAX_TENSORS` of them.
    """
    formula = _PARAMETERS.get(layer)
    return formula(arguments) if formula else ()


def buffer_shapes(layer: str, arguments: Arguments) -> Shapes:
    """Return the shapes of the buffers that `layer` will own, of the same arguments as `parameter_shapes`."""
    formula = _BUFFERS.get(layer)
    return formula(arguments) if formula else ()


# --- layers ------------------------------------------------------------------------------------------------


def _with_bias(weight: Shape, bias: bool, width: int | None = None) -> Shapes:
    return (weight, (weight[0] if width is None else width,)) if bias else (weight,)


def _linear(a: Arguments) -> Shapes:
    return _with_bias((a["out_features"], a["in_features"]), a["bias"])


def _plain_bias_linear(a: Arguments) -> Shapes:
    return ((a["out_features"], a["in_features"]),)


def _bilinear(a: Arguments) -> Shapes:
    return _with_bias((a["out_features"], a["in1_features"], a["in2_features"]), a["bias"])


def _kernel(a: Arguments, n: int) -> Shape:
    size = a["kernel_size"]
    return size if isinstance(size, tuple) else (size,) * n


def _conv(n: int, a: Arguments) -> Shapes:
    return _with_bias((a["out_channels"], a["in_channels"] // a["groups"], *_kernel(a, n)), a["bias"])


def _conv_transpose(n: int, a: Arguments) -> Shapes:
    weight = (a["in_channels"], a["out_channels"] // a["groups"], *_kernel(a, n))
    return _with_bias(weight, a["bias"], a["out_channels"])


def _embedding(a: Arguments) -> Shapes:
    return ((a["num_embeddings"], a["embedding_dim"]),)


def _prelu(a: Arguments) -> Shapes:
    return ((a["num_parameters"],),)


# --- norms -------------------------------------------------------------------------------------------------


def _channel_norm(width: str, a: Arguments) -> Shapes:
    return _with_bias((a[width],), a["bias"]) if a["affine"] else ()


def _running(a: Arguments) -> Shapes:
    """Return the shapes of the running mean and variance and of the number of batches."""
    return ((a["num_features"],), (a["num_features"],), ()) if a["track_running_stats"] else ()


def _shape_norm(a: Arguments) -> Shapes:
    shape = a["normalized_shape"]
    weight = shape if isinstance(shape, tuple) else (shape,)
    return (weight,) * (2 if a.get("bias") else 1) if a["elementwise_affine"] else ()


# --- recurrent layers --------------------------------------------------------------------------------------


def _cell(gates: int, a: Arguments) -> Shapes:
    rows = gates * a["hidden_size"]
    weights = ((rows, a["input_size"]), (rows, a["hidden_size"]))
    return (*weights, (rows,), (rows,)) if a["bias"] else weights


def _recurrent(gates: int, a: Arguments) -> Shapes:
    projected = a.get("proj_size", 0)
    hidden = projected or a["hidden_size"]
    directions = 2 if a["bidirectional"] else 1
    first = _direction(gates, a, a["input_size"], hidden, projected) * directions
    later = _direction(gates, a, hidden * directions, hidden, projected) * directions
    return first + _times(later, a["num_layers"] - 1)


def _direction(gates: int, a: Arguments, width: int, hidden: int, projected: int) -> Shapes:
    rows = gates * a["hidden_size"]
    weights = ((rows, width), (rows, hidden)) + (((projected, a["hidden_size"]),) if projected else ())
    return (*weights, (rows,), (rows,)) if a["bias"] else weights


# --- attention ---------------------------------------------------------------------------------------------


def _attention(a: Arguments) -> Shapes:
    e = a["embed_dim"]
    kdim, vdim = (e if a[key] is None else a[key] for key in ("kdim", "vdim"))
    projections = ((3 * e, e),) if kdim == vdim == e else ((e, e), (e, kdim), (e, vdim))
    biases = ((3 * e,), (e,)) if a["bias"] else ()
    extra = ((1, 1, e), (1, 1, e)) if a["add_bias_kv"] else ()
    return (*projections, *biases, *extra, (e, e))


def _transformer_layer(attentions: int, a: Arguments) -> Shapes:
    d, width, bias = a["d_model"], a["dim_feedforward"], a["bias"]
    attention = (*_with_bias((3 * d, d), bias), *_with_bias((d, d), bias))
    feedforward = (*_with_bias((width, d), bias), *_with_bias((d, width), bias))
    return attention * attentions + feedforward + _with_bias((d,), bias) * (attentions + 1)


def _transformer(a: Arguments) -> Shapes:
    return _half("encoder", 1, a) + _half("decoder", 2, a)


def _half(name: str, attentions: int, a: Arguments) -> Shapes:
    custom = a[f"custom_{name}"]
    if custom is not None:
        return _nested(parameter_shapes, custom)
    layers = _times(_transformer_layer(attentions, a), a[f"num_{name}_layers"])
    return layers + _with_bias((a["d_model"],), a["bias"])


def _transformer_buffers(a: Arguments) -> Shapes:
    return _nested(buffer_shapes, a["custom_encoder"]) + _nested(buffer_shapes, a["custom_decoder"])


def _stack(shapes: Callable[[str, Arguments], Shapes], layer: str, a: Arguments) -> Shapes:
    return _times(_nested(shapes, a[layer]), a["num_layers"]) + _nested(shapes, a["norm"])


def _nested(shapes: Callable[[str, Arguments], Shapes], layer: LayerItem | None) -> Shapes:
    if layer is None or layer.type not in LAYERS:
        return ()
    return shapes(layer.type, resolve(layer.type, layer.args, layer.kwargs))


def _times(shapes: Shapes, n: int) -> Shapes:
    if len(shapes) * n > MAX_TENSORS:
        message = f"one layer would own {len(shapes) * n} tensors; at most {MAX_TENSORS} are read"
        raise UserError(message, hint="use fewer layers", code="too-large")
    return shapes * n


# --- losses that own parameters ----------------------------------------------------------------------------


def _adaptive_softmax(a: Arguments) -> Shapes:
    width, cutoffs = a["in_features"], (*a["cutoffs"], a["n_classes"])
    head = _with_bias((cutoffs[0] + len(cutoffs) - 1, width), a["head_bias"])
    try:
        return head + tuple(_tail(width, a["div_value"], cutoffs))
    except ArithmeticError:  # torch refuses a div_value of 0 in the same way, after building the head
        return head


def _tail(width: int, div_value: float, cutoffs: Shape) -> Iterator[Shape]:
    for i, (low, high) in enumerate(pairwise(cutoffs), start=1):
        # The expression of torch.nn.AdaptiveLogSoftmaxWithLoss: it rounds as floats do.
        reduced = int(width // (div_value**i))
        yield reduced, width
        yield high - low, reduced


def _linear_cross_entropy(a: Arguments) -> Shapes:
    return _with_bias((math.prod(a["out_features"], start=a["num_classes"]), a["in_features"]), a["bias"])


_Formula: TypeAlias = Callable[[Arguments], Shapes]

_PARAMETERS: Final[dict[str, _Formula]] = {
    "Linear": _linear,
    "PlainBiasLinear": _plain_bias_linear,
    "Bilinear": _bilinear,
    **{f"Conv{n}d": partial(_conv, n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": partial(_conv_transpose, n) for n in (1, 2, 3)},
    "Embedding": _embedding,
    "EmbeddingBag": _embedding,
    "PReLU": _prelu,
    **{f"{kind}Norm{n}d": partial(_channel_norm, "num_features") for kind in ("Batch", "Instance") for n in (1, 2, 3)},
    "SyncBatchNorm": partial(_channel_norm, "num_features"),
    "GroupNorm": partial(_channel_norm, "num_channels"),
    "LayerNorm": _shape_norm,
    "RMSNorm": _shape_norm,
    "RNNCell": partial(_cell, 1),
    "GRUCell": partial(_cell, 3),
    "LSTMCell": partial(_cell, 4),
    "RNN": partial(_recurrent, 1),
    "GRU": partial(_recurrent, 3),
    "LSTM": partial(_recurrent, 4),
    "MultiheadAttention": _attention,
    "TransformerEncoderLayer": partial(_transformer_layer, 1),
    "TransformerDecoderLayer": partial(_transformer_layer, 2),
    "TransformerEncoder": partial(_stack, parameter_shapes, "encoder_layer"),
    "TransformerDecoder": partial(_stack, parameter_shapes, "decoder_layer"),
    "Transformer": _transformer,
    "AdaptiveLogSoftmaxWithLoss": _adaptive_softmax,
    "LinearCrossEntropyLoss": _linear_cross_entropy,
}

_BUFFERS: Final[dict[str, _Formula]] = {
    **{f"{kind}Norm{n}d": _running for kind in ("Batch", "Instance") for n in (1, 2, 3)},
    "SyncBatchNorm": _running,
    "TransformerEncoder": partial(_stack, buffer_shapes, "encoder_layer"),
    "TransformerDecoder": partial(_stack, buffer_shapes, "decoder_layer"),
    "Transformer": _transformer_buffers,
}
