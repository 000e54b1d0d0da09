"""A test of many cases tries every one, and fails with those that fail."""

from __future__ import annotations

import inspect

import pytest

from tests.cases import each


def test_every_case_is_tried_and_what_fails_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    @each("one, other", [(1, 2), (3, 3), (5, 6)])
    @each("word", ["a", "b"], ids=["A", "B"])
    def test(word: str, one: int, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(each, "patched", one, raising=False)
        tried.append((word, one))
        assert one == other or word == "b", "not equal"

    assert [*inspect.signature(test).parameters] == ["monkeypatch"]
    with pytest.raises(ExceptionGroup) as caught:
        test(monkeypatch=monkeypatch)
    assert tried == [(word, one) for one in (1, 3, 5) for word in "ab"]
    notes = [["in the case word = A", f"in the case one, other = {case}"] for case in ((1, 2), (5, 6))]
    assert [failure.__notes__ for failure in caught.value.exceptions] == notes
    assert not hasattr(each, "patched")


def test_the_one_case_that_fails_is_the_failure() -> None:
    @each("error", [ValueError, KeyError])
    def test(error: type[Exception]) -> None:
        with pytest.raises(KeyError):
            raise error

    with pytest.raises(ValueError) as caught:
        test()
    assert caught.value.__notes__ == ["in the case error = <class 'ValueError'>"]
