"""The rms of gradients, and the figures of medium tensors, are those of numpy's longest floats, whatever the size, the layout and what else waits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.measuring_queues import NO_OUTPUT, FiguresQueue, OutputsQueue, RmsQueue
from paraminspect.report import LayerOut, Values
from tests.analysis.statistics.exact_figures import assert_figures

SCALES = [(1e30, 0.0), (1e-3, 1e4)]
SIZES = [1, 2, 3, 17, 511, 4095, 4096, 4097, 60_000, 65_536, 65_537, 200_003]


def rms_of(*tensors: Tensor) -> list[float | None]:
    queue = RmsQueue()
    found: dict[int, float | None] = {}
    for at, tensor in enumerate(tensors):
        queue.measure(tensor, lambda rms, at=at: found.__setitem__(at, rms))
    queue.flush()
    return [found[at] for at in range(len(tensors))]


def exact(tensor: Tensor) -> float:
    long = tensor.detach().double().numpy().astype(np.longdouble).ravel()
    return float(np.sqrt(np.mean(long[np.isfinite(long)] ** 2)))


def test_every_size_and_scale() -> None:
    torch.manual_seed(0)
    drawn = [
        torch.randn(size) * scale + shift * scale
        for size in SIZES * 2
        for scale, shift in ((1.0, 0.0), (1e-30, 3.0), (1e37, 1.0), (1e-42, 0.0))
    ]
    for tensor, rms in zip(drawn, rms_of(*drawn), strict=True):
        assert rms is not None
        assert abs(rms - exact(tensor)) <= 1e-14 * exact(tensor)


def test_other_layouts_types_and_numbers() -> None:
    torch.manual_seed(0)
    poisoned = torch.randn(5000)
    poisoned[7], poisoned[11] = math.nan, -math.inf
    lengthy = torch.randn(300, 40)
    cases = [
        *(lengthy.t(), lengthy[:, ::2], lengthy[3:5], lengthy[0].expand(7, 40), nn.Parameter(lengthy)),
        *(poisoned, poisoned[:12], lengthy.double(), lengthy.half(), torch.zeros(9), torch.tensor(-3.0)),
    ]
    for tensor, rms in zip(cases, rms_of(*cases), strict=True):
        assert rms is not None
        assert math.isclose(rms, exact(tensor), rel_tol=1e-14)


def test_where_there_is_no_finite_number() -> None:
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    nothing = [torch.full((4,), math.nan), torch.empty(0), torch.empty(3, device="meta"), freed]
    assert rms_of(torch.ones(2), *nothing, torch.ones(5000)) == [1.0, None, None, None, None, 1.0]


def test_a_gradient_that_is_overwritten_while_it_waits() -> None:
    queue, found = RmsQueue(), []
    grad = torch.full((3,), 2.0)
    queue.measure(grad, found.append)
    grad.zero_()
    queue.flush()
    queue.flush()
    assert found == [2.0]


def test_figures_of_medium_tensors() -> None:
    torch.manual_seed(0)
    drawn = [torch.randn(size) * scale + scale * shift for size in (4097, 66_001) for scale, shift in SCALES]
    drawn += [drawn[0].reshape(17, 241).t(), torch.full((5000,), -2.0), drawn[2].double(), drawn[2][::2]]
    poisoned = drawn[1].clone()
    poisoned[5], poisoned[6] = math.nan, math.inf
    found: list[Values | None] = []
    queue = FiguresQueue()
    for tensor in (*drawn, poisoned):
        queue.measure(tensor, found.append)
    queue.flush()
    for tensor, values in zip((*drawn, poisoned), found, strict=True):
        assert_figures(values, tensor.reshape(-1).tolist())


def outputs_of(*tensors: Tensor) -> list[LayerOut]:
    queue = OutputsQueue()
    found: dict[int, LayerOut] = {}
    for at, tensor in enumerate(tensors):
        queue.measure(tensor, lambda out, at=at: found.__setitem__(at, out))
    queue.flush()
    return [found[at] for at in range(len(tensors))]


def test_figures_of_what_layers_return() -> None:
    torch.manual_seed(0)
    drawn = [torch.randn(size) * scale + scale * shift for size in SIZES for scale, shift in SCALES]
    drawn += [torch.randn(300, 40).t(), torch.randn(50).double(), torch.randn(9000).half(), torch.arange(5)]
    for tensor, out in zip(drawn, outputs_of(*drawn), strict=True):
        long = tensor.double().numpy().astype(np.longdouble).ravel()
        assert out.rms is not None
        assert out.mean is not None
        assert (out.min, out.max, out.nan, out.inf) == (tensor.min().item(), tensor.max().item(), 0, 0)
        assert abs(out.rms - exact(tensor)) <= 1e-14 * exact(tensor)
        assert abs(out.mean - float(long.mean())) <= 1e-15 * exact(tensor)


def test_no_digit_of_what_layers_return_depends_on_threads() -> None:
    torch.manual_seed(0)
    before, long = torch.get_num_threads(), torch.randn(2**20 + 77)
    try:
        torch.set_num_threads(1)
        alone = outputs_of(long)
        torch.set_num_threads(3)
        assert outputs_of(long) == alone
    finally:
        torch.set_num_threads(before)


def test_what_layers_return_with_odd_numbers() -> None:
    poisoned = torch.arange(5000.0)
    poisoned[7], poisoned[11] = math.nan, -math.inf
    cases = [poisoned[5:9], poisoned, torch.full((7,), 0.1), torch.tensor([-0.0]), torch.full((3,), math.inf)]
    tenth = float(torch.tensor(0.1))
    mean, rms = (12_497_500 - 18) / 4998, math.sqrt((41_654_167_500 - 170) / 4998)  # of 0 to 4999 without 7 and 11
    assert outputs_of(*cases, torch.empty(3, device="meta")) == [
        LayerOut((5 + 6 + 8) / 3, math.sqrt(125 / 3), 5.0, 8.0, 1, 0),
        LayerOut(mean, pytest.approx(rms, rel=1e-14), 0.0, 4999.0, 1, 1),
        LayerOut(tenth, tenth, tenth, tenth, 0, 0),
        LayerOut(0.0, 0.0, 0.0, 0.0, 0, 0),
        LayerOut(nan=0, inf=3),
        NO_OUTPUT,
    ]
