import inspect
import math
import subprocess
import sys
import types

import pytest
from torch import nn

from paraminspect.errors import UserError
from paraminspect.init.schemes import recipes, registry
from paraminspect.init.schemes.bound_scheme import sources
from paraminspect.init.schemes.families.fan_scaling import gain
from paraminspect.init.schemes.registry import SCHEMES, bind, canonical_name
from paraminspect.init.schemes.scheme import REQUIRED, Argument, Scheme, parse_scheme
from tests.cases import each

TORCH = sorted(name for name in nn.init.__all__ if name.endswith("_"))
ALL = "'paraminspect schemes' lists them all"
NONLINEARITIES = (
    "linear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, "
    "sigmoid, tanh, relu, leaky_relu, selu"
)


def function(scheme):
    name = f"{scheme.function or scheme.name}_"
    return getattr(recipes, scheme.recipe) if scheme.recipe else getattr(nn.init, name)


def parameters(call):
    """Return (name, default) of what a user may choose."""
    found = list(inspect.signature(call).parameters.values())
    return [
        (p.name, REQUIRED if p.default is inspect.Parameter.empty else p.default)
        for p in found
        if p.name not in ("tensor", "generator")
    ]


OWN = {
    "critical",
    "gain_normal",
    "gain_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "mup_readout",
    "textbook",
    "truncated_normal",
    "variance_scaling",
}


def test_has_everything_torch_has_and_more():
    assert set(SCHEMES) == {name.removesuffix("_") for name in TORCH} | OWN


@each("scheme", [s for s in SCHEMES.values() if not s.solve], ids=lambda s: s.name)
def test_arguments_are_the_functions_own(scheme):
    assert [(a.name, a.default) for a in scheme.arguments] == parameters(function(scheme))


@pytest.mark.parametrize("text", ["gain_normal:nonlinearity=tanh", "gain_uniform:nonlinearity=tanh"])
def test_what_a_scheme_solves_for_is_what_its_function_takes(text):
    assert list(bind(*parse_scheme(text, "")).solution) == [name for name, _ in parameters(recipes.gain_normal_)]


def test_the_critical_variances_are_what_its_function_takes():
    assert list(bind("critical", {"nonlinearity": "tanh"}).solution) == [n for n, _ in parameters(recipes.critical_)]
    assert bind("lsuv", {}).solution == {}


@pytest.mark.parametrize("scheme", [s for s in SCHEMES.values() if s.fallback and not s.solve], ids=lambda s: s.name)
def test_a_fallback_takes_the_same_arguments(scheme):
    assert parameters(getattr(recipes, scheme.fallback)) == parameters(function(scheme))


@each("scheme", SCHEMES.values(), ids=SCHEMES)
def test_everything_is_documented(scheme):
    assert scheme.summary.endswith(".") and scheme.summary[0].isupper()
    assert scheme.family and scheme.formula and scheme.source and scheme.shape_hint
    for argument in scheme.arguments:
        assert argument.doc and argument.type in ("float", "int", "str")
        assert bool(argument.choices or argument.check) == (argument.type == "str")


def test_recipes_are_all_used_and_documented():
    own = {name for name, value in vars(recipes).items() if isinstance(value, types.FunctionType)}
    used = {name for scheme in SCHEMES.values() for name in (scheme.recipe, scheme.fallback) if name} | {"lsuv_"}
    assert own == used | {"fan_of"}
    assert all(getattr(recipes, name).__doc__ for name in own)


def test_a_recipe_comes_with_those_it_calls():
    found = [text.partition("(")[0].removeprefix("def ") for text in sources("variance_scaling_")]
    assert found == ["fan_of", "truncated_normal_", "variance_scaling_"]
    assert sources("textbook_") == [inspect.getsource(recipes.textbook_).strip()]


@each("nonlinearity", NONLINEARITIES.split(", "))
@each("a", [0.0, 0.2, math.sqrt(5), -1.0])
def test_gain_is_torchs(nonlinearity, a):
    assert gain(nonlinearity, a) == nn.init.calculate_gain(nonlinearity, a)


