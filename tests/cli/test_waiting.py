"""Who waits for a second at a terminal is told for what; nobody else is, and nothing of it stays."""

from __future__ import annotations

import contextlib
import json
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


PROGRAM = """\
import contextlib, json, os, sys
from paraminspect.__main__ import main
from paraminspect.cli import app
with contextlib.redirect_stdout(None):
    app.main(["show", "mlp", "-q"])  # what is imported for it, none of the children imports again
for argv, out, err in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, 64)
        sys.argv[1:] = argv
        main()
    print(child, flush=True)
os.closerange(3, 64)
ends = dict(os.wait() for _ in json.loads(sys.argv[1]))
print(*(os.waitstatus_to_exitcode(ends[child]) for child in sorted(ends)), flush=True)
"""


@dataclass(frozen=True)
class Screens:
    """Processes whose stderr, and perhaps stdout, is a pseudo-terminal of its own; a process that waits for them."""

    parent: subprocess.Popen[str]
    children: dict[str, int]
    ours: dict[str, int]

    def text(self, name: str, interrupt_at: bytes = b"") -> str:
        """Return all that was sent to one of the terminals; at the first `interrupt_at`, press Ctrl-C."""
        sent = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
            while piece := os.read(self.ours[name], 4096):
                sent += piece
                if interrupt_at and interrupt_at in sent:
                    os.kill(self.children[name], signal.SIGINT)
                    interrupt_at = b""
        os.close(self.ours[name])
        return sent.decode()

    def codes(self) -> dict[str, int]:
        out, _ = self.parent.communicate(timeout=60)
        by_process = dict(zip(sorted(self.children.values()), map(int, out.split()), strict=True))
        return {name: by_process[child] for name, child in self.children.items()}


@pytest.fixture
def screens(tmp_path: Path, heard: None) -> Screens:
    """All at once: they mostly sleep."""
    (tmp_path / "model.py").write_text(SLOW, encoding="utf-8")
    show = ("show", "model.py:Slow", "--no-color")
    commands = {
        "terminal": show,
        "interrupted": (*show, "--arg", "seconds=60"),  # however late the signal comes
        "piped": show,
        "quiet": (*show, "-q"),
        "short": ("code", "mlp", "--no-such"),
    }
    terminals = {name: pty.openpty() for name in commands}
    ours = {name: own for name, (own, _) in terminals.items()}
    ours["answer"], pipe = os.pipe()
    theirs = {name: other for name, (_, other) in terminals.items()}
    jobs = [(argv, pipe if name == "piped" else theirs[name], theirs[name]) for name, argv in commands.items()]
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(jobs)],
        cwd=tmp_path,
        env=environment(TERM="xterm", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=[pipe, *theirs.values()],
        text=True,
    )
    for other in (pipe, *theirs.values()):
        os.close(other)
    assert parent.stdout is not None
    return Screens(parent, {name: int(parent.stdout.readline()) for name in commands}, ours)


def test_only_a_terminal_is_told_and_the_line_is_wiped_off(screens: Screens) -> None:
    interrupted = screens.text("interrupted", b"forward, ")
    texts = {name: screens.text(name) for name in ("terminal", "piped", "quiet", "short", "answer")}
    assert screens.codes() == {"terminal": 0, "interrupted": 130, "piped": 0, "quiet": 0, "short": 2}

    phases = [phase for phase, _ in DRAWN.findall(texts["terminal"])]
    assert "forward" in phases
    drawn, _, answer = texts["terminal"].rpartition("\r\x1b[K")
    assert DRAWN.sub("", drawn) == ""
    assert answer.startswith("model.py:Slow: Slow, 4 parameters")
    assert "\x1b" not in answer

    assert DRAWN.sub("", interrupted) == "\r\x1b[K"
    assert "\x1b" not in texts["piped"] + texts["quiet"] + texts["short"]
    assert texts["answer"].startswith("model.py:Slow: Slow, 4 parameters")
