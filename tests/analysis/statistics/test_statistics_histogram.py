"""Histograms: exact up to SAMPLE elements, an even sample beyond."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from paraminspect.analysis.statistics.tensor_values import SAMPLE, measure
from tests.cases import each


def counted(numbers):
    """Return the histogram in exact arithmetic."""
    low, high = Fraction(min(numbers)), Fraction(max(numbers))
    counts = [0] * 16
    for number in numbers:
        counts[8 if low == high else min(15, int((Fraction(number) - low) * 16 / (high - low)))] += 1
    return tuple(counts)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=60),
    st.sampled_from([torch.float32, torch.float64, torch.int32, torch.int64]),
)
def test_counts_are_exact(numbers, dtype):
    assert measure(torch.tensor(numbers, dtype=dtype)).histogram == counted(numbers)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60))
def test_every_finite_number_is_counted_once(numbers):
    histogram = measure(torch.tensor([*numbers, math.nan, math.inf], dtype=torch.float64)).histogram
    assert sum(histogram) == len(numbers)
    assert min(numbers) == max(numbers) or (histogram[0] and histogram[15])


@each(
    "numbers",
    [
        [-1.7e308, 0.0, 1.7e308, 1.6e308],
        [0.0, 5e-324, 16 * 5e-324],
        [1e-320, 2e-320, 3e-320],
        [0.0, 5e-324, 1.5e-323],
        [1e308, 1.1e308],
        [2**63 - 17, 2**63 - 1, 2**63 - 9],
        [-(2**63), 2**63 - 1, 0, 2**61],
        [0.0, 1 / 16, 2 / 16, 15 / 16, 1.0],
        [-1.0, 0.0, 2.0, -0.4375],
    ],
)
def test_ends_of_the_range(numbers):
    dtype = torch.float64 if isinstance(numbers[0], float) else torch.int64
    assert measure(torch.tensor(numbers, dtype=dtype)).histogram == counted(numbers)


def test_unsigned_numbers_beyond_int64():
    numbers = [2**64 - 1, 2**64 - 17, 2**64 - 9]
    assert measure(torch.tensor(numbers, dtype=torch.uint64)).histogram == counted(numbers)


def test_equal_numbers_are_in_the_middle():
    assert measure(torch.full((3, 3), 0.1)).histogram == (0,) * 8 + (9,) + (0,) * 7


@pytest.mark.parametrize("n", [SAMPLE - 1, SAMPLE])
def test_up_to_the_limit_all_count(n):
    x = torch.arange(n, dtype=torch.float32)
    assert sum(measure(x).histogram) == n
    assert measure(x.double()).histogram == measure(x).histogram == tuple(np.histogram(x.numpy(), 16)[0].tolist())


@each(("n", "step"), [(SAMPLE + 1, 3), (200_000, 49), (1_000_000, 245)])
@each("dtype", [torch.float32, torch.int32, torch.int64])
def test_beyond_it_an_even_sample_counts_between_the_true_ends(n, step, dtype):
    x = torch.arange(n).to(dtype)
    # Neither end is in the sample.
    x[1], x[2] = -n, 2 * n
    sample = [float(number) for number in x.tolist()[::step]]
    expected, _ = np.histogram(sample, bins=16, range=(-n, 2 * n))
    assert measure(x).histogram == tuple(expected.tolist())


def test_the_sample_sees_every_column():
    columns = torch.arange(1024.0).expand(1024, 1024).contiguous()
    histogram = measure(columns).histogram
    assert sum(histogram) > SAMPLE * 0.9
    assert max(histogram) - min(histogram) <= 16


@pytest.mark.parametrize("make", [torch.Tensor.bfloat16, torch.Tensor.double, lambda x: x[:, ::2], torch.Tensor.t])
def test_the_sample_of_any_tensor_has_its_shape(make):
    x = make(torch.rand(1000, 1000, generator=torch.Generator().manual_seed(0)))
    histogram = measure(x).histogram
    assert SAMPLE / 2 < sum(histogram) <= SAMPLE
    assert all(abs(count / sum(histogram) - 1 / 16) < 0.015 for count in histogram)


def test_nonfinite_elements_of_the_sample_do_not_count():
    x = torch.arange(200_000.0)
    x[::2] = math.nan
    assert sum(measure(x).histogram) == 2041
