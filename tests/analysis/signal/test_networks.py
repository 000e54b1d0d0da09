"""A verdict is right on networks that train and on networks broken on purpose, and the same over seeds."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.analysis.signal.following import signal
from tests.analysis.signal.networks import BROKEN, HEALTHY, Case, input_of

SEEDS = 2
"""In the ordinary suite; ``python -m tests.benchmarks.zoo`` takes 20, and the public models that are installed."""


def words(case: Case, seed: int) -> tuple[str, str]:
    torch.manual_seed(seed)
    found = signal(case.build(), input_of(case), thorough=False)
    return found.forward.verdict, found.backward.verdict


@pytest.mark.parametrize("name", [*HEALTHY, *BROKEN])
def test_the_word_is_right_and_the_same_over_seeds(name: str) -> None:
    case = (HEALTHY | BROKEN)[name]
    found = {words(case, seed) for seed in range(SEEDS)}
    assert len(found) == 1
    ((forward, backward),) = found
    assert forward in case.forward and backward in case.backward


def test_a_verdict_that_cannot_be_says_why() -> None:
    torch.manual_seed(0)
    unseen = HEALTHY["conv, BatchNorm, in eval mode before any batch"]
    found = signal(unseen.build(), input_of(unseen), thorough=False)
    assert found.backward.reason == (
        "BatchNorm in eval mode has seen next to no batch, so it normalises little: judge the model in train mode"
    )
    few = HEALTHY["conv, BatchNorm, a batch of one pixel"]
    found = signal(few.build(), input_of(few), thorough=False)
    assert found.forward.reason == (
        "the statistics of 1 are those of 2 values a channel, fewer than 16: pass a batch of 16 with --input"
    )
    short = HEALTHY["torch's default, 4 dense layers"]
    assert signal(short.build(), input_of(short)).forward.reason == "4 layers are too few for a trend"


def test_one_step_does_not_decide_but_is_named() -> None:
    """An embedding of std .02 in front of a LayerNorm, as in XLNet: one jump, then nothing changes."""
    torch.manual_seed(0)
    case = HEALTHY["post-norm, 12 blocks, std .02"]
    module = case.build()
    torch.nn.init.normal_(module[0].weight, std=1e-4)
    torch.nn.init.zeros_(module[0].bias)
    found = signal(module, input_of(case), thorough=False)
    assert (found.forward.verdict, found.forward.step_at) == ("steady", 1)
    second = [layer.pre.rms**2 for layer in found.layers if layer.depth is not None]
    assert found.forward.step == pytest.approx(second[1] / second[0], rel=1e-4)
    assert found.forward.factor == pytest.approx(1.0, abs=0.1)


def test_the_factor_of_a_gradient_is_that_of_the_norms_beside_it() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5), torch.nn.Linear(5, 2)
    )
    rows = [layer for layer in signal(module, torch.randn(8, 40)).layers if layer.depth is not None]
    for before, after in pairwise(rows):
        assert before.backward == pytest.approx((before.grad_norm / after.grad_norm) ** 2)
        assert after.forward == pytest.approx((after.pre.rms / before.pre.rms) ** 2)
    assert [row.grad_norm for row in rows] == pytest.approx(
        [row.grad_rms * (8 * n) ** 0.5 for row, n in zip(rows, (30, 5, 2), strict=True)]
    )
