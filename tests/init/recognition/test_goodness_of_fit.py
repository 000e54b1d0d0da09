"""The p-values: uniform where the distribution is right, nothing where it is not."""

import itertools
import math

import numpy as np
import pytest
import torch

from paraminspect.init.recognition.distributions import CUT, NORMAL, UNIFORM, Whole
from paraminspect.init.recognition.goodness_of_fit import anderson_darling, anderson_darling_tail, p_value
from tests.cases import each


def drawn(family, shape, seed, scale=1.0):
    generator = np.random.default_rng(seed)
    if family is UNIFORM:
        return generator.uniform(-scale, scale, shape)
    x = generator.normal(size=shape)
    while family is CUT and (far := np.abs(x) > 2.0).any():
        x[far] = generator.normal(size=int(far.sum()))
    return x * scale


def whole(x):
    return Whole(x.size, float(x.mean()), float((x * x).mean()), float(np.abs(x).max()), 2.0**-53)


@pytest.mark.parametrize(("a2", "chance"), [(1.248, 0.25), (1.933, 0.10), (2.492, 0.05), (3.857, 0.01), (5.97, 0.001)])
def test_the_tail_of_a_squared_is_the_published_one(a2, chance):
    """Anderson & Darling 1954; Stephens 1974, table 1."""
    assert anderson_darling_tail(a2) == pytest.approx(chance, rel=0.06)


def test_the_tail_falls_without_a_step():
    chances = [anderson_darling_tail(a2 / 100) for a2 in range(1, 1200)]
    assert all(a >= b - 2e-3 for a, b in itertools.pairwise(chances))  # 2e-3: from one formula to the next
    assert anderson_darling_tail(0.0) == 1.0


@pytest.mark.parametrize("family", [NORMAL, UNIFORM, CUT], ids=lambda family: family.name)
def test_the_p_value_of_the_shape_is_uniform_where_it_is_right(family):
    found = np.array([anderson_darling(drawn(family, (200,), seed), family) for seed in range(400)])
    for chance in (0.05, 0.25, 0.5, 0.75):
        assert abs((found < chance).mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / 400)


@each("shape", [(40,), (64, 32), (200, 9), (192, 192)], ids=str)
@each("family", [NORMAL, UNIFORM, CUT], ids=lambda family: family.name)
def test_the_right_distribution_is_hardly_ever_refused(family, shape):
    """Of all tests together: at a level of 1 % at most 1 % of them, and five standard errors."""
    found = []
    for seed in range(tests := 100 if math.prod(shape) > 10_000 else 300):
        x = drawn(family, shape, seed, 0.02)
        block = x if x.ndim == 2 else x[None]
        found.append(p_value(whole(x), block, family, 0.02))
    assert np.mean(np.array(found) < 0.01) < 0.01 + 5 * math.sqrt(0.01 * 0.99 / tests)


def spoilt(kind, x):
    rows, columns = x.shape
    direction = np.outer(np.linspace(-1, 1, rows), np.cos(np.arange(columns)))
    return {
        "a wider scale": x * 1.03,
        "another mean": x + 0.06,
        "one element far out": np.where(np.arange(x.size).reshape(x.shape) == 7, 9.0, x),
        "rows of different size": x * np.linspace(0.8, 1.17, rows)[:, None],
        "columns that are moved": x + 0.2 * np.cos(np.arange(columns)),
        "a low-rank update": x + 0.5 * direction,
        "orthogonal rows": np.linalg.qr(x.T)[0].T * math.sqrt(columns),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("a wider scale", "another mean", "one element far out", "rows of different size", "columns that are moved"),
        *("a low-rank update", "orthogonal rows"),
    ],
)
def test_what_is_not_drawn_independently_from_it_is_refused(kind):
    for seed in range(5):
        x = spoilt(kind, drawn(NORMAL, (128, 192), seed))
        assert p_value(whole(x), x, NORMAL, 1.0) < 1e-4


def test_the_tails_of_the_cut_normal_are_its_own():
    x = np.linspace(-1.99, 1.99, 9)
    below, above = CUT.inside(x)
    assert np.allclose(np.exp(below) + np.exp(above), 1.0)
    assert torch.tensor([CUT.beyond(0.0), CUT.beyond(2.0)]).tolist() == pytest.approx([1.0, 0.0], abs=1e-12)
