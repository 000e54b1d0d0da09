"""What `measure` returns, when it returns nothing, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from paraminspect.analysis.statistics import tensor_values
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.report import Values
from tests.analysis.statistics.exact_figures import assert_figures
from tests.cases import each

NAN, INF = math.nan, math.inf


def test_all_figures():
    assert measure(torch.tensor([[3.0, 4.0], [0.0, -1.0]])) == Values(
        mean=1.5,
        std=math.sqrt(17) / 2,
        rms=math.sqrt(6.5),
        min=-1.0,
        max=4.0,
        l2=math.sqrt(26),
        zeros=1,
        nan=0,
        inf=0,
        histogram=(1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1),
    )


def test_histogram_is_optional():
    x = torch.arange(10.0)
    with_histogram, without = measure(x), measure(x, histogram=False)
    assert with_histogram.histogram is not None
    assert without == Values(**{**vars(with_histogram), "histogram": None})


@each("shape", [(0,), (3, 0, 2)])
@each("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.complex64, torch.bool])
def test_empty(shape, dtype):
    assert measure(torch.empty(shape, dtype=dtype)) == Values()


def test_zero_dimensions():
    assert measure(torch.tensor(2.5)) == Values(
        2.5, 0.0, 2.5, 2.5, 2.5, 2.5, histogram=(0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    )


@each("constant", [0.1, -0.1, 1e200, 1e-300, 5e-324, 1.7e308])
@each("n", [1, 3, 1000, 300_000])
def test_constant_has_no_spread_and_its_own_mean(constant, n):
    values = measure(torch.full((n,), constant, dtype=torch.float64))
    assert (values.mean, values.std, values.rms) == (constant, 0.0, abs(constant))
    assert values.histogram[8] == sum(values.histogram)


@each("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@each(
    "numbers",
    [
        [NAN, 1.0, 2.0, INF, -INF, 0.0, NAN, -0.0, NAN],
        [NAN, NAN],
        [INF, -INF],
        [NAN, INF],
        [-INF, 5.0],
        [0.0, -0.0],
        [-0.0],
    ],
)
@each("times", [1, 300])
def test_nonfinite_are_counted_and_left_out(dtype, numbers, times, monkeypatch):
    monkeypatch.setattr(tensor_values, "SAMPLE", 100)
    monkeypatch.setattr(tensor_values, "AT_ONCE", 100)
    monkeypatch.setattr(tensor_values, "BLOCK", 256)
    numbers = numbers * times
    values = measure(torch.tensor(numbers, dtype=dtype))
    assert_figures(values, numbers)
    finite = [number for number in numbers if math.isfinite(number)]
    assert (values.histogram is None) == (not finite)


def test_no_negative_zero_is_printed():
    values = measure(torch.tensor([-0.0, -0.0]))
    assert [math.copysign(1, figure) for figure in (values.mean, values.min, values.max)] == [1, 1, 1]


def test_nonfinite_in_one_block_of_many():
    x = torch.arange(300_000, dtype=torch.float64)
    x[200_000], x[200_001], x[299_999] = NAN, INF, -INF
    values = measure(x)
    assert_figures(values, x.tolist())
    assert sum(values.histogram) == sum(math.isfinite(number) for number in x[::75].tolist())


class Logged(torch.Tensor):
    calls: tuple[object, ...] = ()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        Logged.calls += (func,)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_subclass_is_not_called():
    x = torch.arange(4.0).as_subclass(Logged)
    Logged.calls = ()
    assert measure(x) == measure(torch.arange(4.0))
    assert Logged.calls == ()


def test_parameter_under_any_grad_mode():
    x = nn.Parameter(torch.randn(5, 5))
    expected = measure(x.detach())
    with torch.no_grad():
        assert measure(x) == expected
    with torch.inference_mode():
        assert measure(x) == expected
        assert measure(x * 1) == expected
    assert measure(x * 1) == expected  # not a leaf


def freed():
    x = torch.randn(10)
    x.untyped_storage().resize_(0)
    return x


def sliced_off():
    x = torch.randn(10)[5:]
    x.untyped_storage().resize_(24)
    return x


class Wrapper(torch.Tensor):
    """Stand for DTensor, FakeTensor and their like: the numbers are not in its own memory."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} was called")


def quantised():
    return torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)


