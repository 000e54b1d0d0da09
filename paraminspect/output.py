"""The only writer to stdout and stderr: whole or not at all, quiet when the reader leaves, honest when it fails."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from paraminspect.errors import UserError
from paraminspect.isolation.phases import current
from paraminspect.isolation.process import answer_stream, before_a_signal, descriptor_of
from paraminspect.text.escape import ASCII, Glyphs, View, clean, to_ascii
from paraminspect.text.numbers import format_bytes

BROKEN_PIPE = 141
_BLOCK = 1 << 16
_LONGEST_LINE = 2_000
_NARROW = 80
_PATIENCE = 1.0
_BAR = 20
_PACE = 0.1
_MARKS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class ReaderGone(Exception):
    """The reader of stdout has closed it: stop, say nothing, exit 141."""


# --- stdout: the answer ------------------------------------------------------------------------------------


def emit(pieces: Iterable[str]) -> None:
    """Write the answer to stdout and flush it; if `pieces` raises within the first block, nothing has been written.

    A long answer is written block by block while it is made, so that ``| head`` need not wait for the rest.
    Raises ReaderGone when the reader went away, UserError when stdout is closed or cannot take it all.
    """
    stream = _writable()
    try:
        for block in _blocks(pieces):
            _stop_waiting()
            stream.write(block)
        stream.flush()
    except OSError as error:
        raise cannot_write(error) from error


def cannot_write(error: OSError) -> Exception:
    """Turn a failed write to stdout into ReaderGone or a UserError, and make sure nothing more is written there."""
    _discard()
    if isinstance(error, BrokenPipeError) or error.errno == errno.EPIPE:
        return ReaderGone()
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return UserError(f"cannot write the output: {reason}", where="stdout", code="cannot-write")


def _writable() -> TextIO:
    stream = answer_stream()
    if stream is None or stream.closed:
        raise UserError("standard output is closed", where="stdout", code="cannot-write")
    with contextlib.suppress(AttributeError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]  # not every stream has it
    return stream


def _blocks(pieces: Iterable[str]) -> Iterator[str]:
    """Join small pieces: a write a block, not a write a line."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)


def _discard() -> None:
    """Point the answer's descriptor at the null device, so that nothing more can fail while Python shuts down."""
    descriptor = descriptor_of(answer_stream())
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1 if descriptor is None else descriptor)
        os.close(null)


# --- stderr: notes and errors ------------------------------------------------------------------------------


def complain(text: str) -> None:
    """Write a message of our own to stderr, a line at a time; a closed stderr is no reason to fail."""
    _say(text.split("\n"))


def error(text: str, hint: str = "") -> None:
    """Write one error to stderr: `text` on one line whatever it holds, then the lines of `hint`."""
    _say([f"error: {clean(text, None)}", *(f"  {line}" for line in hint.split("\n") if line)])


def note(text: str) -> None:
    """Write one line to stderr that is no error."""
    _say([f"note: {clean(text)}"])


def suggest(text: str, colour: bool) -> None:
    """Write one dim line on what may be asked next: to a person at a terminal alone, of whom no script reads it."""
    streams = (sys.stdout, sys.stderr)
    if all(stream is not None and _draws(stream) for stream in streams):
        dim = colour and not os.environ.get("NO_COLOR")
        _stop_waiting()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"\x1b[2m{clean(text)}\x1b[0m\n" if dim else f"{clean(text)}\n")
            sys.stderr.flush()


def _say(lines: Iterable[str]) -> None:
    _stop_waiting()
    text = "".join(f"{clean(line, _LONGEST_LINE)}\n" for line in lines)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text if _shows(sys.stderr, text) else to_ascii(text))
        sys.stderr.flush()


