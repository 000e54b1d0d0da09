"""The digits: within the promise for any numbers, and the same for any threads, sign, scale and cut into parts."""

from __future__ import annotations

import math
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from paraminspect.analysis.statistics import tensor_values
from paraminspect.analysis.statistics.block_figures import moments_of, weighted_moments_of
from paraminspect.analysis.statistics.elements import share
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report.merge import Moments, merge, merge_all, repeat
from tests.analysis.statistics.exact_figures import assert_figures, assert_moments, is_root
from tests.cases import each

FLOATS = {torch.float64: 64, torch.float32: 32, torch.float16: 16}


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut even short tensors into blocks of three, and guess their mean from two elements."""
    monkeypatch.setattr(tensor_values, "SAMPLE", 2)
    monkeypatch.setattr(tensor_values, "AT_ONCE", 2)
    monkeypatch.setattr(tensor_values, "_GUESS", 2)
    monkeypatch.setattr(tensor_values, "BLOCK", 3)


def figures_of(part, dtype=torch.float64):
    return tensor_values._figures(part, dtype, None)


@pytest.mark.parametrize("dtype", FLOATS)
def test_any_numbers(dtype):
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.floats(width=FLOATS[dtype]), max_size=50))
    def check(numbers):
        assert_figures(measure(torch.tensor(numbers, dtype=dtype)), numbers)

    check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_any_numbers_in_many_blocks(dtype, small_blocks):
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.floats(width=FLOATS[dtype]), max_size=50))
    def check(numbers):
        assert_figures(measure(torch.tensor(numbers, dtype=dtype)), numbers)

    check()


@pytest.mark.parametrize(
    "numbers",
    [[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 5e-324], [9.480751908109177e153, 0.0, 0.0, 0.0, 1.0, math.inf, 0.0]],
    ids=["scaled up with it", "squared beside it"],
)
def test_a_block_far_smaller_than_the_guess_from_the_others(numbers, small_blocks):
    """The guess of the mean comes from the first block; beside the last one it overflowed."""
    assert_figures(measure(torch.tensor(numbers, dtype=torch.float64)), numbers)


def normal(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


def with_a_spike(n):
    x = 0.1 * np.random.default_rng(1).random(n)
    x[n // 2] = 1e8
    return x


SAMPLES = {
    "normal": normal,
    "normal far off": lambda n: normal(n) * 0.1 + 1e7,
    "normal nearly off": lambda n: normal(n) + 1.9,
    "lognormal": lambda n: np.exp(8 * normal(n)),
    "a spike": with_a_spike,
    "rarely different": lambda n: np.where(np.arange(n) % 1000 == 5, 7.7, 0.1),
    "sorted": lambda n: np.sort(normal(n)) * 1e5 + 1e5,
    "two levels": lambda n: np.where(np.arange(n) < n // 2, 1e9, -1e-9),
    "rectified": lambda n: np.maximum(normal(n), 0),
    "a few tiny": lambda n: np.where(np.arange(n) % 500 == 3, 1e-9, normal(n)),
    "half tiny": lambda n: np.where(np.arange(n) % 2, 1e-9, normal(n)) * 1e30,
    "last digits": lambda n: 0.1 + np.random.default_rng(2).random(n) * 1e-15,
}


@each("make", SAMPLES.values(), ids=SAMPLES)
@each("dtype", [torch.float32, torch.float64])
@each(("n", "block"), [(50, 2**18), (1000, 3), (5000, 2**18), (9000, 2**13)])
def test_samples(make, dtype, n, block, monkeypatch):
    monkeypatch.setattr(tensor_values, "BLOCK", block)
    if block < 2**18:
        monkeypatch.setattr(tensor_values, "SAMPLE", 100)
        monkeypatch.setattr(tensor_values, "AT_ONCE", 100)
    x = torch.from_numpy(make(n)).to(dtype)
    assert_figures(measure(x), x.tolist())


def accuracy(first, low, high, times):
    return [first] + [low, high] * times


def rounding_alike(n):
    """Return numbers near 1 and -1 whose plain sums, in chains of sixteen, are all rounded down."""
    chain, total = [], 0.0
    for _ in range(16):
        ulp = math.ulp(total + 1)
        step = 1 + ulp / 2 - math.ulp(1.0) if ulp > 2.0**-52 else 1.0
        chain.append(step)
        total += step
    up = [-(step + 2 * math.ulp(1.0)) if step > 1 else -1.0 for step in chain]
    rows = [number for pair in zip(chain, up, strict=True) for number in [pair[0]] * 4 + [pair[1]] * 4]
    return np.array(rows * (n // len(rows)))


@pytest.mark.parametrize("sign", [1, -1])
def test_roundings_that_add_up_are_made_good(sign):
    x = torch.from_numpy(sign * rounding_alike(8192))
    assert_figures(measure(x), x.tolist())


@each("sign", [1, -1])
@each("dtype", [torch.float32, torch.float64])
@each("n", [100, 8192])
def test_small_numbers_beside_a_large_one_count(n, dtype, sign):
    x = torch.full((n,), sign * (2.0**-53 - 2.0**-73), dtype=dtype)
    x[0] = sign
    assert_figures(measure(x), x.tolist())


@each("dtype", [torch.float32, torch.float64])
@each("width", [8, 16, 128, 1024])
def test_columns_of_small_numbers_count(width, dtype):
    x = torch.full((8192 * 8 // width, width), 2.0**-53 - 2.0**-73, dtype=dtype)
    x[:, : max(1, width // 16)] = 1
    assert_figures(measure(x), x.reshape(-1).tolist())


# https://www.itl.nist.gov/div898/strd/univ/homepage.html: data, mean, standard deviation of the sample.
NIST = {
    "NumAcc1": ([10000001, 10000003, 10000002], 10000002, Fraction(1)),
    "NumAcc2": (accuracy(1.2, 1.1, 1.3, 500), Fraction(12, 10), Fraction(1, 10)),
    "NumAcc3": (accuracy(1000000.2, 1000000.1, 1000000.3, 500), Fraction(10000002, 10), Fraction(1, 10)),
    "NumAcc4": (accuracy(10000000.2, 10000000.1, 10000000.3, 500), Fraction(100000002, 10), Fraction(1, 10)),
}


@each(("numbers", "mean", "std"), NIST.values(), ids=NIST)
@each("block", [2**18, 3, 7])
def test_nist(numbers, mean, std, block, monkeypatch):
    if block < 2**18:
        monkeypatch.setattr(tensor_values, "SAMPLE", 2)
        monkeypatch.setattr(tensor_values, "AT_ONCE", 2)
        monkeypatch.setattr(tensor_values, "BLOCK", block)
    values = measure(torch.tensor(numbers, dtype=torch.float64))
    assert_figures(values, numbers)
    # The certified values are those of the decimals, which float64 holds to 1e-9 only.
    assert values.mean == pytest.approx(float(mean), rel=4e-16)
    variance = std**2 * (len(numbers) - 1) / len(numbers)
    assert is_root(values.std, variance, Fraction(1, 10**8) if numbers[0] > 2 else Fraction(1, 10**14))


EXTREMES = {
    "largest float16": (torch.float16, [65504.0] * 4),
    "float16": (torch.float16, [65504.0, -65504.0, 1.0]),
    "large float32": (torch.float32, [3e38] * 2),
    "float32": (torch.float32, [3e38, -3e38, 1e38]),
    "subnormal float32": (torch.float32, [1e-45, 3e-45, -7e-45]),
    "large float64": (torch.float64, [1e200] * 2),
    "float64": (torch.float64, [1e200, -3e200]),
    "largest float64": (torch.float64, [1.7e308, 1.7e308, -1.7e308, 1.6e308]),
    "small float64": (torch.float64, [1e-200, 3e-200]),
    "subnormal float64": (torch.float64, [5e-324, 1e-323, -1e-320]),
    "all scales": (torch.float64, [1e308, 1e-308, 1.0, 5e-324, 0.0, -1e154]),
    "zeros and small": (torch.float64, [0.0, 0.0, 0.0, 1e-250, -2e-250, 0.0, 0.0]),
}


@pytest.mark.parametrize(("dtype", "numbers"), EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("many", [False, True])
def test_extremes(dtype, numbers, many, request):
    if many:
        request.getfixturevalue("small_blocks")
    x = torch.tensor(numbers, dtype=dtype)
    for part in (x, x.repeat(5)):
        assert_figures(measure(part), part.tolist())


def test_a_norm_beyond_float64_is_infinite():
    values = measure(torch.full((4,), 1.7e308, dtype=torch.float64))
    assert (values.l2, values.rms) == (math.inf, 1.7e308)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64])
def test_any_number_of_threads_gives_the_same_digits(dtype, threads, monkeypatch):
    monkeypatch.setattr(tensor_values, "BLOCK", 2**12)
    x = (torch.randn(150_000, generator=torch.Generator().manual_seed(0)) * 7 + 5).to(dtype)
    found = set()
    for count in (1, 2, 3, 4, 2):
        threads(count)
        found.add(measure(x))
    assert len(found) == 1


def test_an_interrupt_ends_all_threads(threads):
    done = []

    def worker(draw):
        for number, _ in draw:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            time.sleep(0.002)
            done.append(number)

    threads(2)
    with pytest.raises(KeyboardInterrupt):
        share([(slice(0, 1),)] * 1000, worker)
    assert len(done) < 900


def test_an_error_in_a_thread_is_raised(threads, monkeypatch):
    def fail(*_):
        raise KeyError("in a block")

    monkeypatch.setattr(tensor_values, "BLOCK", 2**10)
    monkeypatch.setattr(tensor_values.PatternCounts, "add", fail)
    threads(2)
    with pytest.raises(KeyError, match="in a block"):
        measure(torch.zeros(100_000, dtype=torch.int8))


def scaled(values, k):
    return [
        math.ldexp(figure, k) for figure in (values.mean, values.std, values.rms, values.l2, values.min, values.max)
    ]


@each("n", [40, 5000, 100_000])
@each("offset", [0.0, 3.0, 1e6])
@each(("dtype", "powers"), [(torch.float64, (-900, -300, -7, 5, 290, 900)), (torch.float32, (-60, 60))])
def test_scaling_by_a_power_of_two_is_exact(n, offset, dtype, powers):
    x = torch.from_numpy(normal(n) + offset).to(dtype)
    values = measure(x)
    for k in powers:
        found = measure(x * 2.0**k)
        assert scaled(values, k) == scaled(found, 0)
        assert found.histogram == values.histogram


@each("n", [40, 5000, 300_000])
@each("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int32, torch.int64])
def test_the_sign_changes_signs_only(n, dtype):
    x = torch.from_numpy(normal(n) * 100 + 250).to(dtype)
    if dtype is torch.int64:
        x += 2**60
    a, b = measure(x), measure(-x)
    assert (a.mean, a.std, a.rms, a.l2, a.min, a.max) == (-b.mean, b.std, b.rms, b.l2, -b.max, -b.min)


def test_the_sign_does_not_show_where_sums_cancel():
    generator = np.random.default_rng(3)
    for _ in range(100):
        half, small = generator.normal(size=30), generator.normal(size=30) * 2.0**-48
        x = torch.from_numpy(np.concatenate([half, -half, small]))
        assert measure(x).mean == -measure(-x).mean


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(finite, min_size=2, max_size=40), st.data())
def test_parts_merge_to_the_whole(numbers, data):
    cut = data.draw(st.integers(1, len(numbers) - 1))
    x = np.array(numbers)
    with np.errstate(all="ignore"):
        merged = merge(moments_of(x[:cut]), moments_of(x[cut:]))
    assert (merged.n, merged.zeros) == (len(numbers), numbers.count(0))
    assert (merged.min, merged.max) == (min(numbers), max(numbers))
    assert_moments(figures_of(merged), numbers)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=5), max_size=12))
def test_any_tree_merges_to_the_whole(parts):
    with np.errstate(all="ignore"):
        merged = merge_all(moments_of(np.array(part, dtype=np.float32)) for part in parts)
    assert_figures(figures_of(merged), [number for part in parts for number in part])


@pytest.mark.parametrize("large", [1.0, 0.1, 1 / 3, -1e8])
def test_roundings_do_not_add_up_over_many_merges(large):
    numbers = [large]
    merged = moments_of(np.array(numbers))
    for number in normal(1000) * abs(large) * 1e-9:
        merged = merge(moments_of(np.array([number])), merged)
        numbers.append(float(number))
    assert_moments(figures_of(merged), numbers)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.integers(0, 9)), min_size=1, max_size=20))
def test_weights_count_copies(pairs):
    numbers, weights = zip(*pairs, strict=True)
    assume(any(weights))
    with np.errstate(all="ignore"):
        part = weighted_moments_of(np.array(numbers), np.array(weights))
    assert_figures(figures_of(part), [number for number, times in pairs for _ in range(times)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=9), st.integers(1, 7))
def test_repeating_counts_copies(numbers, times):
    with np.errstate(all="ignore"):
        part = repeat(moments_of(np.array(numbers)), times)
    assert_figures(figures_of(part), numbers, times)


def test_nothing_is_neutral():
    part = moments_of(np.array([1.0, 4.0]))
    assert merge(part, Moments(nan=1)) == merge(Moments(nan=1), part) == part._replace(nan=1)
    assert merge_all([]) == Moments()
    assert merge_all([part]) == part


def test_a_bad_guess_of_the_mean_costs_no_digits():
    x = normal(10_000).astype(np.float32) + np.float32(5)
    for origin in (0.0, 1e9, -3.0, 5.0):
        assert_moments(figures_of(moments_of(x, origin)), x.tolist())
