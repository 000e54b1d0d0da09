"""Warnings of the user's code and of torch, for the command line: one line each, the module that was running in it.

Python prints the file and line of the caller, which for torch's own warnings is often ours: it calls what it was asked
to run. From Python nothing is collected, and a warning is Python's as ever.
"""

from __future__ import annotations

import contextlib
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paraminspect.text.numbers import and_more, some_of

_MOST = 10
_MOST_PLACES = 3
_MOST_KEPT = 1_000
_LONGEST = 2_000
_INTERNALLY = re.compile(r" \(Triggered internally at [^)]*\)")  # file and line in torch's own C++

_running: Callable[[], str] = str
"""Returns where the code is that runs now: ``layer encoder.0``; an empty text outside of every forward."""


class IssuedWarnings:
    """The warnings of one command line: each category and text with where, and how often there, it was issued.

    A command builds a model and runs its forward several times. The times are those of one such run, the most there
    were in any: a module that warns twice a forward has 2, in `grad` as in `compare`.
    """

    def __init__(self) -> None:
        self._times: dict[tuple[type[Warning], str], Counter[str]] = {}
        self._in_this_run: Counter[tuple[type[Warning], str, str]] = Counter()

    def begin_run(self) -> None:
        """Count from 0 again: what comes may be issued by the same code as before."""
        self._in_this_run.clear()

    def show(self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        """Note a warning instead of printing it, see ``warnings.showwarning``."""
        text = _INTERNALLY.sub("", " ".join(str(message).split()))[:_LONGEST]
        where = _running() or _line(filename, lineno)
        if len(self._times) < _MOST_KEPT or (category, text) in self._times:
            self._in_this_run[category, text, where] += 1
            times = self._times.setdefault((category, text), Counter())
            times[where] = max(times[where], self._in_this_run[category, text, where])

    @contextlib.contextmanager
    def forgotten_where_it_fails(self) -> Iterator[None]:
        """Forget what is issued inside where the code raises: it will be run again, or was run for nothing."""
        before = {key: times.copy() for key, times in self._times.items()}
        try:
            yield
        except BaseException:
            self._times = before
            raise

    def take(self) -> Iterator[str]:
        """Yield a line for each warning, in the order they came, and forget it."""
        lines = [_told(text, times) for (_, text), times in self._times.items()]
        self._times.clear()
        yield from lines[:_MOST]
        if lines[_MOST:]:
            yield and_more(len(lines) - _MOST, "warning")


def _told(text: str, times: Counter[str]) -> str:
    places = [where for where in times if where]
    where = f" in {some_of(places, _MOST_PLACES)}" if places else ""
    repeated = f" ({times.total():,} times)" if times.total() > 1 else ""
    return f"warning{where}{repeated}: {text}"  # a long text is cut: what matters stands before it


def _line(filename: str, lineno: int) -> str:
    """Return the line of a file of the user's: not ours, not Python's, not installed; else an empty text."""
    paths = sysconfig.get_paths()
    others = {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    others.add(Path(__file__).parents[1])
    return f"{filename}:{lineno}" if filename[:1] != "<" and others.isdisjoint(Path(filename).parents) else ""


_collected = IssuedWarnings()


@contextlib.contextmanager
def warnings_collected() -> Iterator[None]:
    """Collect the warnings that Python would show, every time they are issued; those its filters drop stay dropped."""
    global _collected
    before, _collected = _collected, IssuedWarnings()
    with warnings.catch_warnings():
        warnings.simplefilter("always", append=True)  # in the place of Python's default, once a line
        warnings.showwarning = _collected.show  # type: ignore[assignment]  # the file and line it takes go unused
        try:
            yield
        finally:
            _collected = before


def collected_warnings() -> Iterator[str]:
    """Yield a line for each warning that was collected since this was last asked."""
    return _collected.take()


@contextlib.contextmanager
def forgotten_where_it_fails() -> Iterator[None]:
    """Let nobody hear of the warnings of code that raises; those of other code are issued as ever."""
    before = warnings.showwarning
    if getattr(before, "__self__", None) is _collected:
        with _collected.forgotten_where_it_fails():
            yield
        return
    held: list[tuple[Any, ...]] = []
    warnings.showwarning = lambda *issued: held.append(issued)
    try:
        yield
    finally:
        warnings.showwarning = before
    for issued in held:
        before(*issued)


@contextlib.contextmanager
def attributed(running: Callable[[], str]) -> Iterator[None]:
    """Begin a run of a forward, in which `running` returns where the code is that runs now."""
    global _running
    before, _running = _running, running
    _collected.begin_run()
    try:
        yield
    finally:
        _running = before


def begin_other_run() -> None:
    """Begin a run of other code, unless it runs within a forward."""
    if _running is str:
        _collected.begin_run()
