"""Many small cases as one test: what pytest.mark.parametrize makes of each is a test, at milliseconds a piece."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from paraminspect.isolation import user_code


def begin_anew() -> None:
    """Let nothing be in force that an earlier test or case has set or drawn."""
    user_code.forget()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(0)  # torch.manual_seed notes a stack for each accelerator


def each(names: str | tuple[str, ...], cases: Iterable[Any], ids: Any = None) -> Callable[[Any], Any]:
    """Call the test once for every case, all within one test; written as pytest.mark.parametrize is.

    Every case is tried, also after one that fails, and a failure says which case it is of. What a case patches is
    undone after it; other fixtures are made once: where a case leaves something in them, such as files, parametrize.

    >>> @each(("text", "number"), [("1", 1), ("2", 2)])
    ... def test_it_is_read(text, number): ...
    """
    words = tuple(word.strip() for word in names.split(",")) if isinstance(names, str) else names
    listed = list(cases)
    spelled = listed if ids is None or callable(ids) else list(ids)
    assert len(spelled) == len(listed)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def every(**fixtures: Any) -> None:
            failures: list[BaseException] = []
            for case, name in zip(listed, spelled, strict=True):
                begin_anew()
                given = dict(zip(words, case, strict=True)) if len(words) > 1 else {words[0]: case}
                try:
                    with patches(fixtures) as own:
                        test(**given, **own)
                except BaseExceptionGroup as group:  # the cases of another @each below
                    failures.extend(noted(failure, words, name) for failure in group.exceptions)
                except (Exception, pytest.fail.Exception) as failure:
                    failures.append(noted(failure, words, name))
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} cases", failures)

        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in words]
        every.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]  # where pytest looks
        return every

    return decorate


@contextlib.contextmanager
def patches(fixtures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a case a `monkeypatch` of its own, if it uses one."""
    if "monkeypatch" not in fixtures:
        yield fixtures
        return
    with fixtures["monkeypatch"].context() as patch:
        yield fixtures | {"monkeypatch": patch}


def noted(failure: BaseException, words: tuple[str, ...], case: object) -> BaseException:
    """Return the failure with the case it is of."""
    failure.add_note(f"in the case {', '.join(words)} = {str(case)[:300]}")
    return failure
