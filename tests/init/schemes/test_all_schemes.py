"""Each scheme against torch's own call, bit for bit, and its moments against what it drew."""

import math

import pytest
import torch
from torch import nn

from paraminspect import theory
from paraminspect.errors import UserError
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.expected_moments import UNKNOWN, ExpectedMoments
from paraminspect.init.schemes.registry import SCHEMES, bind
from paraminspect.init.schemes.scheme import parse_scheme
from tests.cases import each

ANY = [(), (3,), (3, 5), (16, 16), (4, 3, 3, 3), (0, 3)]
MATRICES = [(3, 5), (64, 16), (16, 64), (1, 1), (4, 3, 3, 3), (2, 3, 2, 2, 2)]
FLAT = [(3, 5), (64, 16), (16, 64), (1, 1)]
KERNELS = [(4, 3, 3), (6, 6, 2), (4, 4, 3, 3), (2, 3, 2, 2, 2)]


def by_hand_textbook(w):
    nn.init.uniform_(w, -10, 10)
    w.data *= w.data.abs() >= 5


def by_hand_cut(w, mean, std):
    """The inverse of the distribution function of a normal cut at two std, at uniform numbers."""
    share = math.erf(2 / math.sqrt(2))
    u = torch.empty(w.shape, dtype=w.dtype).uniform_(-share, share)
    w.data = (torch.erfinv(u) * (math.sqrt(2) * std) + mean).clamp(mean - 2 * std, mean + 2 * std)


def by_hand_lecun_normal(w):
    by_hand_cut(w, 0.0, math.sqrt(1 / nn.init._calculate_fan_in_and_fan_out(w)[0]) / 0.87962566103423978)


def fan_in_of(w):
    return nn.init._calculate_fan_in_and_fan_out(w)[0]


def by_hand_critical(w):
    nn.init.normal_(w, std=math.sqrt(theory.critical("tanh", sigma_b2=0.05).sigma_w2 / fan_in_of(w)))


def by_hand_scaling(w):
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(w)
    nn.init.normal_(w, std=math.sqrt(3 / ((fan_in + fan_out) / 2)))


