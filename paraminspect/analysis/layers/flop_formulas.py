"""How many floating-point operations an operation takes: torch's formulas, ours where it has none or a wrong one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import conv_flop_count, flop_registry, mm_flop, sdpa_backward_flop_count, sdpa_flop_count

Formula = Callable[..., int]
_aten = torch.ops.aten


def formulas() -> dict[Any, Formula]:
    """Return the formula of every operation that has one, torch's but for ours; each takes what the operation takes."""
    return {**flop_registry, **_OWN}


# --- ours: what torch has no formula for, or one that is off; multiply and add, 2 operations, as torch counts ----


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    count: Formula = sdpa_flop_count
    return count(query.shape, key.shape, value.shape)


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    count: Formula = sdpa_backward_flop_count
    return count(grad.shape, query.shape, key.shape, value.shape)


def _convolution_backward(grad: Tensor, inputs: Tensor, weight: Tensor, *others: Any, **_: Any) -> int:
    """The gradients of the inputs and of the weight, those that are asked for, each take what the forward took.

    Torch's formula takes the weight's of a convolution in groups for that of one without, so many times too large.
    """
    _bias, _stride, _padding, _dilation, transposed, _more, _groups, wanted = others
    count: Formula = conv_flop_count
    return count(inputs.shape, weight.shape, grad.shape, transposed=transposed) * sum(map(bool, wanted[:2]))


def _dot(one: Tensor, *_: Any, **__: Any) -> int:
    return 2 * one.numel()


def _matrix_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _added_matrix_vector(_added: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _added_batch(_added: Tensor, one: Tensor, other: Tensor, *_: Any, **__: Any) -> int:
    return 2 * one.numel() * other.shape[-1]


def _integer_product(one: Tensor, other: Tensor, *_: Any, **__: Any) -> int:
    return int(mm_flop(one.shape, other.shape))


def _grouped_product(one: Tensor, other: Tensor, *_: Any, **__: Any) -> int:
    """Multiply each group of rows with the matrix of its expert, or for the weights' gradient rows with rows."""
    if one.dim() == 3 and other.dim() == 2:
        return 2 * one.shape[1] * other.numel()
    return 2 * one.numel() * other.shape[-1]


def _trilinear(one: Tensor, two: Tensor, three: Tensor, *places: Any, **_: Any) -> int:
    """Multiply all that the three span together, as nn.Bilinear does: of samples, outputs and both inputs."""
    shapes = []
    for tensor, axes in zip((one, two, three), places, strict=False):
        shape = list(tensor.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        shapes.append(shape)
    spanned: int = math.prod(max(sizes) for sizes in zip(*shapes, strict=True))
    return 2 * spanned


def _recurrent(steps: Tensor, into: Tensor, across: Tensor, *_: Any, **__: Any) -> int:
    """Every step of every sequence goes through both matrices of a layer and direction."""
    return 2 * (steps.numel() // steps.shape[-1]) * (into.numel() + across.numel())


def _recurrent_backward(steps: Tensor, into: Tensor, across: Tensor, *_: Any, **__: Any) -> int:
    """The gradients of the steps and those of both matrices."""
    return 2 * _recurrent(steps, into, across)


def _cudnn_recurrent(steps: Tensor, weights: Any, *_: Any, **__: Any) -> int:
    inside: int = sum(one.numel() for one in weights if one.dim() == 2)
    return 2 * (steps.numel() // steps.shape[-1]) * inside


def _cudnn_recurrent_backward(steps: Tensor, weights: Any, *_: Any, **__: Any) -> int:
    return 2 * _cudnn_recurrent(steps, weights)


_OWN: dict[Any, Formula] = {
    _aten.convolution_backward: _convolution_backward,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten._scaled_dot_product_fused_attention_overrideable: _attention,
    _aten._scaled_dot_product_fused_attention_overrideable_backward: _attention_backward,
    _aten.dot: _dot,
    _aten.vdot: _dot,
    _aten.mv: _matrix_vector,
    _aten.addmv: _added_matrix_vector,
    _aten.addbmm: _added_batch,
    _aten._int_mm: _integer_product,
    _aten._grouped_mm: _grouped_product,
    _aten._trilinear: _trilinear,
    _aten.mkldnn_rnn_layer: _recurrent,
    _aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    _aten._cudnn_rnn: _cudnn_recurrent,
    _aten._cudnn_rnn_backward: _cudnn_recurrent_backward,
}

# --- what multiplies and adds without a formula ------------------------------------------------------------------

_MULTIPLIES = re.compile(
    r"mm$|_mm_|conv|attention|_multi_head|_transformer_|_rnn|^lstm|^gru|^linear|matmul|fft_|^_?linalg_|cdist|trilinear"
    r"|bilinear|cholesky|^lu_|triangular_solve|^_?(grouped|weight_int\w+)_mm"
)
_ELEMENTWISE = re.compile(r"upsample|_fused_\w+_cell|fft_\w*(freq|shift)|linalg_(vector_|matrix_)?norm")
_NO_WORK = frozenset({"prim", "prims", "profiler", "c10d", "_c10d_functional", "debugprims", "inductor", "autograd"})


def has_work(operation: Any) -> bool:
    """Tell whether an operation without a formula multiplies and adds, as far as its name tells.

    Of one that is not torch's own nothing is known, so that it is named too.
    """
    space, _, name = str(operation).partition(".")
    if space in _NO_WORK:
        return False
    return space != "aten" or bool(_MULTIPLIES.search(name) and not _ELEMENTWISE.search(name))
