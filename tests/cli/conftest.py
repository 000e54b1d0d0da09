"""Run the tool as a process of its own, for what only a process can show: codes, signals, streams, imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Tool = Callable[..., "subprocess.CompletedProcess[bytes]"]


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what decorates or widens, and with `extra`."""
    dropped = ("COLUMNS", "NO_COLOR", "TERM", "PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL", "LANG")
    return {name: value for name, value in os.environ.items() if name not in dropped} | extra


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Run ``paraminspect`` with the words given, in a folder of its own."""

    def call(*argv: str | bytes, env: dict[str, str] | None = None, **given: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "paraminspect", *argv]
        options = {"stdin": subprocess.DEVNULL, "timeout": 60, "cwd": tmp_path} | given
        if "stdout" not in options:
            options |= {"stdout": subprocess.PIPE}
        if "stderr" not in options:
            options |= {"stderr": subprocess.PIPE}
        return subprocess.run(command, check=False, env=environment(**(env or {})), **options)

    return call


@pytest.fixture
def fake_torch(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Put a module called torch first on the path, with the body given; return the environment that finds it."""

    def write(body: str) -> dict[str, str]:
        folder = tmp_path / "fake"
        folder.mkdir()
        (folder / "torch.py").write_text(body, encoding="utf-8")
        return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[2])])}

    return write


FORKED = """\
import contextlib, json, os, sys
from paraminspect.__main__ import main
from paraminspect.cli import app
with contextlib.redirect_stdout(None):
    app.main(["grad", "mlp", "-q"])  # what is imported for it, none of the children imports again
for at, argv in enumerate(json.loads(sys.argv[1])):
    if not os.fork():
        for descriptor, name in (1, "out"), (2, "err"):
            os.dup2(os.open(f"{at}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv[1:] = argv
        main()
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def forked(folder: Path, *commands: tuple[str, ...]) -> list[tuple[int, bytes, bytes]]:
    """Run the tool in a process for each command line, all of them children of one that has run it before."""
    program = [sys.executable, "-c", FORKED, json.dumps(commands)]
    ran = subprocess.run(
        program, input=b"yes", capture_output=True, check=False, cwd=folder, env=environment(), timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    codes = map(int, ran.stdout.split())
    return [
        (code, *((folder / f"{at}.{name}").read_bytes() for name in ("out", "err"))) for at, code in enumerate(codes)
    ]
