"""``--input SHAPE[:DTYPE][:SAMPLE]``."""

from __future__ import annotations

import pytest

from paraminspect.errors import UserError
from paraminspect.spec.inputs import parse_input
from paraminspect.spec.model import Input
from tests.cases import each

GOOD = [
    ("2,4", Input((2, 4))),
    ("7", Input((7,))),
    ("2,4:float64", Input((2, 4), dtype="float64")),
    ("2,4:torch.float64", Input((2, 4), dtype="float64")),
    ("2,4:normal", Input((2, 4), "normal")),
    ("2,4:float32:uniform", Input((2, 4), "uniform", "float32")),
    ("2,128:int64:0..50256", Input((2, 128), "0..50256", "int64")),
    ("2,128:-5..5", Input((2, 128), "-5..5")),
    ("ids=2,128:int64:0..9", Input((2, 128), "0..9", "int64", "ids")),
    ("3:ones", Input((3,), "ones")),
]


@each(("text", "wanted"), GOOD)
def test_forms(text: str, wanted: Input) -> None:
    found = parse_input(text)
    assert (found.shape, found.sample, found.dtype, found.name) == (
        wanted.shape,
        wanted.sample,
        wanted.dtype,
        wanted.name,
    )
    assert found.where == f"--input {text}"


def test_a_range_includes_both_ends() -> None:
    assert parse_input("2:int64:-3..4").bounds == (-3, 4)
    assert parse_input("2:normal").bounds is None


FORM = "SHAPE[:DTYPE][:SAMPLE], e.g. 2,4 or 2,4:float32:normal or ids=2,128:int64:0..50256"
BAD = [
    ("", "'' is not a shape: sizes of at least 1, separated by commas\n  " + FORM),
    ("2,x", "'2,x' is not a shape: sizes of at least 1, separated by commas\n  " + FORM),
    ("0,4", "'0,4' is not a shape: sizes of at least 1, separated by commas\n  " + FORM),
    ("-1", "'-1' is not a shape: sizes of at least 1, separated by commas\n  " + FORM),
    ("٣", "'٣' is not a shape: sizes of at least 1, separated by commas\n  " + FORM),
    (
        "9999999999999999999",
        "'9999999999999999999' is not a shape: sizes of at least 1, separated by commas\n  " + FORM,
    ),
    ("2,4:a:b:c", "too many ':'\n  " + FORM),
    ("2:flaot32", "unknown dtype or sample 'flaot32'\n  did you mean 'float32'?"),
    ("2:uniorm", "unknown dtype or sample 'uniorm'\n  did you mean 'uniform'?"),
    ("2:5..1", "5..1: the low end is above the high end"),
    ("2:int64", "uniform numbers cannot be drawn as int64\n  give a range of integers, e.g. sample 0..9"),
    ("a b=2", "'a b' is not an argument name\n  " + FORM),
]


@each(("text", "message"), BAD)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_input(text)
    assert str(caught.value) == f"--input {text}: {message}"
