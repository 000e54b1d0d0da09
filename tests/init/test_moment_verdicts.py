"""Measured beside expected: which verdicts a tensor gets, and how wide the tolerance is."""

import math

import pytest
import torch

from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.init.moment_verdicts import judge
from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.registry import bind
from paraminspect.report import Values, Verdict
from tests.cases import each

NORMAL = expected_moments.normal(0.0, 2.0)


def verdict(figure, word, measured, expected, tolerance):
    return Verdict("scheme", f"{figure} {word}", measured, expected, pytest.approx(tolerance), "w", figure)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        (0.9, 2.6, ("as expected", "as expected")),
        (-0.9, 1.4, ("as expected", "as expected")),
        (1.1, 2.0, ("off", "as expected")),
        (0.0, 2.8, ("as expected", "off")),
        (-1.1, 1.2, ("off", "off")),
    ],
)
def test_mean_and_std_of_a_hundred_elements(mean, std, words):
    """Five standard errors: of the mean 2/√100, of the std 2·√(2/400); the std is 2/100 too small on average."""
    rounding = 2.0 * 2.0**-24
    assert judge("w", 100, "float32", Values(mean, std), NORMAL) == (
        verdict("mean", words[0], mean, 0.0, 1.0 + rounding),
        verdict("std", words[1], std, 2.0, 10 * math.sqrt(0.005) + 0.02 + rounding),
    )


@pytest.mark.parametrize("numel", [1, 7])
def test_a_few_elements_do_not_tell_the_std(numel):
    tolerance = 10 / math.sqrt(numel) + 2.0**-23
    assert judge("w", numel, "float32", Values(0.0, 0.0), NORMAL) == (
        verdict("mean", "as expected", 0.0, 0.0, tolerance),
    )


def test_eight_elements_do():
    assert [found.figure for found in judge("w", 8, "float32", Values(0.0, 2.0), NORMAL)] == ["mean", "std"]


@pytest.mark.parametrize(("mean", "word"), [(0.5, "as expected"), (0.50001, "off")])
def test_a_constant_is_exact_at_any_size(mean, word):
    tolerance = 0.5 * 2.0**-24
    assert judge("w", 1, "float32", Values(mean, 0.0), expected_moments.constant(0.5)) == (
        verdict("mean", word, mean, 0.5, tolerance),
        verdict("std", "as expected", 0.0, 0.0, tolerance),
    )


LAST = 2.0**-24  # half a unit in the last place of float32


@pytest.mark.parametrize(
    ("low", "high", "measured", "expected", "word"),
    [
        (-0.4, 0.3, 0.3, 0.5, "as expected"),
        (-0.3, 0.6, 0.6, 0.5, "off"),
        (-2.5, 0.4, -2.5, -2.0, "off"),
        (-2.5, 0.6, -2.5, -2.0, "off"),
        (-2.0, 0.5 + 7 * LAST, 0.5 + 7 * LAST, 0.5, "as expected"),
        (-2.0, 0.5 + 9 * LAST, 0.5 + 9 * LAST, 0.5, "off"),
    ],
)
def test_the_value_that_lies_furthest_out_is_held_against_its_bound(low, high, measured, expected, word):
    """Drawing U(a, b) rounds twice, each time by half a unit of the larger bound at most."""
    values = Values(min=low, max=high)
    assert judge("w", 100, "float32", values, expected_moments.uniform(-2.0, 0.5)) == (
        verdict("bounds", word, measured, expected, 8 * LAST),
    )


def test_a_bound_on_one_side_alone():
    half_open = expected_moments.ExpectedMoments(None, None, None, 1.0, None)
    assert judge("w", 9, "float32", Values(min=0.5, max=99.0), half_open) == (
        verdict("bounds", "off", 0.5, 1.0, 4 * LAST),
    )


@each("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@each(("a", "b"), [(-0.1, 0.1), (5.0, 10.0), (-1e-3, 7.0)])
def test_torchs_uniform_keeps_its_bounds_in_every_dtype(dtype, a, b):
    torch.manual_seed(0)
    tensor = torch.empty(200_000, dtype=dtype).uniform_(a, b)
    name = str(dtype).removeprefix("torch.")
    verdicts = judge("w", tensor.numel(), name, measure(tensor), expected_moments.uniform(a, b))
    assert [verdict.verdict for verdict in verdicts] == ["mean as expected", "std as expected", "bounds as expected"]


def test_nothing_is_said_of_what_is_not_known():
    assert judge("w", 100, "float32", Values(nan=100), NORMAL) == ()
    assert judge("w", 100, "float32", Values(0.0, 2.0), expected_moments.UNKNOWN) == ()


@each("shape", [(3, 4), (64, 32), (64, 64), (5, 4, 3, 3)])
@each("seed", range(5))
def test_an_orthogonal_matrix_is_as_expected_and_half_of_one_is_off(shape: tuple[int, ...], seed: int) -> None:
    """Only the rms is exact: the mean varies as that of independent elements, and takes its square from the variance."""
    torch.manual_seed(seed)
    scheme, tensor = bind("orthogonal", {}), torch.empty(shape)
    scheme.apply(tensor)
    verdicts = judge("w", tensor.numel(), "float32", measure(tensor), scheme.moments(shape))
    assert {verdict.verdict for verdict in verdicts} <= {
        f"{figure} as expected" for figure in ("mean", "std", "bounds")
    }
    halved = judge("w", tensor.numel(), "float32", measure(tensor * 0.5), scheme.moments(shape))
    assert [verdict.verdict for verdict in halved if verdict.figure == "std"] == ["std off"] * (tensor.numel() >= 25)


def test_complex_elements_are_not_judged() -> None:
    tensor = torch.ones(100, dtype=torch.complex64)
    assert judge("w", 100, "complex64", measure(tensor), bind("zeros", {}).moments((100,))) == ()
