"""Run code whose prints and warnings nobody is to hear: never, or not where it does not come to its end."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from paraminspect.isolation.issued_warnings import forgotten_where_it_fails

_Written = list[tuple[TextIO, str]]


class _HeldBack(io.TextIOBase):
    """A stream that notes what is written, in order with what is written to others, and for which stream it was."""

    def __init__(self, stream: TextIO, written: _Written) -> None:
        super().__init__()
        self._stream, self._written = stream, written

    def writable(self) -> bool:
        """Say that it may be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Note the text."""
        self._written.append((self._stream, text))
        return len(text)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Drop what is printed and what is warned of."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), out, err:
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def unheard_where_it_fails() -> Iterator[None]:
    """Hold back what is printed, and pass it on at the end; where the code raises, it is dropped."""
    written: _Written = []
    out, err = (_HeldBack(stream, written) for stream in (sys.stdout, sys.stderr))
    with forgotten_where_it_fails(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
    for stream, text in written:
        stream.write(text)