CASES = [
    ("normal", ANY, lambda w: nn.init.normal_(w)),
    ("normal:mean=0.5,std=0.01", ANY, lambda w: nn.init.normal_(w, mean=0.5, std=0.01)),
    ("uniform", ANY, lambda w: nn.init.uniform_(w)),
    ("uniform:a=-2,b=3", ANY, lambda w: nn.init.uniform_(w, -2, 3)),
    ("trunc_normal", ANY, lambda w: nn.init.trunc_normal_(w)),
    ("trunc_normal:std=0.02,a=-0.01,b=0.03", ANY, lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.01, b=0.03)),
    ("constant:val=-0.25", ANY, lambda w: nn.init.constant_(w, -0.25)),
    ("ones", ANY, lambda w: nn.init.ones_(w)),
    ("zeros", ANY, lambda w: nn.init.zeros_(w)),
    ("eye", FLAT, lambda w: nn.init.eye_(w)),
    ("dirac", KERNELS, lambda w: nn.init.dirac_(w)),
    ("dirac:groups=2", KERNELS, lambda w: nn.init.dirac_(w, groups=2)),
    ("xavier_uniform", MATRICES, lambda w: nn.init.xavier_uniform_(w)),
    ("xavier_uniform:gain=2", MATRICES, lambda w: nn.init.xavier_uniform_(w, gain=2)),
    ("xavier_normal", MATRICES, lambda w: nn.init.xavier_normal_(w)),
    ("xavier_normal:gain=0.5", MATRICES, lambda w: nn.init.xavier_normal_(w, gain=0.5)),
    ("kaiming_uniform", MATRICES, lambda w: nn.init.kaiming_uniform_(w)),
    (
        "kaiming_uniform:a=0.2,mode=fan_out,nonlinearity=leaky_relu",
        MATRICES,
        lambda w: nn.init.kaiming_uniform_(w, 0.2, "fan_out", "leaky_relu"),
    ),
    ("kaiming_normal", MATRICES, lambda w: nn.init.kaiming_normal_(w)),
    ("kaiming_normal:nonlinearity=tanh", MATRICES, lambda w: nn.init.kaiming_normal_(w, nonlinearity="tanh")),
    ("orthogonal", MATRICES, lambda w: nn.init.orthogonal_(w)),
    ("orthogonal:gain=-2", MATRICES, lambda w: nn.init.orthogonal_(w, gain=-2)),
    ("sparse:sparsity=0.9", FLAT, lambda w: nn.init.sparse_(w, 0.9)),
    ("sparse:sparsity=0.25,std=2", FLAT, lambda w: nn.init.sparse_(w, 0.25, std=2)),
    ("trunc_normal:a=-1e9,b=1e9", ANY, lambda w: nn.init.trunc_normal_(w, a=-1e9, b=1e9)),
    ("trunc_normal:a=0,b=1e9", ANY, lambda w: nn.init.trunc_normal_(w, a=0, b=1e9)),
    ("textbook", ANY, by_hand_textbook),
    ("lecun_normal", MATRICES, by_hand_lecun_normal),
    (
        "lecun_uniform",
        MATRICES,
        lambda w: nn.init.uniform_(w, -math.sqrt(3 / w[0].numel()), math.sqrt(3 / w[0].numel())),
    ),
    ("variance_scaling:distribution=truncated_normal", MATRICES, by_hand_lecun_normal),
    ("variance_scaling:scale=3,mode=fan_avg", MATRICES, by_hand_scaling),
    (
        "variance_scaling:mode=fan_geo_avg",
        MATRICES,
        lambda w: nn.init.normal_(w, std=math.sqrt(1 / math.sqrt(math.prod(nn.init._calculate_fan_in_and_fan_out(w))))),
    ),
    ("truncated_normal", ANY, lambda w: by_hand_cut(w, 0.0, 1.0)),
    ("truncated_normal:mean=0.5,std=0.02", ANY, lambda w: by_hand_cut(w, 0.5, 0.02)),
    ("identity", FLAT, lambda w: nn.init.eye_(w)),
    ("identity:gain=-2", FLAT, lambda w: w.data.copy_(-2.0 * torch.eye(*w.shape)).add_(0.0)),
    (
        "gain_normal:nonlinearity=gelu",
        MATRICES,
        lambda w: nn.init.normal_(w, std=theory.gain("gelu") / math.sqrt(fan_in_of(w))),
    ),
    (
        "gain_uniform:nonlinearity=tanh,keep=gradient",
        MATRICES,
        lambda w: nn.init.uniform_(
            w,
            -theory.gain("tanh", keep="gradient") * math.sqrt(3 / fan_in_of(w)),
            theory.gain("tanh", keep="gradient") * math.sqrt(3 / fan_in_of(w)),
        ),
    ),
    ("critical:nonlinearity=tanh,sigma_b2=0.05", MATRICES, by_hand_critical),
    ("lsuv", MATRICES, lambda w: nn.init.orthogonal_(w)),
    (
        "mup_readout:gain=2,base_width=64",
        MATRICES,
        lambda w: nn.init.normal_(w, std=2 * math.sqrt(64) / fan_in_of(w)),
    ),
]
EVERY = [text for text, _, _ in CASES]
SHAPES = {text: shapes[1] for text, shapes, _ in CASES}


def bound(text: str) -> BoundScheme:
    return bind(*parse_scheme(text, ""))


def drawn(fill, shape, dtype=torch.float32):
    torch.manual_seed(1)
    w = nn.Parameter(torch.full(shape, 7.0, dtype=dtype))
    fill(w)
    return w.detach(), torch.rand(3)


def same_bits(one, other):
    """Compare values and the state the generator is left in; -0.0 is not 0.0."""
    return all(
        torch.equal(a, b) and torch.equal(torch.signbit(a), torch.signbit(b)) for a, b in zip(one, other, strict=True)
    )


def test_every_scheme_has_a_case():
    assert {bound(text).scheme.name for text in EVERY} == set(SCHEMES)