UNKNOWN = {
    "meta": lambda: torch.empty(3, device="meta"),
    "meta parameter": lambda: nn.Linear(2, 2, device="meta").weight,
    "empty meta": lambda: torch.empty(0, device="meta"),
    "lazy": lambda: nn.LazyLinear(3).weight,
    "lazy buffer": lambda: nn.LazyBatchNorm1d().running_mean,
    "freed": freed,
    "memory cut short": sliced_off,
    "wrapper": lambda: torch.Tensor._make_wrapper_subclass(Wrapper, (3,)),
    "own dispatch": lambda: torch.Tensor._make_subclass(Wrapper, torch.ones(3)),
    "quantised": quantised,
    "bits": lambda: torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
    "half complex": lambda: torch.zeros(4, dtype=torch.complex32),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": lambda: torch.nested.as_nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "functional": lambda: torch._to_functional_tensor(torch.ones(3)),
    "opaque": lambda: torch.randn(4, 4).to_mkldnn(),
}


@pytest.mark.filterwarnings(
    "ignore:torch.quantize_per_tensor",
    "ignore:ComplexHalf support is experimental",
    "ignore:The PyTorch API of nested tensors is in prototype stage",
)
@each("make", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_is_none(make):
    assert measure(make()) is None


def test_two_in_a_byte_is_unknown():
    dtype = getattr(torch, "float4_e2m1fn_x2", None)
    if dtype is None:
        pytest.skip("float4_e2m1fn_x2 came with a later torch than this one")
    assert measure(torch.zeros(4, dtype=torch.uint8).view(dtype)) is None


def test_hidden_memory_is_unknown():
    seen = []

    def look(x):
        seen.append(measure(x))
        return x

    torch.func.vmap(look)(torch.randn(3, 4))
    torch.func.grad(lambda x: look(x).sum())(torch.randn(3))
    assert seen == [None, None]


@pytest.fixture(params=[50, 1_000_000], ids=["small", "large"])
def watched(request):
    x = nn.Parameter(torch.randn(request.param // 10, 10))
    x.grad = torch.randn_like(x)
    return x


def state(x):
    return (
        x._version,
        x.requires_grad,
        x.grad._version,
        x.data_ptr(),
        x.untyped_storage().resizable(),
        x.untyped_storage()._cdata,
        x.is_contiguous(),
        x.grad_fn,
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        np.geterr(),
    )


def test_looking_changes_nothing(watched):
    before, bits = state(watched), watched.detach().view(torch.int32).clone()
    measure(watched), measure(watched.t()), measure(watched.grad), measure(watched.detach().bfloat16())
    assert state(watched) == before
    assert torch.equal(watched.detach().view(torch.int32), bits)


def test_strict_numpy_settings_do_not_matter():
    x = torch.tensor([1e-200, 1e-310, 3.0, NAN, INF], dtype=torch.float64)
    expected = measure(x)
    with np.errstate(all="raise"):
        assert measure(x) == expected
        assert measure(x.repeat(200_000)).nan == 200_000


def test_default_device_does_not_matter():
    with torch.device("meta"):
        assert measure(torch.ones(3, device="cpu", dtype=torch.bfloat16)).mean == 1.0


SPARSE = {
    "coo": lambda x: x.to_sparse(),
    "uncoalesced": lambda x: torch.sparse_coo_tensor(
        [[0, 1, 1], [1, 0, 0]], torch.tensor([2.0, 4.0, -1.0]), x.shape, check_invariants=True
    ),
    "hybrid": lambda x: x.to_sparse(1),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((2, 2)),
}


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR) tensor support is in beta")
@pytest.mark.parametrize("convert", SPARSE.values(), ids=SPARSE)
def test_sparse(convert):
    dense = torch.tensor([[0.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    assert measure(convert(dense)) == measure(dense, histogram=False)


def test_sparse_beyond_memory():
    side = 10**6
    values = measure(torch.sparse_coo_tensor([[5], [7]], [-4], (side, side), check_invariants=True))
    assert (values.min, values.max, values.zeros, values.l2) == (-4, 0, side**2 - 1, 4.0)
    assert values.mean == pytest.approx(-4 / side**2, rel=4e-16)
    empty = torch.sparse_coo_tensor(torch.empty(2, 0), torch.empty(0), (side, side), check_invariants=True)
    assert measure(empty).zeros == side**2
