"""Normals cut at two standard deviations: exactly truncated in every dtype and memory layout, by their moments."""

import math

import pytest
import torch

from paraminspect.init.schemes.registry import bind
from paraminspect.init.schemes.scheme import parse_scheme
from tests.cases import each

STD, KURTOSIS = 0.87962566103423978, 2.3655367
"""Of a standard normal cut at ±2: m₂ = 1 − 4φ(2)/(2Φ(2) − 1), m₄ = 3·m₂ − 16φ(2)/(2Φ(2) − 1)."""

TEXTS = {
    "lecun_normal": 1.0,
    "variance_scaling:scale=2,mode=fan_out,distribution=truncated_normal": math.sqrt(2 * 400 / 800),
    "variance_scaling:mode=fan_avg,distribution=truncated_normal": math.sqrt(2 / 3),
    "truncated_normal:std=0.02": 0.02 * STD * math.sqrt(400),
    "truncated_normal:mean=0.3,std=0.1": 0.1 * STD * math.sqrt(400),
}
"""Schemes and the std of a tensor of shape (800, 400), times √fan_in."""


def draw(text, seed, dtype=torch.float32, shape=(800, 400)):
    torch.manual_seed(seed)
    tensor = torch.empty(shape, dtype=dtype)
    bind(*parse_scheme(text, "")).apply(tensor)
    return tensor


def test_the_constants_are_those_of_the_formulas():
    density, inside = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    second = 1 - 4 * density / inside
    fourth = 3 * second - 16 * density / inside
    assert math.sqrt(second) == pytest.approx(STD, rel=1e-15)
    assert fourth / second**2 == pytest.approx(KURTOSIS, abs=1e-6)


@each("seed", range(3))
@each(("text", "root"), TEXTS.items(), ids=TEXTS)
def test_moments_over_seeds(text, root, seed):
    """Five standard errors on 320 000 elements."""
    expected = bind(*parse_scheme(text, "")).moments((800, 400))
    assert expected.std == pytest.approx(root / math.sqrt(400), rel=1e-12)
    assert expected.kurtosis == pytest.approx(KURTOSIS, abs=1e-6)
    values = draw(text, seed).double()
    n, centred = values.numel(), (values - expected.mean) / expected.std
    assert abs(centred.mean()) < 5 / math.sqrt(n)
    assert abs(centred.square().mean() - 1) < 5 * math.sqrt((KURTOSIS - 1) / n)
    assert abs(centred.pow(3).mean()) < 5 * math.sqrt(centred.pow(6).mean() / n)
    assert abs(centred.pow(4).mean() - KURTOSIS) < 5 * math.sqrt(centred.pow(8).mean() / n)
    assert values.min() >= expected.low - 1e-7 * abs(expected.low)
    assert values.max() <= expected.high + 1e-7 * abs(expected.high)


def test_has_the_distribution_of_torchs_own():
    """The largest gap between the two empirical distribution functions (Kolmogorov and Smirnov): 1 in 10 000."""
    ours = draw("truncated_normal", 0).flatten().sort().values
    torch.manual_seed(1)
    theirs = torch.nn.init.trunc_normal_(torch.empty(ours.numel())).sort().values
    grid = torch.linspace(-2, 2, 4001)
    gap = (torch.searchsorted(ours, grid) - torch.searchsorted(theirs, grid)).abs().max() / ours.numel()
    assert gap < 2.23 * math.sqrt(2 / ours.numel())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_every_dtype_has_them_but_for_its_rounding(dtype):
    eps = torch.finfo(dtype).eps
    values = draw("truncated_normal:std=0.5", 3, dtype)
    wide = values.double()
    assert abs(wide.std(correction=0) / (0.5 * STD) - 1) < 5 * math.sqrt((KURTOSIS - 1) / (4 * wide.numel())) + eps**2
    assert wide.abs().max() <= 1.0
    assert len(values.unique()) > {"bfloat16": 500, "float16": 15_000}.get(str(dtype)[6:], 200_000)  # rounded once


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_any_memory_is_filled_and_nothing_beside_it(dtype):
    torch.manual_seed(0)
    whole = torch.full((600, 300), 9.0, dtype=dtype)
    bind("truncated_normal", {}).apply(whole[::2, 1::3].t())
    filled = whole[::2, 1::3].float()
    assert filled.abs().max() <= 2.0
    assert abs(filled.std(correction=0) - STD) < 5 * STD * math.sqrt((KURTOSIS - 1) / (4 * filled.numel())) + 1e-4
    whole[::2, 1::3] = 9.0
    assert whole.eq(9.0).all()


def test_nothing_reaches_infinity_where_the_uniform_number_is_at_its_end(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.fill_(low))
    (value,) = draw("truncated_normal:mean=1,std=2", 0).unique().tolist()
    assert -3.0 <= value < -3.0 + 1e-5
