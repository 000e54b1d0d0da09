"""What the README shows is what happens: every console block is run, and its output compared.

PARAMINSPECT_ACCEPT=1 writes the outputs into the README instead.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import CONFIGS, ROOT

README = ROOT / "README.md"
ACCEPT = bool(os.environ.get("PARAMINSPECT_ACCEPT"))
BLOCK = re.compile(
    r"(?:<!-- (?P<kind>terminal|file|write) (?P<what>\S+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```\n", re.DOTALL
)
TEXT = README.read_text(encoding="utf-8")
PINNED = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
CONSOLE = [match for match in BLOCK.finditer(TEXT) if match["language"] == "console"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder to run in: the configs, the files that the README writes, a `paraminspect` on the PATH."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(CONFIGS, folder / "configs")
    for match in BLOCK.finditer(TEXT):
        if match["kind"] == "write":
            (folder / match["what"]).write_text(match["body"], encoding="utf-8")
    (folder / "bin").mkdir()
    command = folder / "bin" / "paraminspect"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m paraminspect "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return folder


def shell(command: str, home: Path, width: str | None = None) -> str:
    """Run a shell command and return its stdout; with a width, as a terminal without colour would show it."""
    env = os.environ | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    if width:
        return on_a_terminal(command, home, env, int(width))
    done = subprocess.run(["bash", "-c", command], cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def on_a_terminal(command: str, home: Path, env: dict[str, str], width: int) -> str:
    """Run `command` with stdout on a pseudo-terminal of that width."""
    import pty

    ours, theirs = pty.openpty()
    env = {**env, "COLUMNS": str(width), "TERM": "xterm"}
    process = subprocess.Popen(["bash", "-c", command], cwd=home, env=env, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    _, errors = process.communicate()
    assert errors == b""
    return b"".join(pieces).decode().replace("\r\n", "\n")


def same_versions(text: str) -> str:
    """Leave out which build of torch it was."""
    return re.sub(r"torch (\d+\.\d+\.\d+)\+\w+", r"torch \1", text)


def needs(command: str) -> None:
    if "jq" in command and shutil.which("jq") is None:
        pytest.skip("jq, which the transcript pipes into, is not installed on this machine")


def transcript(body: str, home: Path, width: str | None) -> str:
    """Run the `$` lines of a block and return it with what they print now."""
    lines = []
    for line in body.splitlines():
        if line.startswith("$ "):
            needs(line)
            lines.append(f"{line}\n{same_versions(shell(line[2:], home, width))}")
    return "".join(lines)


def accept(old: str, new: str) -> None:
    README.write_text(README.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


@pytest.mark.skipif(not torch.__version__.startswith(PINNED), reason=f"the transcripts are torch {PINNED}'s")
@pytest.mark.parametrize("match", CONSOLE, ids=[m["body"].splitlines()[0][2:60] for m in CONSOLE])
def test_a_transcript(match: re.Match[str], home: Path) -> None:
    now = transcript(match["body"], home, match["what"])
    if ACCEPT:
        accept(match[0], match[0].replace(match["body"], now))
    else:
        assert match["body"] == now


def test_quoted_files_are_the_files(home: Path) -> None:
    quoted = [match for match in BLOCK.finditer(TEXT) if match["kind"] == "file"]
    assert quoted
    for match in quoted:
        now = (ROOT / match["what"]).read_text(encoding="utf-8")
        if ACCEPT:
            accept(match[0], match[0].replace(f"```yaml\n{match['body']}```", f"```yaml\n{now}```"))
        else:
            assert match["body"] == now


def test_the_shell_script_reads_the_json(home: Path) -> None:
    needs("jq")
    (script,) = [match["body"] for match in BLOCK.finditer(TEXT) if match["language"] == "bash"]
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env=os.environ | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"19 parameters, loss 0\.97396\d*\n", done.stdout)


def test_the_python_does_what_it_says(home: Path) -> None:
    examples = [m["body"] for m in BLOCK.finditer(TEXT) if m["language"] == "python" and m["kind"] is None]
    namespace: dict[str, Any] = {"model": torch.nn.Linear(2, 1), "inputs": torch.ones(3, 2)}
    for example in examples:
        exec(example, namespace)
    assert namespace["report"].totals.parameters == 3
    assert namespace["gain"] == pytest.approx(1.4811, abs=5e-5)
    assert (namespace["point"].sigma_w2, namespace["point"].q) == pytest.approx((1.760955, 0.570048), abs=1e-6)
    assert namespace["chi1"] == pytest.approx(1.1335, abs=5e-5)
    assert [*namespace["q"]] == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625])


def test_every_benchmark_it_names_exists() -> None:
    named = re.findall(r"tests\.benchmarks\.(\w+)", TEXT)
    there = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    assert set(named) == there - {"__init__", "timing"}


def test_every_command_is_documented() -> None:
    from paraminspect.cli.commands import COMMANDS

    assert [name for name in COMMANDS if f"paraminspect {name}" not in TEXT] == []
