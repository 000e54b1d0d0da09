"""The only writer to stdout and stderr: whole or not at all, quiet when the reader leaves, honest when it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

from paraminspect.errors import UserError
from paraminspect.render.escape import clean, clean_lines
from paraminspect.render.view import ASCII, Glyphs, View

BROKEN_PIPE = 141
_BLOCK = 1 << 16


class ReaderGone(Exception):
    """The reader of stdout has closed it: stop, say nothing, exit 141."""


def emit(pieces: Iterable[str]) -> None:
    """Write the answer to stdout in blocks, and flush it.

    Raises ReaderGone when the reader went away, UserError when stdout is closed or cannot take it all.
    """
    stream = _stdout()
    try:
        for block in _blocks(pieces):
            stream.write(block)
        stream.flush()
    except BrokenPipeError as error:
        _discard_stdout()
        raise ReaderGone from error
    except OSError as error:
        _discard_stdout()
        if error.errno == errno.EPIPE:
            raise ReaderGone from error
        reason = error.strerror or str(error)
        raise UserError(f"cannot write the output: {reason}", where="stdout", code="cannot-write") from error


def _stdout() -> TextIO:
    stream = sys.stdout
    if stream is None or stream.closed:
        raise UserError("standard output is closed", where="stdout", code="cannot-write")
    with contextlib.suppress(AttributeError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not every stream has it
    return stream


def _blocks(pieces: Iterable[str]) -> Iterable[str]:
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


def _discard_stdout() -> None:
    """Point descriptor 1 at the null device, so that nothing more can fail while Python shuts down."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def complain(text: str) -> None:
    """Write a message to stderr, every line of it clean; a closed stderr is no reason to fail."""
    _say("".join(f"{line}\n" for line in clean_lines(text)))


def note(text: str) -> None:
    """Write one line to stderr that is no error."""
    _say(f"note: {clean(text)}\n")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not every stream has it
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def view(colour: bool = True) -> View:
    """Decide the decoration: width and colour on a terminal, neither in a pipe or a file.

    Honours NO_COLOR, TERM=dumb and COLUMNS; off a terminal the width is never guessed.
    """
    terminal = sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return View(
        width=shutil.get_terminal_size().columns if terminal else None,
        colour=terminal and colour and not plain,
        glyphs=_glyphs(),
    )


def _glyphs() -> Glyphs:
    """Fall back to ASCII where the stream's encoding cannot show the rest."""
    glyphs = Glyphs()
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        f"{glyphs.unknown}{glyphs.rule}{glyphs.bars}{glyphs.arrow}{glyphs.ellipsis}".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return glyphs