@each("dtype", [torch.float32, torch.float64], ids=str)
@each(("text", "shapes", "by_hand"), CASES, ids=EVERY)
def test_fills_as_the_users_own_call(text, shapes, by_hand, dtype):
    scheme = bound(text)
    for shape in shapes:
        scheme.check("w", shape, str(dtype).removeprefix("torch."))
        assert same_bits(drawn(scheme.apply, shape, dtype), drawn(by_hand, shape, dtype)), shape


@each("dtype", ["float16", "bfloat16", "float32"])
@each(("text", "shapes"), [case[:2] for case in CASES], ids=EVERY)
def test_the_printed_line_does_the_same(text, shapes, dtype):
    scheme = bound(text)
    shape = shapes[1]

    def script(w):
        namespace = {"math": math, "torch": torch, "nn": nn}
        exec(scheme.helper(dtype), namespace)
        exec(scheme.line("net[0].weight", dtype), namespace | {"net": [type("", (), {"weight": w})]})

    of = getattr(torch, dtype)
    assert same_bits(drawn(script, shape, of), drawn(scheme.apply, shape, of))


@each(
    ("text", "dtype", "line", "helper"),
    [
        ("normal", "float32", "nn.init.normal_(w)", ""),
        ("normal:std=0.01,mean=0", "float32", "nn.init.normal_(w, std=0.01)", ""),
        ("normal:std=0.01,mean=1", "float16", "nn.init.normal_(w, mean=1.0, std=0.01)", ""),
        ("constant:val=0", "float32", "nn.init.constant_(w, val=0.0)", ""),
        (
            "kaiming_normal:nonlinearity=relu,mode=fan_out",
            "float32",
            "nn.init.kaiming_normal_(w, mode='fan_out', nonlinearity='relu')",
            "",
        ),
        ("dirac:groups=2", "float32", "nn.init.dirac_(w, groups=2)", ""),
        ("orthogonal:gain=2", "float32", "nn.init.orthogonal_(w, gain=2.0)", ""),
        ("orthogonal:gain=2", "float16", "orthogonal_by_copy_(w, gain=2.0)", "def orthogonal_by_copy_(tensor"),
        ("orthogonal", "bfloat16", "orthogonal_by_copy_(w)", "def orthogonal_by_copy_(tensor"),
        ("lecun_normal", "float32", "lecun_normal_(w)", "def lecun_normal_(tensor"),
        ("textbook:low=1", "float32", "textbook_(w, low=1.0)", "def textbook_(tensor"),
        ("lsuv:tol=0.01", "float32", "nn.init.orthogonal_(w)", ""),
        ("lsuv", "bfloat16", "orthogonal_by_copy_(w)", "def orthogonal_by_copy_(tensor"),
        ("identity:gain=2", "float32", "identity_(w, gain=2.0)", "def identity_(tensor"),
        (
            "critical:nonlinearity=relu",
            "float32",
            "critical_(w, sigma_w2=2.0, sigma_b2=0.0)  # critical:nonlinearity=relu",
            "def critical_(tensor",
        ),
    ],
)
def test_line(text, dtype, line, helper):
    scheme = bound(text)
    assert (scheme.line("w", dtype), scheme.helper(dtype).rpartition("\n\n\n")[2].partition(":")[0]) == (line, helper)


@each("text", EVERY)
def test_spells_itself(text):
    assert bound(str(bound(text))) == bound(text)


def test_spelling_leaves_defaults_out():
    assert str(bound("normal:mean=0,std=1e-2")) == "normal:std=0.01"
    assert str(bound("textbook")) == "textbook"


MEASURED = [
    *(text for text in EVERY if bound(text).scheme.random and not text.startswith(("orthogonal", "lsuv"))),
    "xavier_uniform:gain=1.6",
    "kaiming_normal:mode=fan_out,nonlinearity=selu",
    "variance_scaling:mode=fan_out,distribution=uniform",
    "trunc_normal:mean=1.5,std=1,a=2,b=6",
    "textbook:low=1,high=4",
    "sparse:sparsity=0.333",
]