def _shows(stream: TextIO, text: str) -> bool:
    """Tell whether the stream's encoding has every character of `text`."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


@contextlib.contextmanager
def progress(total: int, what: str, wanted: bool = True) -> Iterator[Callable[[], None]]:
    """Yield what is to be called after each of `total` steps: after a second, stderr shows how many are done.

    Only a terminal does, where it is `wanted`. Afterwards its line is clean again, also when a step raises or a signal
    ends the process.
    """
    stream = sys.stderr
    if not wanted or not _draws(stream) or (total == 1 and _waiting):
        yield lambda: None
        return
    _stop_waiting()
    start, done = time.monotonic(), 0

    def advance() -> None:
        nonlocal done
        done += 1
        if time.monotonic() - start > _PATIENCE:
            _draw(stream, f"{_bar(done / total, stream)} {done}/{total} {what}"[: _width(stream) - 1])

    def wipe() -> None:
        if time.monotonic() - start > _PATIENCE:
            _draw(stream, "")

    try:
        with before_a_signal(wipe):
            yield advance
    finally:
        wipe()


@contextlib.contextmanager
def throughput(total: int, wanted: bool) -> Iterator[Callable[[int], None]]:
    """Yield what is to be told how many of `total` bytes were read more, from any thread.

    After a second, stderr shows how many there are, how fast it goes and how long it will take, as `progress` does.
    """
    stream = sys.stderr
    if not wanted or not _draws(stream):
        yield lambda _: None
        return
    _stop_waiting()
    start, done, drawn = time.monotonic(), 0, 0.0
    lock = threading.Lock()

    def advance(count: int) -> None:
        nonlocal done, drawn
        with lock:
            done += count
            passed = time.monotonic() - start
            if passed < _PATIENCE or passed - drawn < _PACE:
                return
            drawn = passed
            left = max(total - done, 0) * passed / max(done, 1)
            amounts = f"{format_bytes(done)} of {format_bytes(total)}, {format_bytes(int(done / passed))}/s"
            text = f"{_bar(min(done / max(total, 1), 1), stream)} {amounts}, {left:,.0f} s left"
            _draw(stream, text[: _width(stream) - 1])

    def wipe() -> None:
        if drawn:
            _draw(stream, "")

    try:
        with before_a_signal(wipe):
            yield advance
    finally:
        wipe()


@contextlib.contextmanager
def waiting(wanted: bool) -> Iterator[None]:
    """Say on stderr after a second what is being done, and for how long, until something is written.

    Only a terminal shows it, where it is `wanted` and the answer is not piped on: a pager has the same screen. It takes
    a thread, as torch does not come back to Python for seconds. The line is clean again when the answer begins, when a
    note or an error is said, and when a signal ends the process.
    """
    stream = sys.stderr
    if not wanted or not _draws(stream) or _is_piped(answer_stream()):
        yield
        return
    line = _WaitingLine(stream)
    _waiting.append(line)
    try:
        with before_a_signal(line.stop):
            yield
    finally:
        _stop_waiting()


class _WaitingLine:
    """A line that a thread of its own draws ten times a second, once the first second is over."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.start = time.monotonic()
        self.ended = threading.Event()
        self.drawing = threading.Lock()
        self.is_drawn = False
        threading.Thread(target=self._turn, name="paraminspect-waiting", daemon=True).start()

    def _turn(self) -> None:
        marks = _MARKS if _shows(self.stream, _MARKS) else "|/-\\"
        self.ended.wait(_PATIENCE)
        for mark in itertools.cycle(marks):
            with self.drawing:
                if self.ended.is_set():
                    return
                text = f"{mark} {current()}, {time.monotonic() - self.start:.0f} s"
                _draw(self.stream, text[: _width(self.stream) - 1])
                self.is_drawn = True
            self.ended.wait(_PACE)

    def stop(self) -> None:
        """Draw no more, and leave the line as it was; a signal may call it in the midst of itself."""
        self.ended.set()
        is_free = self.drawing.acquire(timeout=_PACE)
        if self.is_drawn:
            self.is_drawn = False
            _draw(self.stream, "")
        if is_free:
            self.drawing.release()


_waiting: list[_WaitingLine] = []


def _stop_waiting() -> None:
    while _waiting:
        _waiting.pop().stop()


def _draws(stream: TextIO | None) -> bool:
    """Tell whether a line may be drawn on a stream and wiped again."""
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def _is_piped(stream: TextIO | None) -> bool:
    descriptor = descriptor_of(stream)
    try:
        return descriptor is None or stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return True


def _bar(share: float, stream: TextIO) -> str:
    full, empty = "█░" if _shows(stream, "█░") else "#."
    whole = round(share * _BAR)
    return full * whole + empty * (_BAR - whole)


def _draw(stream: TextIO, text: str) -> None:
    """Put a text in the place of the cursor's line, past the stream's buffer: a signal may find it in use."""
    with contextlib.suppress(OSError, ValueError):
        os.write(stream.fileno(), f"\r\x1b[K{text}".encode(stream.encoding, "replace"))


# --- decoration --------------------------------------------------------------------------------------------


def view(colour: bool = True) -> View:
    """Decide the decoration: width and colour on a terminal, neither in a pipe or a file.

    Honours NO_COLOR, TERM=dumb and COLUMNS; off a terminal the width is never guessed.
    """
    stream = answer_stream()
    terminal = stream is not None and not stream.closed and stream.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return View(
        width=_width(stream) if terminal else None,
        colour=terminal and colour and not plain,
        glyphs=_glyphs(stream),
    )


def _width(stream: TextIO | None) -> int:
    """Return the columns of the terminal that shows the answer, not of whatever descriptor 1 is by now."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isascii() and wanted.isdigit() and int(wanted[:6]) > 0:
        return int(wanted[:6])
    descriptor = descriptor_of(stream)
    try:
        return os.get_terminal_size(1 if descriptor is None else descriptor).columns or _NARROW
    except OSError:
        return _NARROW


def _glyphs(stream: TextIO | None) -> Glyphs:
    """Fall back to ASCII where the stream's encoding cannot show the rest."""
    glyphs = Glyphs()
    shown = f"–→{glyphs.rule}{glyphs.bars}{glyphs.blocks}{glyphs.ellipsis}"
    return glyphs if stream is not None and _shows(stream, shown) else ASCII
