"""Every dtype: integers of all widths, booleans, 8- and 16-bit floats bit by bit, complex numbers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from paraminspect.analysis.statistics import tensor_values
from paraminspect.analysis.statistics.number_formats import PatternCounts
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Values
from tests.analysis.statistics.exact_figures import assert_figures
from tests.cases import each

INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64]
FLOAT8 = [getattr(torch, name) for name in dir(torch) if name.startswith("float8_")]
LARGE = 70_000  # more elements than a histogram counts: they are measured block by block


@each("dtype", INTEGERS)
@each("times", [1, LARGE])
def test_ends_of_integer_types(dtype, times):
    limits = torch.iinfo(dtype)
    for numbers in ([limits.min, limits.max], [limits.max] * 3, [limits.max - 1, limits.max, limits.max]):
        values = measure(torch.tensor(numbers, dtype=dtype).repeat(times))
        assert_figures(values, numbers, times)
        assert type(values.min) is type(values.max) is int
        assert sum(values.histogram) > 0


def test_counts_are_carried_over_before_they_fill_32_bits(monkeypatch):
    monkeypatch.setattr(PatternCounts, "_MOST", 70_000)
    words = np.random.default_rng(0).integers(0, 300, 200_001).astype(np.uint16)
    found = PatternCounts(65_536)
    for part in np.array_split(words, 3):
        found.add(part)
        assert found._recent.sum() <= 70_000
    for _ in range(2):
        np.testing.assert_array_equal(found.counts(), np.bincount(words, minlength=65_536))


@each("dtype", INTEGERS)
def test_any_integers(dtype):
    limits = torch.iinfo(dtype)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(limits.min, limits.max), max_size=30))
    def check(numbers):
        assert_figures(measure(torch.tensor(numbers, dtype=dtype)), numbers)

    check()


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
@pytest.mark.parametrize("times", [1, LARGE])
def test_close_integers_that_float64_cannot_tell_apart(dtype, times):
    values = measure(torch.tensor([2**62, 2**62 + 1, 2**62 + 2], dtype=dtype).repeat(times))
    assert (values.min, values.max, values.mean) == (2**62, 2**62 + 2, 2.0**62)
    assert values.std == pytest.approx(math.sqrt(2 / 3), rel=1e-14)
    assert [count for count in values.histogram if count] == [values.histogram[0]] * 3 or times > 1
    assert [bool(count) for count in values.histogram] == [True] + [False] * 7 + [True] + [False] * 6 + [True]


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
@pytest.mark.parametrize("numbers", [[1, 2, 4, 101, 105, 106], [1, 1, 1, 3, 3, 3], [1, 1, 1, 1, 1, 1]])
def test_blocks_of_close_integers(dtype, numbers, monkeypatch):
    monkeypatch.setattr(tensor_values, "SAMPLE", 2)
    monkeypatch.setattr(tensor_values, "AT_ONCE", 2)
    monkeypatch.setattr(tensor_values, "BLOCK", 3)
    large = [2**62 + number for number in numbers]
    assert_figures(measure(torch.tensor(large, dtype=dtype)), large)


def test_sums_that_would_wrap():
    values = measure(torch.full((1_000_000,), 2**62) + torch.arange(1_000_000) % 2)
    assert values.mean == pytest.approx(2**62 + 0.5, rel=1e-16)
    assert values.std == 0.5


@pytest.mark.parametrize("times", [1, LARGE])
def test_booleans_count_as_numbers(times):
    values = measure(torch.tensor([True, False, True, True]).repeat(times))
    assert (values.mean, values.min, values.max, values.zeros) == (0.75, 0, 1, times)
    assert values.std == pytest.approx(math.sqrt(3) / 4, rel=1e-15)
    assert type(values.min) is int


def test_a_boolean_of_any_bits_is_true():
    assert measure(torch.tensor([0, 1, 2, 255], dtype=torch.uint8).view(torch.bool)).mean == 0.75


def decoded(dtype, byte):
    """Return the value of one byte as the OCP and the FNUZ papers define it, independently of torch."""
    name = str(dtype)
    exponent_bits, mantissa_bits = map(int, re.search(r"e(\d)m(\d)", name).groups())
    if mantissa_bits == 0:
        return math.nan if byte == 0xFF else 2.0 ** (byte - 127)
    fnuz = name.endswith("fnuz")
    bias = 2 ** (exponent_bits - 1) - 1 + fnuz
    sign, magnitude = -1.0 if byte & 0x80 else 1.0, byte & 0x7F
    exponent, mantissa = magnitude >> mantissa_bits, magnitude & (2**mantissa_bits - 1)
    if fnuz and byte == 0x80:
        return math.nan
    if name.endswith("e4m3fn") and magnitude == 0x7F:
        return math.nan
    if name.endswith("e5m2") and exponent == 31:
        return math.nan if mantissa else sign * math.inf
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias)


def test_torch_has_float8():
    assert {torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz} <= set(FLOAT8)


@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_byte_of_float8(dtype):
    for byte in range(256):
        assert_figures(measure(torch.tensor([byte], dtype=torch.uint8).view(dtype)), [decoded(dtype, byte)])


@each("dtype", FLOAT8)
@each("times", [1, 300])
def test_all_bytes_of_float8(dtype, times):
    x = torch.arange(256, dtype=torch.uint8).repeat(times).view(dtype)
    assert_figures(measure(x), [decoded(dtype, byte) for byte in range(256)], times)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("times", [1, 2])
def test_all_words_of_16_bit_floats(dtype, times):
    words = torch.from_numpy(np.arange(65_536, dtype=np.uint16).view(np.int16)).repeat(times)
    x = words.view(dtype)
    assert_figures(measure(x), x[:65_536].float().tolist(), times)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.float8_e5m2])
def test_counting_and_adding_agree(dtype):
    x = (torch.randn(65_536, generator=torch.Generator().manual_seed(0)) * 9 + 3).to(dtype)
    added, counted = measure(x), measure(torch.cat([x, x]))
    assert (added.min, added.max, 2 * added.zeros) == (counted.min, counted.max, counted.zeros)
    assert (added.mean, added.std) == pytest.approx((counted.mean, counted.std), rel=1e-15)


def test_bfloat16_ones_do_not_saturate():
    assert measure(torch.ones(100_000, dtype=torch.bfloat16)).l2 == math.sqrt(100_000)


COMPLEX = [3 + 4j, -5 + 12j, 0j, 1e-30 + 0j, -8 - 15j]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("times", [1, LARGE])
def test_complex_numbers_count_by_magnitude(dtype, times):
    values = measure(torch.tensor(COMPLEX, dtype=dtype).repeat(times))
    assert (values.min, values.max, values.histogram) == (None, None, None)
    assert (values.zeros, values.nan, values.inf) == (times, 0, 0)
    assert values.mean == pytest.approx(7.0, rel=1e-15)
    assert values.l2 == pytest.approx(math.sqrt(483 * times), rel=1e-15)
    assert values.mean**2 + values.std**2 == pytest.approx(values.rms**2, rel=1e-15)


@pytest.mark.parametrize("times", [1, LARGE])
def test_nonfinite_complex_numbers(times):
    inf, nan = math.inf, math.nan
    numbers = [complex(nan, 1), complex(1, nan), complex(nan, nan), complex(inf, nan), complex(1, -inf), 3 + 4j]
    for dtype in (torch.complex64, torch.complex128):
        values = measure(torch.tensor(numbers, dtype=dtype).repeat(times))
        assert (values.nan, values.inf, values.mean, values.std) == (3 * times, 2 * times, 5.0, 0.0)


@pytest.mark.parametrize("times", [1, LARGE])
def test_complex_numbers_neither_overflow_nor_vanish(times, monkeypatch):
    monkeypatch.setattr(tensor_values, "BLOCK", 2**12)
    x = torch.tensor([complex(1.5e308, 1.5e308), 5e-324j, 0j, 1e-200 - 1e-200j], dtype=torch.complex128)
    values = measure(x.repeat(times))
    assert (values.zeros, values.inf) == (times, 0)
    assert values.mean == pytest.approx(1.5e308 / math.sqrt(8), rel=1e-15)
    small = measure(x[3:].repeat(times))
    assert (small.rms, small.std) == (pytest.approx(math.sqrt(2) * 1e-200, rel=1e-15), 0.0)


def test_views_of_complex_numbers():
    x = torch.tensor([1 + 2j, -3j, 5 - 1j] * LARGE)
    assert measure(x.conj()) == measure(x)
    for view in (x.imag, x.conj().imag, x.conj().imag[:3], x.real):
        assert measure(view) == measure(view.clone())


def test_unknown_dtypes_do_not_crash():
    known = {str(dtype) for dtype in [*INTEGERS, *FLOAT8]}
    for dtype in {value for value in vars(torch).values() if isinstance(value, torch.dtype)}:
        try:
            x = torch.empty(4, dtype=torch.uint8).view(dtype)
        except RuntimeError:  # torch itself has no such tensors
            continue
        values = measure(x)
        assert values is None or isinstance(values, Values)
        assert values is not None or str(dtype) not in known


def test_counting_is_no_operation_of_the_model():
    """Counting in torch is seen by no mode, and gives numbers also where a mode makes fake tensors of results."""
    seen = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **kwargs or {})

    words = torch.arange(100_000).remainder(7).to(torch.bfloat16)
    with Watching():
        found = measure(words)
    with FakeTensorMode(allow_non_fake_inputs=True):
        faked = measure(words)
    assert found == faked == measure(words)
    assert found.zeros == 14_286
    assert torch.ops.aten.scatter_add_.default not in seen
