"""One tensor: every scheme is called by its name, and what nobody drew is not."""

import math

import pytest
import torch
from torch import nn

from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.init.recognition.candidates import Place
from paraminspect.init.recognition.model_recognition import place_of
from paraminspect.init.recognition.tensor_recognition import recognise
from paraminspect.init.schemes.registry import bind
from tests.cases import each

SEEDS = range(4)


def told(tensor, layer=None):
    return recognise(tensor, measure(tensor), layer or Place())


def filled(fill, shape, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    tensor = torch.empty(shape, dtype=dtype)
    fill(tensor)
    return tensor


WIDE = (64, 784)
SCHEMES = {
    "zeros": ("zeros", {}, WIDE, "zeros"),
    "ones": ("ones", {}, WIDE, "ones"),
    "constant": ("constant", {"val": 0.3}, WIDE, "constant 0.3"),
    "normal": ("normal", {"std": 0.02}, WIDE, "normal std 0.02"),
    "normal of a std of its own": ("normal", {"std": 0.0337}, WIDE, "normal std 0.033"),
    "uniform": ("uniform", {"a": -0.05, "b": 0.05}, WIDE, "uniform ±0.05"),
    "uniform to one side": ("uniform", {"a": 0.0, "b": 1.0}, WIDE, "uniform 0 to 1"),
    "normal about 1": ("normal", {"mean": 1.0, "std": 0.02}, WIDE, "normal mean 1, std 0.02"),
    "bounds far out": ("trunc_normal", {"std": 0.02}, WIDE, "normal std 0.02"),
    "bounds at two std": ("trunc_normal", {}, WIDE, "truncated_normal std 1"),
    "truncated": ("truncated_normal", {"std": 0.02}, WIDE, "truncated_normal std 0.02"),
    "xavier_normal": ("xavier_normal", {}, WIDE, "xavier_normal"),
    "xavier_uniform": ("xavier_uniform", {}, WIDE, "xavier_uniform"),
    "xavier with a gain": ("xavier_uniform", {"gain": 5 / 3}, WIDE, "xavier_uniform gain 1.667"),
    "kaiming, fan_in": ("kaiming_normal", {"nonlinearity": "relu"}, WIDE, "kaiming_normal fan_in, relu"),
    "kaiming, fan_out": ("kaiming_normal", {"mode": "fan_out"}, WIDE, "kaiming_normal fan_out, relu"),
    "kaiming, tanh": ("kaiming_normal", {"nonlinearity": "tanh"}, (96, 600), "kaiming_normal fan_in, tanh"),
    "kaiming, equal fans": ("kaiming_normal", {}, (128, 128), "kaiming_normal fan_in = fan_out, relu"),
    "kaiming_uniform": ("kaiming_uniform", {"mode": "fan_out"}, WIDE, "kaiming_uniform fan_out, relu"),
    "a kernel": ("kaiming_uniform", {}, (32, 9, 3, 3), "kaiming_uniform fan_in, relu"),
    "lecun_normal": ("lecun_normal", {}, WIDE, "lecun_normal"),
    "lecun_uniform": ("lecun_uniform", {}, WIDE, "kaiming_uniform fan_in, linear"),
    "he_normal of Keras": (
        "variance_scaling",
        {"scale": 2.0, "distribution": "truncated_normal"},
        WIDE,
        "truncated_normal fan_in, variance 2/fan",
    ),
    "he_normal, equal fans": (
        "variance_scaling",
        {"scale": 2.0, "distribution": "truncated_normal"},
        (128, 128),
        "truncated_normal fan_in = fan_out, variance 2/fan",
    ),
    "orthogonal": ("orthogonal", {}, WIDE, "orthogonal"),
    "orthogonal, tall, a gain": ("orthogonal", {"gain": 1.5}, (784, 64), "orthogonal gain 1.5"),
    "orthogonal kernel": ("orthogonal", {}, (32, 16, 3, 3), "orthogonal"),
    "identity": ("identity", {"gain": -2.0}, (6, 4), "identity gain -2"),
    "eye": ("eye", {}, (4, 6), "eye"),
    "dirac": ("dirac", {}, (4, 4, 3, 3), "dirac"),
    "sparse": ("sparse", {"sparsity": 0.1}, WIDE, "sparse 0.1, std 0.01"),
}


@each(("scheme", "args", "shape", "words"), SCHEMES.values(), ids=SCHEMES)
def test_a_scheme_is_called_by_its_name(scheme, args, shape, words):
    """In every seed; of a scale that is fitted the first two digits."""
    bound = bind(scheme, args)
    for seed in SEEDS:
        found = told(filled(lambda tensor: bound.apply(nn.Parameter(tensor), "w"), shape, seed))
        fitted = scheme == "normal" and args.get("std") == 0.0337
        assert (found.words[: len(words)] if fitted else found.words) == words
        assert found.confidence >= 0.95 and found.p_value >= 1e-4 and found.reason == ""


def test_what_is_recognised_says_what_it_should_be():
    """Expected moments, arguments and fans as the scheme itself gives them; a fitted scale expects nothing."""
    found = told(filled(lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), (64, 784)))
    assert (found.scheme, found.args) == ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "relu"})
    assert (found.fans, found.moments.std) == ((784, 64), pytest.approx(math.sqrt(2 / 64)))
    assert told(filled(lambda w: w.normal_(0, 0.0337), (64, 784))).moments is None


