"""What this program does to its own process while it works.

The garbage collector rests, what a signal would leave undone is done first, and stdout is kept for the answer: what the
code of others prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

from paraminspect.frozen import dataclass


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, what lives as long as the work does.

    Importing torch makes a million such objects, a report of 5,000 layers as many: a quarter of the time of either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextlib.contextmanager
def before_a_signal(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` before the handler of a signal that ends the process is; outside the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        act()
        before = handlers[number]
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, before)
            signal.raise_signal(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = {
        number: handler for number in numbers if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    for number in handlers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def descriptor_of(stream: TextIO | None) -> int | None:
    """Return the file descriptor behind a stream, None where it has none."""
    try:
        return stream.fileno() if stream is not None else None
    except (OSError, ValueError, AttributeError):
        return None


@dataclass(frozen=True)
class _Reserved:
    """Where the answer goes, and what ``sys.stdout`` and descriptor 1 were before."""

    answer: TextIO | None
    stdout: TextIO | None
    saved: int


_reserved: _Reserved | None = None
_for_good = False


def reserve_stdout_for_good() -> None:
    """Never give stdout back once it was reserved: threads that the user's code left behind may still print."""
    global _for_good
    _for_good = True
    _occupy_closed_descriptors()


def is_stdout_reserved_for_good() -> bool:
    """Tell whether this process belongs to one command line, which ends when its answer is written."""
    return _for_good


@contextlib.contextmanager
def stdout_reserved() -> Iterator[None]:
    """Keep stdout for `emit` alone: ``sys.stdout`` and descriptor 1, below Python's streams, become stderr."""
    global _reserved
    fresh = _reserved is None
    if fresh:
        _reserved = _reserve()
    stand_in = _stand_in()
    sys.stdout = stand_in
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            stand_in.flush()
        if fresh and not _for_good and _reserved is not None:
            _give_back(_reserved)
            _reserved = None


def _reserve() -> _Reserved:
    """Move the answer to a descriptor of its own; a stdout that is not descriptor 1 (a test's) needs none."""
    stdout = sys.stdout
    with contextlib.suppress(Exception):
        stdout.flush()
    _occupy_closed_descriptors()
    saved = os.dup(1)
    os.dup2(2, 1)
    if descriptor_of(stdout) != 1:
        return _Reserved(stdout, stdout, saved)
    answer = os.fdopen(saved, "w", encoding=stdout.encoding, errors="backslashreplace", closefd=False)
    return _Reserved(answer, stdout, saved)


def _occupy_closed_descriptors() -> None:
    """Open the null device where 0, 1 or 2 is closed, or the next file to be opened would become stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _give_back(kept: _Reserved) -> None:
    if kept.answer is not None and kept.answer is not kept.stdout:
        with contextlib.suppress(OSError):
            kept.answer.flush()
    os.dup2(kept.saved, 1)
    os.close(kept.saved)
    if kept.stdout is not None:
        sys.stdout = kept.stdout


def _stand_in() -> TextIO:
    """Open a stream to stderr that the user's code may keep, rebind or close without taking stderr along."""
    return os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def answer_stream() -> TextIO | None:
    """Return the stream that the answer goes to, None where stdout was closed from the start."""
    return sys.stdout if _reserved is None else _reserved.answer