@each("text", MEASURED)
def test_draws_what_it_promises(text):
    """Mean and std within five standard errors on 256 000 elements: std/√n, and std·√((kurtosis − 1)/4n)."""
    scheme, shape = bound(text), (800, 320)
    expected = scheme.moments(shape)
    values = drawn(scheme.apply, shape)[0].double()
    mean, std, n = values.mean(), values.std(correction=0), values.numel()
    assert abs(mean - expected.mean) < 5 * expected.std / math.sqrt(n)
    assert abs(std - expected.std) < 5 * expected.std * math.sqrt((expected.kurtosis - 1) / (4 * n))
    assert ((values - mean) ** 4).mean() / std**4 == pytest.approx(expected.kurtosis, rel=0.03)
    assert expected.low is None or values.min() >= expected.low * (1 + 1e-6 * math.copysign(1, -expected.low))
    assert expected.high is None or values.max() <= expected.high * (1 + 1e-6)


@each(("text", "shapes"), [c[:2] for c in CASES if not bound(c[0]).scheme.random])
def test_exact_moments(text, shapes):
    scheme = bound(text)
    for shape in (shape for shape in shapes if 0 not in shape):
        expected, values = scheme.moments(shape), drawn(scheme.apply, shape, torch.float64)[0]
        assert values.mean().item() == pytest.approx(expected.mean, rel=1e-14)
        assert values.std(correction=0).item() == pytest.approx(expected.std, rel=1e-14)
        assert (values.min().item(), values.max().item()) == (expected.low, expected.high)


@pytest.mark.parametrize("shape", [(3, 5), (64, 16), (1, 4), (1, 1), (4, 3, 3, 3)])
def test_orthogonal_rms_is_exact(shape):
    scheme = bound("orthogonal:gain=-2")
    values = drawn(scheme.apply, shape, torch.float64)[0]
    expected = scheme.moments(shape)
    assert values.square().mean().sqrt().item() == pytest.approx(expected.std, rel=1e-12)
    assert (expected.mean, expected.kurtosis, expected.low, expected.high) == (0.0, 1.0, -2.0, 2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (4, 3, 3, 3)])
def test_orthogonal_in_low_precision(dtype, shape):
    scheme = bound("orthogonal")
    scheme.check("w", shape, str(dtype).removeprefix("torch."))
    rows = drawn(scheme.apply, shape, dtype)[0].float().flatten(1)
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    torch.testing.assert_close(gram, torch.eye(gram.shape[0]), atol=2e-2, rtol=0)


@pytest.mark.parametrize("text", ["orthogonal", "normal", "dirac", "kaiming_uniform", "textbook"])
def test_fills_channels_last(text):
    """torch's orthogonal_ raises there; the draw is that of a contiguous tensor."""
    scheme = bound(text)
    torch.manual_seed(1)
    w = torch.empty(8, 4, 3, 3).to(memory_format=torch.channels_last)
    scheme.apply(w)
    assert w.is_contiguous(memory_format=torch.channels_last)
    if text == "orthogonal":
        assert torch.equal(w, drawn(scheme.apply, (8, 4, 3, 3))[0])


def test_orthogonal_of_a_transposed_matrix_has_torchs_bits():
    ours, torchs = torch.empty(5, 3).t(), torch.empty(5, 3).t()
    torch.manual_seed(1)
    bound("orthogonal").apply(ours)
    torch.manual_seed(1)
    nn.init.orthogonal_(torchs)
    assert torch.equal(ours, torchs)


@each("text", EVERY)
def test_records_no_gradient_and_keeps_the_parameter(text):
    shape = SHAPES[text]
    w = nn.Parameter(torch.ones(shape))
    address = w.data_ptr()
    bound(text).apply(w)
    assert (w.is_leaf, w.requires_grad, w.grad_fn, w.grad, w.data_ptr()) == (True, True, None, None, address)


@each("text", EVERY)
def test_leaves_a_meta_tensor_alone(text):
    shape = SHAPES[text]
    w = torch.empty(shape, device="meta")
    bound(text).apply(w)
    assert w.is_meta and w.shape == shape


@each(
    ("text", "fans"),
    [
        ("xavier_normal", (27, 36)),
        ("kaiming_uniform", (27, 36)),
        ("lecun_normal", (27, 36)),
        ("gain_normal", (27, 36)),
        ("critical", (27, 36)),
        ("mup_readout", (27, 36)),
        ("normal", None),
        ("lsuv", None),
    ],
)
def test_fans(text, fans):
    assert bound(text).fans((4, 3, 3, 3)) == fans