def test_fan_in_taken_as_the_first_size():
    """What the thread asked: ``weight.size(0)`` of a Linear is fan_out, and the answer says so."""
    layer = nn.Linear(784, 64)
    for fill, words in (
        (lambda w: w.normal_(0, math.sqrt(2 / w.size(0))), "kaiming_normal fan_out, relu"),
        (lambda w: w.uniform_(-1 / math.sqrt(w.size(0)), 1 / math.sqrt(w.size(0))), "kaiming_uniform fan_out, a=√5"),
    ):
        with torch.no_grad():
            fill(layer.weight)
        assert told(layer.weight, place_of(layer, "weight")).words == words


def test_two_schemes_that_come_to_the_same_are_both_named():
    """At fan_out = 2·fan_in, √(6/fan_out) is √(3/fan_in): which fan was meant cannot be told."""
    found = told(filled(nn.init.kaiming_uniform_, (64, 128)))
    assert found.words == "kaiming_uniform fan_in, relu or kaiming_uniform fan_out, linear"


LAYERS = {
    "Linear": lambda: nn.Linear(64, 100),
    "a class of one's own": lambda: type("Own", (nn.Linear,), {})(64, 100),
    "Conv1d": lambda: nn.Conv1d(8, 60, 5),
    "Conv2d": lambda: nn.Conv2d(16, 60, 3),
    "a grouped Conv2d": lambda: nn.Conv2d(16, 64, 3, groups=4),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(32, 40, 3),
    "Bilinear": lambda: nn.Bilinear(16, 8, 60),
    "Embedding": lambda: nn.Embedding(200, 16),
    "Embedding with padding": lambda: nn.Embedding(200, 16, padding_idx=3),
    "LSTM": lambda: nn.LSTM(32, 48),
    "GRU": lambda: nn.GRU(32, 48),
    "RNN": lambda: nn.RNN(32, 48),
    "MultiheadAttention": lambda: nn.MultiheadAttention(64, 4),
    "BatchNorm2d": lambda: nn.BatchNorm2d(8),
    "LayerNorm": lambda: nn.LayerNorm(8),
}


@each("build", LAYERS.values(), ids=LAYERS)
def test_the_default_of_a_layer_is_called_that(build):
    for seed in SEEDS:
        torch.manual_seed(seed)
        for owner in build().modules():
            for leaf, parameter in owner.named_parameters(recurse=False):
                found = told(parameter, place_of(owner, leaf))
                assert found.scheme in ("default", "zeros", "ones") and not found.refuted
                assert found.scheme != "default" or found.words.endswith("'s default)")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_of_the_default(dtype):
    layer = nn.Linear(200, 300).to(dtype)
    assert told(layer.weight, place_of(layer, "weight")).words == "uniform ±1/√fan_in (Linear's default)"


