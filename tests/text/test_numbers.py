from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from paraminspect.text.numbers import and_more, format_bytes, some_of
from tests.cases import each


@each(
    ("n", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024 + 51, "1.0 KiB"),
        (1024 + 52, "1.1 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (1023 * 1024, "1023.0 KiB"),
        (4 * 2**40, "4.0 TiB"),
        (2**64, "16.0 EiB"),
        (2**83, "8.0 YiB"),
        (2**90, "over 1024 YiB"),
        (10**4000, "over 1024 YiB"),
    ],
)
def test_bytes_are_written_for_people(n: int, text: str) -> None:
    assert format_bytes(n) == text


@given(n=st.integers(1024, 2**89))
def test_the_written_bytes_are_within_half_a_tenth(n: int) -> None:
    number, unit = format_bytes(n).split()
    power = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB").index(unit) + 1
    tenths = int(number.replace(".", ""))
    assert abs(10 * n - tenths * 1024**power) * 2 <= 1024**power
    assert 10 <= tenths < 10240


@pytest.mark.parametrize(
    ("most", "between", "text"),
    [
        (3, ", ", "a, b, c and 2 more"),
        (5, ", ", "a, b, c, d, e"),
        (1, "; ", "a and 4 more"),
        (4, "; ", "a; b; c; d and 1 more"),
    ],
)
def test_of_many_texts_the_first(most: int, between: str, text: str) -> None:
    assert some_of(list("abcde"), most, between) == text


def test_how_many_are_left_out() -> None:
    counts = [and_more(left, "tensor") for left in (-1, 0, 1, 2000)]
    assert counts == ["", "", "and 1 tensor more", "and 2,000 tensors more"]
    assert and_more(1000) == "and 1,000 more"