def test_moments_of_known_cases():
    assert bound("eye").moments((2, 3)) == ExpectedMoments(1 / 3, math.sqrt(2 / 9), None, 0.0, 1.0)
    assert bound("xavier_normal").moments((4, 4)).std == 0.5
    assert bound("kaiming_normal").moments((7, 8)).std == pytest.approx(0.5)
    assert bound("kaiming_normal:mode=fan_out").moments((8, 7)).std == pytest.approx(0.5)
    assert bound("lecun_normal").moments((7, 4)).std == pytest.approx(0.5, rel=1e-14)
    assert bound("lecun_normal").moments((7, 4)).high == pytest.approx(1 / 0.87962566103423978)


@pytest.mark.parametrize(
    "text",
    [
        "xavier_normal:gain=0",
        "xavier_uniform:gain=0",
        "orthogonal:gain=0",
        "identity:gain=0",
        "mup_readout:gain=0",
        "normal:mean=3,std=0",
        "truncated_normal:mean=3,std=0",
    ],
)
def test_without_spread_everything_is_the_mean(text):
    scheme = bound(text)
    expected = scheme.moments((4, 3))
    scheme.check("w", (4, 3), "float32")
    assert drawn(scheme.apply, (4, 3))[0].unique().tolist() == [expected.mean]
    assert (expected.std, expected.low, expected.high) == (0.0, expected.mean, expected.mean)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("eye", (0, 3)), ("dirac", (2, 0, 3)), ("orthogonal", (0, 3)), ("identity", (0, 3)), ("lsuv", (0, 3))],
)
def test_no_moments_without_elements(text, shape):
    assert bound(text).moments(shape) == UNKNOWN


def test_sparse_of_an_empty_matrix():
    scheme = bound("sparse:sparsity=0.5")
    scheme.check("w", (0, 3), "float32")
    assert scheme.moments((0, 3)).std == 0.01


ON_WEIGHTS = "restrict the rule to weights"
ON_MATRICES = "restrict the rule to matrices; dirac is the identity of a convolution"
ON_KERNELS = "restrict the rule to convolutions; eye is the identity of a matrix"
NOTHING = "leave it out of the rule: it has nothing to fill"
REAL = "can fill float16, bfloat16, float32, float64"
NOT_THIS = "leave it out of the rule, or use constant"