@pytest.mark.parametrize(
    "change", [lambda w: w.t(), lambda w: w[::2], lambda w: w[:, 3:], lambda w: w.unflatten(1, (16, 49))]
)
def test_views_are_read_as_they_are(change):
    assert told(change(filled(lambda w: w.normal_(0, 0.02), (400, 784)))).words == "normal std 0.02"


def test_the_words_of_a_tensor_that_trunc_normal_clamped():
    tensor = filled(lambda w: w.normal_(0, 0.02), (300, 400))
    tensor[7, 9] = -2.0
    assert told(tensor).words == "trunc_normal std 0.02"


NOBODY_DREW = {
    "exponential": lambda w: w.exponential_(),
    "cauchy": lambda w: w.cauchy_(),
    "student": lambda w: w.copy_(torch.distributions.StudentT(5.0).sample(w.shape)),
    "laplace": lambda w: w.copy_(torch.distributions.Laplace(0.0, 1.0).sample(w.shape)),
    "two normals": lambda w: w.normal_()[: len(w) // 2].mul_(3),
    "pruned": lambda w: w.normal_().mul_((torch.rand(w.shape) > 0.5).float()),
    "a sinusoid": lambda w: w.copy_(torch.sin(torch.arange(w.numel()).view(w.shape) * 0.01)),
    "the same row again": lambda w: w.copy_(torch.randn(1, w.shape[1]).expand_as(w)),
    "counting": lambda w: w.copy_(torch.arange(w.numel()).view(w.shape) / w.numel()),
    "an update of low rank": lambda w: w.normal_().addmm_(torch.randn(len(w), 2), torch.randn(2, w.shape[1])),
    "rows of unit length": lambda w: w.normal_().div_(w.norm(dim=1, keepdim=True)),
}


@each("fill", NOBODY_DREW.values(), ids=NOBODY_DREW)
def test_what_no_initialiser_draws_is_not_recognised(fill):
    for seed in SEEDS:
        found = told(filled(fill, (128, 96), seed), Place("Linear", "weight", (128, 96)))
        assert (found.words, found.scheme, found.refuted) == ("unrecognised", "", True)
        assert found.reason


@pytest.mark.parametrize(
    ("values", "words", "reason"),
    [
        ([0.0, 0.0], "zeros", ""),
        ([1.0], "ones", ""),
        ([0.1], "constant 0.1", ""),
        ([0.5047], "unrecognised", "too few elements"),
        ([0.1, -0.2, 0.3], "unrecognised", "too few elements"),
        ([0.1, math.nan], "unrecognised", "it has values that are not finite"),
    ],
)
def test_few_elements(values, words, reason):
    found = told(torch.tensor(values))
    assert (found.words, found.reason) == (words, reason)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn])
def test_a_dtype_that_is_not_drawn(dtype):
    found = told(torch.arange(8.0).to(dtype))
    assert (found.scheme, found.refuted) == ("", False)


def test_nothing_is_said_of_values_that_are_not_known():
    assert recognise(torch.empty(0), measure(torch.empty(0)), Place()) is None
    assert told(torch.randn(30, dtype=torch.complex64)) is None


def test_looking_leaves_the_tensor_and_the_generators_alone():
    tensor = filled(lambda w: w.normal_(0, 0.02), (50, 60))
    before, state = tensor.clone(), torch.get_rng_state()
    told(tensor)
    assert torch.equal(tensor, before) and torch.equal(torch.get_rng_state(), state)


def test_a_depthwise_kernel():
    """EfficientNet's fan_out/groups is fan_in there; one without groups is another."""
    layer = nn.Conv2d(256, 256, 3, groups=256)
    nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / 9))
    found = told(layer.weight, place_of(layer, "weight"))
    assert (found.words, found.also) == ("kaiming_normal fan_in, relu", ("kaiming_normal fan_out/groups, relu",))


@pytest.mark.parametrize("build", [lambda: nn.LSTM(32, 64), lambda: nn.Embedding(300, 32)])
def test_what_is_nearly_the_default_is_not_a_distribution_of_its_own(build):
    """After a few steps the bound is 6 % further out."""
    for owner in build().modules():
        for leaf, parameter in owner.named_parameters(recurse=False):
            found = told(parameter.detach() * 1.06, place_of(owner, leaf))
            assert (found.scheme, found.refuted) == ("", True)
