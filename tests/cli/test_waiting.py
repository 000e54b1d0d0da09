"""Who waits for a second at a terminal is told for what; nobody else is, and nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import environment

SLOW = """\
import time

from torch import nn


class Slow(nn.Linear):
    def __init__(self, seconds=1.7):
        super().__init__(3, 1)
        self.seconds = seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return super().forward(x)
"""
DRAWN = re.compile(r"\r\x1b\[K[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] ([a-z ]+), (\d+) s")


@dataclass(frozen=True)
class Screen:
    """A process whose stderr, and perhaps stdout, is a pseudo-terminal of its own."""

    process: subprocess.Popen[bytes]
    ours: int

    def text(self, interrupt_at: bytes = b"") -> str:
        """Return all that was sent to the terminal; at the first `interrupt_at`, press Ctrl-C."""
        sent = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
            while piece := os.read(self.ours, 4096):
                sent += piece
                if interrupt_at and interrupt_at in sent:
                    self.process.send_signal(signal.SIGINT)
                    interrupt_at = b""
        os.close(self.ours)
        return sent.decode()


def start(folder: Path, *words: str, piped: bool = False) -> Screen:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "paraminspect", *words],
        cwd=folder,
        env=environment(TERM="xterm", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
    )
    os.close(theirs)
    return Screen(process, ours)


@pytest.fixture
def screens(tmp_path: Path, heard: None) -> dict[str, Screen]:
    """All at once: they mostly sleep."""
    (tmp_path / "model.py").write_text(SLOW, encoding="utf-8")
    show = ("show", "model.py:Slow", "--no-color")
    return {
        "terminal": start(tmp_path, *show),
        "interrupted": start(tmp_path, *show, "--arg", "seconds=60"),  # however late the signal comes
        "piped": start(tmp_path, *show, piped=True),
        "quiet": start(tmp_path, *show, "-q"),
        "short": start(tmp_path, "code", "mlp", "--no-such"),
    }


def test_only_a_terminal_is_told_and_the_line_is_wiped_off(screens: dict[str, Screen]) -> None:
    interrupted = screens["interrupted"].text(b"forward, ")
    texts = {name: screen.text() for name, screen in screens.items() if name != "interrupted"}
    out, _ = screens["piped"].process.communicate(timeout=60)
    codes = {name: screen.process.wait(timeout=60) for name, screen in screens.items()}
    assert codes == {"terminal": 0, "interrupted": 130, "piped": 0, "quiet": 0, "short": 2}

    phases = [phase for phase, _ in DRAWN.findall(texts["terminal"])]
    assert "forward" in phases
    drawn, _, answer = texts["terminal"].rpartition("\r\x1b[K")
    assert DRAWN.sub("", drawn) == ""
    assert answer.startswith("model.py:Slow: Slow, 4 parameters")
    assert "\x1b" not in answer

    assert DRAWN.sub("", interrupted) == "\r\x1b[K"
    assert "\x1b" not in texts["piped"] + texts["quiet"] + texts["short"]
    assert out.decode().startswith("model.py:Slow: Slow, 4 parameters")
