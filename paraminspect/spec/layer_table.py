"""The signatures of the classes a spec can name, as data. tests/spec/test_layers.py compares them with torch.

A type is one of these words, or several joined by ``|``:

- ``size``: an integer of at least 1; ``count``: of at least 0; ``int``: any;
- ``float``: a number; ``probability``: a number from 0 to 1;
- ``sizes``, ``counts``, ``ints``, ``floats``: one of them or a list; ``sizes[2]``: one, or a list of exactly two;
- ``optional_sizes``: likewise, a null in the list allowed; ``[size]``, ``[int]``: a list, perhaps empty;
- ``bool``, ``str``, ``Literal['a', 'b']``, ``dtype``, ``device``, ``layer`` (a nested layer), ``None``;
- ``tensor``, ``callable``, ``object``: what a spec cannot write.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_PLACE = "device: device | None = None, dtype: dtype | None = None"
_BIAS = f"bias: bool = True, {_PLACE}"
_INPLACE = "inplace: bool = False"
_REDUCTION = "reduction: Literal['none', 'mean', 'sum'] = 'mean'"
_AVERAGE = "size_average: bool | None = None"
_REDUCE = "reduce: bool | None = None"
_LEGACY = f"{_AVERAGE}, {_REDUCE}, {_REDUCTION}"
_WEIGHT = "weight: tensor | None = None"


def _linear() -> dict[str, str]:
    return {
        "Identity": "",
        "Linear": f"in_features: size, out_features: size, {_BIAS}",
        "Bilinear": f"in1_features: size, in2_features: size, out_features: size, {_BIAS}",
        "LazyLinear": f"out_features: size, {_BIAS}",
        "PlainBiasLinear": "in_features: size, out_features: size",
    }


def _activations() -> dict[str, str]:
    alpha = f"alpha: float = 1.0, {_INPLACE}"
    plain = ("LogSigmoid", "Sigmoid", "Softmax2d", "Softsign", "Tanh", "Tanhshrink")
    in_place = ("Hardsigmoid", "Hardswish", "Mish", "ReLU", "ReLU6", "SELU", "SiLU")
    return {
        **dict.fromkeys(plain, ""),
        **dict.fromkeys(in_place, _INPLACE),
        **dict.fromkeys(("CELU", "ELU"), alpha),
        **dict.fromkeys(("Hardshrink", "Softshrink"), "lambd: float = 0.5"),
        **dict.fromkeys(("LogSoftmax", "Softmax", "Softmin"), "dim: int | None = None"),
        "GELU": "approximate: Literal['none', 'tanh'] = 'none'",
        "GLU": "dim: int = -1",
        "Hardtanh": f"min_val: float = -1.0, max_val: float = 1.0, {_INPLACE}, "
        "min_value: float | None = None, max_value: float | None = None",
        "LeakyReLU": f"negative_slope: float = 0.01, {_INPLACE}",
        "PReLU": f"num_parameters: size = 1, init: float = 0.25, {_PLACE}",
        "RReLU": f"lower: float = 0.125, upper: float = 0.3333333333333333, {_INPLACE}",
        "Softplus": "beta: float = 1.0, threshold: float = 20.0",
        "Threshold": f"threshold: float, value: float, {_INPLACE}",
    }


def _dropouts() -> dict[str, str]:
    names = ("AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout")
    return dict.fromkeys(names, f"p: probability = 0.5, {_INPLACE}")


def _convolutions(n: int) -> dict[str, str]:
    kernel = f"out_channels: size, kernel_size: sizes[{n}], stride: sizes[{n}] = 1"
    modes = "padding_mode: Literal['zeros', 'reflect', 'replicate', 'circular'] = 'zeros'"
    direct = (
        f"{kernel}, padding: counts[{n}] | Literal['same', 'valid'] = 0, dilation: sizes[{n}] = 1, "
        f"groups: size = 1, bias: bool = True, {modes}, {_PLACE}"
    )
    transposed = (
        f"{kernel}, padding: counts[{n}] = 0, output_padding: counts[{n}] = 0, groups: size = 1, "
        f"bias: bool = True, dilation: sizes[{n}] = 1, padding_mode: Literal['zeros'] = 'zeros', {_PLACE}"
    )
    return {
        f"Conv{n}d": f"in_channels: size, {direct}",
        f"ConvTranspose{n}d": f"in_channels: size, {transposed}",
        f"LazyConv{n}d": direct,
        f"LazyConvTranspose{n}d": transposed,
    }


def _batch_norms() -> dict[str, str]:
    momentum = "eps: float = 1e-05, momentum: float | None = 0.1"
    tracked = "affine: bool = True, track_running_stats: bool = True"
    untracked = "affine: bool = False, track_running_stats: bool = False"
    bias = f"{_PLACE}, *, bias: bool = True"
    table = {
        "SyncBatchNorm": f"num_features: size, {momentum}, {tracked}, process_group: object | None = None, {bias}",
    }
    for n in (1, 2, 3):
        table[f"BatchNorm{n}d"] = f"num_features: size, {momentum}, {tracked}, {bias}"
        table[f"LazyBatchNorm{n}d"] = f"{momentum}, {tracked}, {bias}"
        fixed = momentum.replace(" | None", "")
        table[f"InstanceNorm{n}d"] = f"num_features: size, {fixed}, {untracked}, {bias}"
        table[f"LazyInstanceNorm{n}d"] = f"{fixed}, {tracked}, {bias}"
    return table


def _other_norms() -> dict[str, str]:
    response = "size: size, alpha: float = 0.0001, beta: float = 0.75, k: float"
    return {
        "CrossMapLRN2d": f"{response} = 1",
        "GroupNorm": "num_groups: size, num_channels: size, eps: float = 1e-05, affine: bool = True, "
        f"{_PLACE}, *, bias: bool = True",
        "LayerNorm": f"normalized_shape: sizes, eps: float = 1e-05, elementwise_affine: bool = True, {_BIAS}",
        "LocalResponseNorm": f"{response} = 1.0",
        "RMSNorm": f"normalized_shape: sizes, eps: float | None = None, elementwise_affine: bool = True, {_PLACE}",
    }


def _pools(n: int) -> dict[str, str]:
    sizes = f"kernel_size: sizes[{n}], stride: sizes[{n}] | None = None, padding: counts[{n}] = 0"
    average = f"{sizes}, ceil_mode: bool = False, count_include_pad: bool = True"
    return {
        f"AdaptiveAvgPool{n}d": "output_size: optional_sizes | None",
        f"AdaptiveMaxPool{n}d": "output_size: optional_sizes | None, return_indices: bool = False",
        f"AvgPool{n}d": average if n == 1 else f"{average}, divisor_override: int | None = None",
        f"LPPool{n}d": "norm_type: float, kernel_size: sizes, stride: sizes | None = None, ceil_mode: bool = False",
        f"MaxPool{n}d": "kernel_size: sizes, stride: sizes | None = None, padding: counts = 0, dilation: sizes = 1, "
        "return_indices: bool = False, ceil_mode: bool = False",
        f"MaxUnpool{n}d": sizes,
    }


def _fractional_pool(n: int) -> str:
    return (
        f"kernel_size: sizes[{n}], output_size: sizes[{n}] | None = None, output_ratio: floats[{n}] | None = None, "
        "return_indices: bool = False, _random_samples: tensor | None = None"
    )


def _pads(n: int) -> dict[str, str]:
    padding = f"padding: ints[{2 * n}]"
    names = [f"{kind}Pad{n}d" for kind in ("Circular", "Reflection", "Replication", "Zero")]
    return {**dict.fromkeys(names, padding), f"ConstantPad{n}d": f"{padding}, value: float"}


def _shapes() -> dict[str, str]:
    window = "kernel_size: sizes, dilation: sizes = 1, padding: counts = 0, stride: sizes = 1"
    modes = "'nearest', 'linear', 'bilinear', 'bicubic', 'trilinear', 'area', 'nearest-exact'"
    upsampling = "size: sizes[2] | None = None, scale_factor: floats[2] | None = None"
    return {
        "ChannelShuffle": "groups: size",
        "Flatten": "start_dim: int = 1, end_dim: int = -1",
        "Fold": f"output_size: sizes, {window}",
        "FractionalMaxPool2d": _fractional_pool(2),
        "FractionalMaxPool3d": _fractional_pool(3),
        "PixelShuffle": "upscale_factor: size",
        "PixelUnshuffle": "downscale_factor: size",
        "Unflatten": "dim: int, unflattened_size: [int]",
        "Unfold": window,
        "Upsample": "size: sizes | None = None, scale_factor: floats | None = None, "
        f"mode: Literal[{modes}] = 'nearest', "
        "align_corners: bool | None = None, recompute_scale_factor: bool | None = None",
        "UpsamplingBilinear2d": upsampling,
        "UpsamplingNearest2d": upsampling,
    }


def _recurrent() -> dict[str, str]:
    sizes = "input_size: size, hidden_size: size"
    shared = "bias: bool = True, batch_first: bool = False, dropout: probability = 0.0, bidirectional: bool = False"
    tanh = "nonlinearity: Literal['tanh', 'relu'] = 'tanh'"
    # By position, torch would take what follows `bidirectional` for proj_size, in RNN and GRU too.
    return {
        "GRU": f"{sizes}, num_layers: size = 1, {shared}, *, {_PLACE}",
        "GRUCell": f"{sizes}, {_BIAS}",
        "LSTM": f"{sizes}, num_layers: size = 1, {shared}, proj_size: count = 0, {_PLACE}",
        "LSTMCell": f"{sizes}, {_BIAS}",
        "RNN": f"{sizes}, num_layers: size = 1, {tanh}, {shared}, *, {_PLACE}",
        "RNNCell": f"{sizes}, bias: bool = True, {tanh}, {_PLACE}",
    }


def _embeddings() -> dict[str, str]:
    sizes = "num_embeddings: size, embedding_dim: size"
    padding = "padding_idx: int | None = None"
    norm = "max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False"
    sparse = "sparse: bool = False, _weight: tensor | None = None"
    return {
        "Embedding": f"{sizes}, {padding}, {norm}, {sparse}, _freeze: bool = False, {_PLACE}",
        "EmbeddingBag": f"{sizes}, {norm}, mode: Literal['sum', 'mean', 'max'] = 'mean', {sparse}, "
        f"include_last_offset: bool = False, {padding}, {_PLACE}",
    }


def _transformers() -> dict[str, str]:
    width = "dim_feedforward: size = 2048, dropout: probability = 0.1, activation: Literal['relu', 'gelu'] = 'relu'"
    rest = f"layer_norm_eps: float = 1e-05, batch_first: bool = False, norm_first: bool = False, {_BIAS}"
    layer = f"d_model: size, nhead: size, {width}, {rest}"
    return {
        "MultiheadAttention": "embed_dim: size, num_heads: size, dropout: probability = 0.0, bias: bool = True, "
        "add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: size | None = None, vdim: size | None = None, "
        f"batch_first: bool = False, {_PLACE}",
        "Transformer": "d_model: size = 512, nhead: size = 8, num_encoder_layers: count = 6, "
        f"num_decoder_layers: count = 6, {width}, custom_encoder: layer | None = None, "
        f"custom_decoder: layer | None = None, {rest}",
        "TransformerDecoder": "decoder_layer: layer, num_layers: count, norm: layer | None = None",
        "TransformerDecoderLayer": layer,
        "TransformerEncoder": "encoder_layer: layer, num_layers: count, norm: layer | None = None, "
        "enable_nested_tensor: bool = True, mask_check: bool = True",
        "TransformerEncoderLayer": layer,
    }


def _losses() -> dict[str, str]:
    margin = f"margin: float = 0.0, {_LEGACY}"
    ignored = f"{_WEIGHT}, {_AVERAGE}, ignore_index: int = -100, {_REDUCE}, {_REDUCTION}"
    smoothing = "label_smoothing: probability = 0.0"
    return {
        **dict.fromkeys(("L1Loss", "MSELoss", "MultiLabelMarginLoss", "SoftMarginLoss"), _LEGACY),
        **dict.fromkeys(("BCELoss", "MultiLabelSoftMarginLoss"), f"{_WEIGHT}, {_LEGACY}"),
        **dict.fromkeys(("CosineEmbeddingLoss", "MarginRankingLoss"), margin),
        "AdaptiveLogSoftmaxWithLoss": "in_features: size, n_classes: size, cutoffs: [size], div_value: float = 4.0, "
        f"head_bias: bool = False, {_PLACE}",
        "BCEWithLogitsLoss": f"{_WEIGHT}, {_LEGACY}, pos_weight: tensor | None = None",
        "CTCLoss": f"blank: int = 0, {_REDUCTION}, zero_infinity: bool = False",
        "CosineSimilarity": "dim: int = 1, eps: float = 1e-08",
        "CrossEntropyLoss": f"{ignored}, {smoothing}",
        "GaussianNLLLoss": f"*, full: bool = False, eps: float = 1e-06, {_REDUCTION}",
        "HingeEmbeddingLoss": f"margin: float = 1.0, {_LEGACY}",
        "HuberLoss": f"{_REDUCTION}, delta: float = 1.0",
        "KLDivLoss": f"{_AVERAGE}, {_REDUCE}, reduction: Literal['none', 'mean', 'sum', 'batchmean'] = 'mean', "
        "log_target: bool = False",
        "LinearCrossEntropyLoss": "in_features: size, num_classes: size, *, out_features: [size] = (), "
        f"bias: bool = False, {_PLACE}, {_REDUCTION}, {_WEIGHT}, ignore_index: int | None = None, {smoothing}, "
        "options: object | None = None",
        "MultiMarginLoss": f"p: int = 1, margin: float = 1.0, {_WEIGHT}, {_LEGACY}",
        "NLLLoss": ignored,
        "PairwiseDistance": "p: float = 2.0, eps: float = 1e-06, keepdim: bool = False",
        "PoissonNLLLoss": f"log_input: bool = True, full: bool = False, {_AVERAGE}, eps: float = 1e-08, {_REDUCE}, "
        f"{_REDUCTION}",
        "SmoothL1Loss": f"{_LEGACY}, beta: float = 1.0",
        "TripletMarginLoss": f"margin: float = 1.0, p: float = 2.0, eps: float = 1e-06, swap: bool = False, {_LEGACY}",
        "TripletMarginWithDistanceLoss": "*, distance_function: callable | None = None, margin: float = 1.0, "
        f"swap: bool = False, {_REDUCTION}",
    }


def _table() -> dict[str, str]:
    table = _linear() | _activations() | _dropouts() | _batch_norms() | _other_norms() | _shapes()
    table |= _recurrent() | _embeddings() | _transformers() | _losses()
    for n in (1, 2, 3):
        table |= _convolutions(n) | _pools(n) | _pads(n)
    return dict(sorted(table.items()))


TABLE: Final[Mapping[str, str]] = MappingProxyType(_table())