@each(
    ("text", "name", "shape", "dtype", "message", "hint"),
    [
        (
            "xavier_uniform",
            "0.bias",
            (3,),
            "float32",
            "xavier_uniform needs at least 2 dimensions; parameter '0.bias' has shape (3,)",
            ON_WEIGHTS,
        ),
        (
            "kaiming_normal",
            "1.weight",
            (3,),
            "float32",
            "kaiming_normal needs at least 2 dimensions; parameter '1.weight' has shape (3,)",
            "name the parameters that have them",
        ),
        (
            "critical:nonlinearity=tanh",
            "norm.weight",
            (3,),
            "float32",
            "critical needs at least 2 dimensions, or a bias; parameter 'norm.weight' has shape (3,)",
            "name the parameters that have them",
        ),
        (
            "orthogonal",
            "scale",
            (),
            "float32",
            "orthogonal needs at least 2 dimensions; parameter 'scale' has shape ()",
            ON_WEIGHTS,
        ),
        (
            "lecun_uniform",
            "w",
            (0, 0),
            "float32",
            "lecun_uniform needs at least one element; parameter 'w' has shape (0, 0)",
            NOTHING,
        ),
        (
            "xavier_normal",
            "w",
            (3, 0),
            "float32",
            "xavier_normal needs at least one element; parameter 'w' has shape (3, 0)",
            NOTHING,
        ),
        (
            "eye",
            "conv.weight",
            (4, 3, 3, 3),
            "float32",
            "eye needs 2 dimensions; parameter 'conv.weight' has shape (4, 3, 3, 3)",
            ON_MATRICES,
        ),
        (
            "sparse:sparsity=0.5",
            "b",
            (4,),
            "float32",
            "sparse needs 2 dimensions; parameter 'b' has shape (4,)",
            "restrict the rule to matrices",
        ),
        (
            "dirac",
            "0.weight",
            (3, 4),
            "float32",
            "dirac needs 3 to 5 dimensions; parameter '0.weight' has shape (3, 4)",
            ON_KERNELS,
        ),
        (
            "dirac:groups=3",
            "0.weight",
            (4, 2, 3),
            "float32",
            "dirac needs a first dimension that groups=3 divides; parameter '0.weight' has shape (4, 2, 3)",
            ON_KERNELS,
        ),
        (
            "dirac",
            "0.weight",
            (4, 2, 0),
            "float32",
            "dirac needs a kernel of at least one element; parameter '0.weight' has shape (4, 2, 0)",
            NOTHING,
        ),
        ("normal", "n", (3,), "int64", f"normal {REAL}; parameter 'n' is int64", NOT_THIS),
        ("uniform", "n", (3,), "float8_e4m3fn", f"uniform {REAL}; parameter 'n' is float8_e4m3fn", NOT_THIS),
        ("orthogonal", "n", (3, 3), "complex64", f"orthogonal {REAL}; parameter 'n' is complex64", NOT_THIS),
        (
            "constant:val=1e5",
            "w",
            (3,),
            "float16",
            "constant:val=100000.0 does not fit parameter 'w', which is float16",
            "the largest float16 is 65504",
        ),
        (
            "constant:val=0.5",
            "w",
            (3,),
            "int8",
            "constant:val=0.5 does not fit parameter 'w', which is int8",
            "int8 holds whole numbers from -128 to 127",
        ),
        (
            "constant:val=-1",
            "w",
            (3,),
            "uint8",
            "constant:val=-1.0 does not fit parameter 'w', which is uint8",
            "uint8 holds whole numbers from 0 to 255",
        ),
        (
            "uniform:a=-3e38,b=3e38",
            "w",
            (3,),
            "float32",
            "uniform:a=-3e+38,b=3e+38 does not fit parameter 'w', which is float32",
            "the largest float32 is 3.40282e+38",
        ),
        (
            "normal:std=1e39",
            "w",
            (3,),
            "float32",
            "normal:std=1e+39 does not fit parameter 'w', which is float32",
            "the largest float32 is 3.40282e+38",
        ),
        (
            "xavier_uniform:gain=1e308",
            "w",
            (1, 1),
            "float64",
            "xavier_uniform:gain=1e+308 does not fit parameter 'w', which is float64",
            "the largest float64 is 1.79769e+308",
        ),
    ],
)
def test_check_refuses(text, name, shape, dtype, message, hint):
    with pytest.raises(UserError) as caught:
        bound(text).check(name, shape, dtype)
    assert (caught.value.message, caught.value.hint) == (message, hint)
    assert caught.value.code == ("wrong-shape" if "shape" in message else "wrong-dtype")


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("ones", "bool"),
        ("constant:val=-128", "int8"),
        ("eye", "int64"),
        ("zeros", "complex64"),
        ("constant:val=65504", "float16"),
        ("constant:val=448", "float8_e4m3fn"),
        ("uniform:a=-5,b=5", "bfloat16"),
    ],
)
def test_check_accepts_what_torch_fills(text, dtype):
    scheme, w = bound(text), torch.empty(2, 2, dtype=getattr(torch, dtype))
    scheme.check("w", (2, 2), dtype)
    scheme.apply(w)
    assert w.ne(7).all() if not dtype.startswith("float8") else w.float().eq(448).all()


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "complex64"]
)
def test_the_largest_values_are_torchs(dtype):
    largest = torch.finfo(getattr(torch, dtype)).max
    bind("constant", {"val": largest}).check("w", (1,), dtype)
    if dtype != "float64":
        with pytest.raises(UserError):
            bind("constant", {"val": largest * 1.001}).check("w", (1,), dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
def test_the_integer_ranges_are_torchs(dtype):
    limits = torch.iinfo(getattr(torch, dtype))
    for inside, outside in ((limits.min, limits.min - 1), (limits.max, limits.max + 1)):
        bind("constant", {"val": inside}).check("w", (1,), dtype)
        with pytest.raises(UserError):
            bind("constant", {"val": outside}).check("w", (1,), dtype)
