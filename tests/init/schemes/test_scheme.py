import math

import pytest

from paraminspect.errors import UserError
from paraminspect.init.schemes.registry import is_function_reference
from paraminspect.init.schemes.scheme import parse_scheme
from tests.cases import each

EXAMPLE = "\n  write name or name:argument=value,argument=value, e.g. normal:std=0.01"


@each(
    ("text", "expected"),
    [
        ("normal", ("normal", {})),
        ("normal:std=0.01", ("normal", {"std": 0.01})),
        ("normal:mean=0,std=1e-2", ("normal", {"mean": 0, "std": 0.01})),
        (" normal : mean = -1 , std = .5 ", ("normal", {"mean": -1, "std": 0.5})),
        ("uniform:a=-1.5E+2,b=+3", ("uniform", {"a": -150.0, "b": 3})),
        ("uniform:a=-1.,b=1.", ("uniform", {"a": -1.0, "b": 1.0})),
        (
            "kaiming_normal:mode=fan_out,nonlinearity=relu",
            ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "relu"}),
        ),
        ("nn.init.normal_:std=2", ("nn.init.normal_", {"std": 2})),
        ("critical:nonlinearity=elu:alpha=2", ("critical", {"nonlinearity": "elu:alpha=2"})),
        ("constant:val=1_0", ("constant", {"val": "1_0"})),
        ("constant:val=0x10", ("constant", {"val": "0x10"})),
        ("constant:val=a=b", ("constant", {"val": "a=b"})),
        ("constant:val=inf", ("constant", {"val": math.inf})),
        ("constant:val=" + "9" * 30, ("constant", {"val": 1e30})),
        ("constant:val=" + "9" * 5000, ("constant", {"val": math.inf})),
    ],
)
def test_parses(text, expected):
    name, arguments = parse_scheme(text, "")
    assert (name, arguments) == expected
    assert [type(value) for value in arguments.values()] == [type(value) for value in expected[1].values()]


def test_parses_nan():
    assert math.isnan(parse_scheme("constant:val=nan", "")[1]["val"])


@each(
    ("text", "message"),
    [
        ("", "--scheme: no scheme name" + EXAMPLE),
        ("  :std=1", "--scheme: no scheme name" + EXAMPLE),
        ("normal:", "--scheme: an argument is missing after ':' or ','" + EXAMPLE),
        ("normal:std=1,", "--scheme: an argument is missing after ':' or ','" + EXAMPLE),
        ("normal:mean=0,,std=1", "--scheme: an argument is missing after ':' or ','" + EXAMPLE),
        ("normal:std", "--scheme: 'std' has no '='" + EXAMPLE),
        ("normal:std=0,01", "--scheme: '01' has no '='" + EXAMPLE),
        ("normal:=1", "--scheme: '=1' has no argument name" + EXAMPLE),
        ("normal:std= ", "--scheme: 'std=' has no value" + EXAMPLE),
        ("normal:std=1,std=2", "--scheme: 'std' is given twice\n  keep one of them"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(UserError) as caught:
        parse_scheme(text, "--scheme")
    assert (str(caught.value), caught.value.code) == (message, "bad-scheme")


@pytest.mark.parametrize(
    "text",
    ["my/init.py:f", "init.py:f", "pkg.mod:f", "mod:f", "pkg.mod:Class.method", r"C:\mine\init.py:f", "./a b.py:f"],
)
def test_tells_a_function(text):
    assert is_function_reference(text)


@each(
    "text",
    [
        "normal",
        "normal:std=0.01",
        "normal:std",
        "gain_normal:nonlinearity=elu:alpha",
        "nn.init.normal_:std",
        "normal:",
        ":f",
        "",
        "init.py:",
        "init.py:f()",
        "init.py:3",
        "init.py:f.",
        "mod:f=1",
    ],
)
def test_tells_what_is_no_function(text):
    assert not is_function_reference(text)