def test_nothing_here_imports_torch():
    code = (
        "import sys\n"
        "from paraminspect.init import calibration\n"
        "from paraminspect.init.schemes import activation, constructor_defaults, fans, registry, scheme\n"
        "registry.bind(*scheme.parse_scheme('kaiming_normal:mode=fan_out', '')).moments((3, 4))\n"
        "registry.bind('textbook', {}).check('w', (3,), 'float32')\n"
        "registry.bind('critical', {}).fans((3,))\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("name", ["normal", "normal_", "init.normal_", "nn.init.normal_", "torch.nn.init.normal_"])
def test_torchs_spelling_is_accepted(name):
    assert bind(name, {}).scheme is SCHEMES["normal"]


@pytest.mark.parametrize("name", ["", "_", "Normal", "normal__", "nn.normal", "foo.init.normal_", "variance"])
def test_other_spellings_are_not(name):
    assert canonical_name(name) is None


def test_defaults_are_filled_in_torchs_order():
    bound = bind("kaiming_normal", {"nonlinearity": "relu", "a": 1})
    assert list(bound.args.items()) == [("a", 1.0), ("mode", "fan_in"), ("nonlinearity", "relu")]


def test_numbers_take_the_arguments_type():
    assert repr(bind("normal", {"std": 2}).args) == "{'mean': 0.0, 'std': 2.0}"
    assert repr(bind("dirac", {"groups": 2}).args) == "{'groups': 2}"


@each(
    ("name", "given", "message", "code"),
    [
        ("normall", {}, f"unknown scheme 'normall'\n  did you mean 'normal'?; {ALL}", "unknown-scheme"),
        ("Xavier", {}, f"unknown scheme 'Xavier'\n  did you mean 'xavier_normal'?; {ALL}", "unknown-scheme"),
        ("qqq", {}, f"unknown scheme 'qqq'\n  {ALL}", "unknown-scheme"),
        (
            "glorot_uniform",
            {},
            f"unknown scheme 'glorot_uniform'\n  torch calls it 'xavier_uniform'; {ALL}",
            "unknown-scheme",
        ),
        (
            "normal",
            {"sdt": 1},
            "normal has no argument 'sdt'\n  did you mean 'std'?; normal takes mean, std",
            "unknown-argument",
        ),
        (
            "normal",
            {"generator": 1},
            "normal has no argument 'generator'\n  normal takes mean, std",
            "unknown-argument",
        ),
        ("zeros", {"val": 1}, "zeros has no argument 'val'\n  zeros takes no arguments", "unknown-argument"),
        (
            "constant",
            {},
            "constant needs val\n  val is the value to fill with, e.g. constant:val=0.5",
            "missing-argument",
        ),
        (
            "sparse",
            {"std": 1},
            "sparse needs sparsity\n  sparsity is the fraction of each column set to zero, e.g. sparse:sparsity=0.5",
            "missing-argument",
        ),
        ("normal", {"std": "x"}, "std of normal must be a number; got 'x'", "bad-argument"),
        ("normal", {"std": True}, "std of normal must be a number; got True", "bad-argument"),
        ("normal", {"std": None}, "std of normal must be a number; got None", "bad-argument"),
        ("normal", {"std": [1]}, "std of normal must be a number; got [1]", "bad-argument"),
        ("normal", {"mean": math.nan}, "mean of normal must be a finite number; got nan", "bad-argument"),
        ("normal", {"mean": -math.inf}, "mean of normal must be a finite number; got -inf", "bad-argument"),
        ("normal", {"std": -1}, "std of normal must be at least 0; got -1", "bad-argument"),
        ("trunc_normal", {"std": 0}, "std of trunc_normal must be above 0; got 0", "bad-argument"),
        ("sparse", {"sparsity": 1.0}, "sparsity of sparse must be at least 0 and below 1; got 1.0", "bad-argument"),
        ("sparse", {"sparsity": -0.1}, "sparsity of sparse must be at least 0 and below 1; got -0.1", "bad-argument"),
        ("dirac", {"groups": 0}, "groups of dirac must be at least 1; got 0", "bad-argument"),
        ("dirac", {"groups": 2.0}, "groups of dirac must be a whole number; got 2.0", "bad-argument"),
        ("dirac", {"groups": True}, "groups of dirac must be a whole number; got True", "bad-argument"),
        (
            "variance_scaling",
            {"mode": "fan"},
            "mode of variance_scaling must be one of fan_in, fan_out, fan_avg, fan_geo_avg; got 'fan'",
            "bad-argument",
        ),
        ("truncated_normal", {"std": -1}, "std of truncated_normal must be at least 0; got -1", "bad-argument"),
        ("critical", {"sigma_b2": None}, "sigma_b2 of critical must be a number; got None", "bad-argument"),
        ("critical", {"sigma_b2": -1}, "sigma_b2 of critical must be at least 0; got -1", "bad-argument"),
        ("mup_readout", {"base_width": 0}, "base_width of mup_readout must be above 0; got 0", "bad-argument"),
        ("lsuv", {"tol": 0}, "tol of lsuv must be above 0; got 0", "bad-argument"),
        ("lsuv", {"max_steps": 0}, "max_steps of lsuv must be at least 1; got 0", "bad-argument"),
        ("lsuv", {"max_steps": 1.5}, "max_steps of lsuv must be a whole number; got 1.5", "bad-argument"),
        (
            "gain_normal",
            {"nonlinearity": 3},
            "nonlinearity of gain_normal: 3 is not the name of an activation\n  e.g. gelu",
            "bad-argument",
        ),
        ("variance_scaling", {"scale": 0}, "scale of variance_scaling must be above 0; got 0", "bad-argument"),
        ("xavier_uniform", {"gain": -1}, "gain of xavier_uniform must be at least 0; got -1", "bad-argument"),
        (
            "kaiming_normal",
            {"a": 1e200},
            "a of kaiming_normal must be above -1e+100 and below 1e+100; got 1e+200",
            "bad-argument",
        ),
        (
            "kaiming_normal",
            {"mode": "fan_avg"},
            "mode of kaiming_normal must be one of fan_in, fan_out; got 'fan_avg'",
            "bad-argument",
        ),
        ("kaiming_normal", {"mode": 1}, "mode of kaiming_normal must be one of fan_in, fan_out; got 1", "bad-argument"),
        (
            "kaiming_uniform",
            {"nonlinearity": "gelu"},
            f"nonlinearity of kaiming_uniform must be one of {NONLINEARITIES}; got 'gelu'",
            "bad-argument",
        ),
        (
            "uniform",
            {"a": 2},
            "uniform: a, the lower bound, is above b, the upper\n  it has a=2.0, b=1.0",
            "bad-argument",
        ),
        (
            "trunc_normal",
            {"a": 1, "b": -1},
            "trunc_normal: a, the lower bound, is above b, the upper\n  it has mean=0.0, std=1.0, a=1.0, b=-1.0",
            "bad-argument",
        ),
        (
            "trunc_normal",
            {"mean": 4.5},
            "trunc_normal: mean is more than 2 std outside [a, b], where torch's sampler is not reliable\n"
            "  it has mean=4.5, std=1.0, a=-2.0, b=2.0",
            "bad-argument",
        ),
        (
            "trunc_normal",
            {"a": 1, "b": 1e9},
            "trunc_normal: the far bound is more than 100 std away, and torch would reject nearly every draw; "
            "10 are plenty\n  it has mean=0.0, std=1.0, a=1.0, b=1000000000.0",
            "bad-argument",
        ),
        ("textbook", {"low": 10}, "textbook: low is not below high\n  it has low=10.0, high=10.0", "bad-argument"),
    ],
)
def test_refuses(name, given, message, code):
    with pytest.raises(UserError) as caught:
        bind(name, given, where="rule 1")
    assert (str(caught.value), caught.value.code) == (f"rule 1: {message}", code)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gleu", "unknown activation 'gleu'"),
        ("elu:alfa=1", "elu has no "),
        ("elu:alpha", "'alpha' has no '='"),
        ("", "no scheme name"),
    ],
)
def test_refuses_what_is_no_activation(text, said):
    with pytest.raises(UserError) as caught:
        bind("gain_normal", {"nonlinearity": text}, where="rule 1")
    assert str(caught.value).startswith(f"rule 1: nonlinearity of gain_normal: {said}")
    assert caught.value.code == "bad-argument"


def test_refuses_an_integer_that_no_float_holds():
    with pytest.raises(UserError, match="val of constant must be a finite number"):
        bind("constant", {"val": 10**400})


def test_a_new_family_is_one_new_file(monkeypatch, tmp_path):
    text = inspect.getsource(sys.modules["paraminspect.init.schemes.families.textbook"])
    (tmp_path / "mine.py").write_text(text.replace('name="textbook"', 'name="mine"'))
    monkeypatch.setattr(registry.families, "__path__", [*registry.families.__path__, str(tmp_path)])
    assert set(registry._collect()) == {*SCHEMES, "mine"}
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.delitem(sys.modules, "paraminspect.init.schemes.families.mine")
    with pytest.raises(RuntimeError, match="two families define the scheme 'textbook'"):
        registry._collect()


def test_required_prints_as_a_word():
    assert repr(Argument("val", "float", REQUIRED, "d")).count("default=REQUIRED") == 1


def test_schemes_are_read_only():
    assert isinstance(SCHEMES["normal"], Scheme)
    with pytest.raises(TypeError):
        SCHEMES["normal"] = None
