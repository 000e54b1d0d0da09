"""The one writer: whole or nothing on stdout, harmless lines on stderr, decoration from the stream alone."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paraminspect import output
from paraminspect.errors import UserError
from paraminspect.isolation import process
from paraminspect.text.escape import ASCII, Glyphs
from tests.cases import each
from tests.cli.conftest import environment


class Failing(io.StringIO):
    """A stream whose write fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


class Stream(io.TextIOWrapper):
    """A stream in memory that says what it is."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


# --- stdout ----------------------------------------------------------------------------------------------------


def test_the_answer_is_written_whole(capfd: pytest.CaptureFixture[str]) -> None:
    output.emit(str(i) + "\n" for i in range(100_000))
    out, err = capfd.readouterr()
    assert out == "".join(f"{i}\n" for i in range(100_000))
    assert err == ""


def test_an_answer_that_breaks_off_is_not_written_at_all(capfd: pytest.CaptureFixture[str]) -> None:
    def pieces() -> Iterator[str]:
        yield "x" * 60_000
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        output.emit(pieces())
    assert capfd.readouterr().out == ""


def test_a_long_answer_is_written_while_it_is_made(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def pieces() -> Iterator[str]:
        for _ in range(3):
            yield "x" * 100_000
            seen.append(capfd.readouterr().out)

    output.emit(pieces())
    assert [len(text) for text in seen] == [100_000, 100_000, 100_000]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.EPIPE, "pipe")])
def test_a_reader_that_left(error: OSError, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(error))
    monkeypatch.setattr(output, "_discard", lambda: None)
    with pytest.raises(output.ReaderGone):
        output.emit(["x"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write the output: no space left on device"),
        (OSError("odd"), "cannot write the output: odd"),
        (OSError(), "cannot write the output: oserror"),
    ],
)
def test_a_stdout_that_cannot_take_it(error: OSError, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(error))
    monkeypatch.setattr(output, "_discard", lambda: None)
    with pytest.raises(UserError) as caught:
        output.emit(["x"])
    assert (caught.value.message, caught.value.where, caught.value.code) == (said, "stdout", "cannot-write")


def test_a_closed_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Stream()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(UserError) as caught:
            output.emit(["x"])
        assert caught.value.message == "standard output is closed"


def test_what_an_encoding_lacks_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream("ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.emit(["é …\udcff\n"])
    assert stream.text == "\\xe9 \\u2026\\udcff\n"


# --- stdout kept for the answer --------------------------------------------------------------------------------


def test_reserved_stdout_is_for_the_answer_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with process.stdout_reserved():
        print("stray")
        os.write(1, b"low\n")
        output.emit(["answer\n"])
        with process.stdout_reserved():
            print("deeper")
            output.emit(["more\n"])
        print("still")
    print("free")
    out, err = capfd.readouterr()
    assert out == "answer\nmore\nfree\n"
    assert err == "stray\nlow\ndeeper\nstill\n"


def test_reserving_descriptor_1_itself() -> None:
    """As a process, where sys.stdout is descriptor 1; for good, also threads left behind cannot reach it."""
    code = (
        "import os, sys\nfrom paraminspect import output\nfrom paraminspect.isolation import process\n"
        "print('before')\n"
        "with process.stdout_reserved():\n    print('stray'); os.write(1, b'low\\n'); output.emit(['answer\\n'])\n"
        "print('between', flush=True); os.write(1, b'low between\\n')\n"
        "process.reserve_stdout_for_good()\n"
        "with process.stdout_reserved():\n    print('stray again')\n"
        "print('after', flush=True); os.write(1, b'low after\\n'); output.emit(['second\\n'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment(), timeout=60)
    assert (ran.returncode, ran.stdout) == (0, b"before\nanswer\nbetween\nlow between\nsecond\n")
    assert ran.stderr == b"stray\nlow\nstray again\nafter\nlow after\n"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_reserving_what_is_closed(closed: str, tmp_path: Path) -> None:
    code = (
        "from paraminspect import output\nfrom paraminspect.isolation import process\n"
        "try:\n"
        "    with process.stdout_reserved():\n"
        "        print('stray')\n"
        "        output.emit(['answer\\n'])\n"
        "except output.UserError as error:\n"
        "    output.error(error.message)\n"
    )
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    ran = subprocess.run(command, capture_output=True, check=False, env=environment(), timeout=60)
    assert ran.returncode == 0
    assert ran.stdout == (b"answer\n" if closed == "2>&-" else b"")
    assert ran.stderr == (b"stray\nerror: standard output is closed\n" if closed == ">&-" else b"")


# --- stderr ----------------------------------------------------------------------------------------------------


def said(stream: Stream, monkeypatch: pytest.MonkeyPatch, say: Callable[[], None]) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    say()
    return stream.text


RAW = "a\x1b[31m\x07\x9b\x7f\u202e\u2028\udcff\rb"
SHOWN = "a\\x1b[31m\\x07\\x9b\\x7f\\u202e\\u2028\\udcff\\x0db"


def test_every_message_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(Stream(), monkeypatch, lambda: output.note(f"{RAW}\nerror: x")) == f"note: {SHOWN}\\x0aerror: x\n"
    assert said(Stream(), monkeypatch, lambda: output.complain(f"{RAW}\nb")) == f"{SHOWN}\nb\n"
    lines = said(Stream(), monkeypatch, lambda: output.error(f"{RAW}\nerror: forged", f"{RAW}\nhint"))
    assert lines == f"error: {SHOWN}\\x0aerror: forged\n  {SHOWN}\n  hint\n"


def test_every_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(Stream(), monkeypatch, lambda: output.error("x" * 100_000))
    assert text == f"error: {'x' * 1993}… (100,007 characters)\n"
    text = said(Stream(), monkeypatch, lambda: output.note("x" * 100_000))
    assert text == f"note: {'x' * 300}… (100,000 characters)\n"


def test_an_encoding_that_lacks_our_signs_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(Stream("ascii"), monkeypatch, lambda: output.note("é → …")) == "note: \\xe9 -> ...\n"


@pytest.mark.parametrize("stream", [None, "closed", Failing(OSError(errno.ENOSPC, "full"))])
def test_a_stderr_that_takes_nothing_is_no_crash(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream == "closed":
        stream = Stream()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    output.note("x")
    output.error("x", "y")
    output.complain("x")


# --- decoration ------------------------------------------------------------------------------------------------


@each(
    ("terminal", "env", "width", "colour"),
    [
        (False, {"COLUMNS": "40"}, None, False),
        (True, {"COLUMNS": "40"}, 40, True),
        (True, {"COLUMNS": "0"}, 80, True),
        (True, {"COLUMNS": "wide"}, 80, True),
        (True, {"COLUMNS": "9" * 5000}, 999_999, True),
        (True, {"NO_COLOR": "1"}, 80, False),
        (True, {"NO_COLOR": ""}, 80, True),
        (True, {"TERM": "dumb"}, 80, False),
    ],
)
def test_decoration_follows_the_stream_and_the_environment(
    terminal: bool, env: dict[str, str], width: int | None, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Stream(terminal=terminal))
    view = output.view()
    assert (view.width, view.colour, view.glyphs) == (width, colour, Glyphs())
    assert output.view(colour=False).colour is False


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", Glyphs()), ("ascii", ASCII), ("latin-1", ASCII)])
def test_glyphs_follow_the_encoding(encoding: str, glyphs: Glyphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(encoding))
    assert output.view().glyphs == glyphs


def test_without_a_stdout_there_is_still_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    view = output.view()
    assert (view.width, view.colour, view.glyphs) == (None, False, ASCII)


def test_on_a_real_terminal_the_width_is_its_own_also_while_stdout_is_reserved() -> None:
    import fcntl
    import struct
    import termios

    code = (
        "from paraminspect import output\nfrom paraminspect.isolation import process\n"
        "process.reserve_stdout_for_good()\n"
        "with process.stdout_reserved():\n    pass\n"
        "view = output.view()\n"
        "output.emit([f'{view.width} {view.colour}\\n'])\n"
    )
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 123, 0, 0))
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=child,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(TERM="xterm"),
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert os.read(parent, 100) == b"123 True\r\n"
    finally:
        os.close(child)
        os.close(parent)
