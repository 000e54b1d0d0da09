"""The rms of gradients, and the figures of medium tensors, are those of numpy's longest floats, whatever the size, the layout and what else waits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.measuring_queues import FiguresQueue, RmsQueue
from paraminspect.report import Values
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
