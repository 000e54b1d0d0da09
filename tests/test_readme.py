"""What the README and the help pages show is what happens: every console block is run, and its output compared.

PARAMINSPECT_ACCEPT=1 writes the outputs into the pages instead.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from paraminspect.cli.app import main
from paraminspect.cli.commands import COMMANDS
from paraminspect.cli.help import PAGES, TOPICS
from tests.cases import each
from tests.conftest import CONFIGS, ROOT

ACCEPT = bool(os.environ.get("PARAMINSPECT_ACCEPT"))
BLOCK = re.compile(
    r"(?:<!-- (?P<kind>terminal|file|write) (?P<what>\S+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```\n", re.DOTALL
)
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(PAGES / f"{topic}.md" for topic in TOPICS)]
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES}
BLOCKS = [(path, match) for path, text in TEXTS.items() for match in BLOCK.finditer(text)]
CONSOLE = [(path, match) for path, match in BLOCKS if match["language"] == "console"]
PINNED = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder to run in: the configs, the files that the pages write, a `paraminspect` on the PATH."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(CONFIGS, folder / "configs")
    for _, match in BLOCKS:
        if match["kind"] == "write":
            (folder / match["what"]).write_text(match["body"], encoding="utf-8")
    (folder / "bin").mkdir()
    command = folder / "bin" / "paraminspect"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m paraminspect "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return folder


# --- running what stands behind a dollar sign ---------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One shell line: our own command line, run in this process, and what it is piped into, if anything."""

    argv: list[str]
    pipe: str


def ours(line: str) -> Line | None:
    """Take ``paraminspect … | filter`` apart; None for any other shell syntax, which is for the shell."""
    words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
    bar = words.index("|") if "|" in words else len(words)
    if words[0] != "paraminspect" or set("".join(words[:bar])) & set("<>;&$"):
        return None
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    own = [*lexer]
    at = own.index("|") if "|" in own else len(own)
    return Line(own[1:at], line.partition(" | ")[2] if at < len(own) else "")


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def in_process(argv: list[str], width: str | None) -> str:
    """Run a command line here; with a width, as a terminal of that many columns would show it."""
    raw, errors = io.BytesIO(), io.StringIO()
    kind = Terminal if width else io.TextIOWrapper
    stream = kind(raw, encoding="utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(errors):
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", width) if width else patch.delenv("COLUMNS", raising=False)
        main(argv)
    assert errors.getvalue() == ""
    return raw.getvalue().decode("utf-8")


def in_bash(command: str, home: Path, text: str | None = None) -> str:
    """Run a shell command, `text` on its stdin, and return its stdout."""
    env = os.environ | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=home, env=env, input=text, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


def output_of(command: str, home: Path, width: str | None) -> str:
    line = ours(command)
    if line is None:
        return in_bash(command, home)
    text = in_process(line.argv, None if line.pipe else width)
    return in_bash(line.pipe, home, text) if line.pipe else text


def same_versions(text: str) -> str:
    """Leave out which build of torch it was."""
    return re.sub(r"torch (\d+\.\d+\.\d+)\+\w+", r"torch \1", text)


def needs(command: str) -> None:
    if "jq" in command and shutil.which("jq") is None:
        pytest.skip("jq, which the transcript pipes into, is not installed on this machine")


def transcript(body: str, home: Path, width: str | None) -> str:
    """Run the `$` lines of a block, each with the lines it goes on in, and return them with what they print now."""
    pieces = []
    for command in re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", body, re.MULTILINE):
        needs(command)
        text = same_versions(output_of(command.replace("\\\n", " "), home, width))
        pieces.append(f"$ {command}\n{text}")
    return "".join(pieces)


def accept(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


@pytest.mark.skipif(not torch.__version__.startswith(PINNED), reason=f"the transcripts are torch {PINNED}'s")
@pytest.mark.parametrize(
    ("path", "match"), CONSOLE, ids=[f"{path.stem}: {m['body'].splitlines()[0][2:60]}" for path, m in CONSOLE]
)
def test_a_transcript(path: Path, match: re.Match[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    now = transcript(match["body"], home, match["what"])
    if ACCEPT:
        accept(path, match[0], match[0].replace(match["body"], now))
    elif not alike(match["body"], now):
        assert match["body"] == now


NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w.])")
_CANCELLED = 1e-5


def alike(written: str, now: str) -> bool:
    """Tell whether two outputs are the same, but for digits that come from the rounding of float32.

    Another processor adds in another order: the last digit that is printed may differ, and more of one that is what is
    left of numbers that cancel.
    """
    if NUMBER.sub("#", written) != NUMBER.sub("#", now):
        return False
    pairs = zip(map(float, NUMBER.findall(written)), map(float, NUMBER.findall(now)), strict=True)
    return all(math.isclose(a, b, rel_tol=5e-2 if abs(a) < _CANCELLED else 5e-4) for a, b in pairs)


def test_what_is_alike() -> None:
    assert alike("mean 4.142e-07 of 20", "mean 4.143e-07 of 20")
    assert not alike("mean 4.142 of 20", "mean 4.152 of 20")
    assert not alike("20 rows, 1 tensor", "21 rows, 1 tensor")
    assert not alike("a.1 1.0", "a.2 1.0")


def test_a_transcript_is_taken_apart_as_a_shell_would() -> None:
    assert ours("paraminspect show a.yaml --params '*.w|b' -q | tail -3 | head -1") == Line(
        ["show", "a.yaml", "--params", "*.w|b", "-q"], "tail -3 | head -1"
    )
    assert ours("paraminspect schema spec") == Line(["schema", "spec"], "")
    assert ours("echo {} | paraminspect show -") is None
    assert ours("paraminspect show - 2>&1") is None


# --- what is quoted -----------------------------------------------------------------------------------------------


def test_quoted_files_are_the_files() -> None:
    quoted = [(path, match) for path, match in BLOCKS if match["kind"] == "file"]
    assert quoted
    for path, match in quoted:
        now = (ROOT / match["what"]).read_text(encoding="utf-8")
        if ACCEPT:
            accept(path, match[0], match[0].replace(f"```yaml\n{match['body']}```", f"```yaml\n{now}```"))
        else:
            assert match["body"] == now


def test_the_shell_script_reads_the_json(home: Path) -> None:
    needs("jq")
    (script,) = [match["body"] for path, match in BLOCKS if match["language"] == "bash" and path.name == "README.md"]
    *pages, last = in_bash(script, home).splitlines()
    assert re.fullmatch(r"19 parameters, loss 0\.97396\d*", last)
    assert sum(line.startswith("no problem found") for line in pages) == 2


def test_the_step_of_a_job_passes(home: Path) -> None:
    (step,) = re.findall(r"^- run: (.*)$", TEXTS[ROOT / "README.md"], re.MULTILINE)
    assert in_bash(step, home) == ""


def test_the_python_does_what_it_says() -> None:
    examples = [match["body"] for _, match in BLOCKS if match["language"] == "python" and match["kind"] is None]
    namespace: dict[str, Any] = {"model": torch.nn.Linear(2, 1), "inputs": torch.ones(3, 2)}
    for example in examples:
        exec(example, namespace)
    assert namespace["report"].totals.parameters == 3
    assert namespace["unused"] == []
    assert namespace["gain"] == pytest.approx(1.4811, abs=5e-5)
    assert (namespace["point"].sigma_w2, namespace["point"].q) == pytest.approx((1.760955, 0.570048), abs=1e-6)
    assert namespace["chi1"] == pytest.approx(1.1335, abs=5e-5)
    assert [*namespace["q"]] == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625])


def test_every_benchmark_that_is_named_exists() -> None:
    named = re.findall(r"tests\.benchmarks\.(\w+)", TEXTS[ROOT / "CONTRIBUTING.md"])
    there = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    assert set(named) == there - {"__init__", "timing"}


def test_every_command_is_documented() -> None:
    assert [name for name in COMMANDS if f"paraminspect {name}" not in TEXTS[ROOT / "README.md"]] == []


def test_the_front_page_is_short() -> None:
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 300


# --- the pages of the manual --------------------------------------------------------------------------------------


def test_every_page_is_a_topic() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(TOPICS)


@each("topic", TOPICS)
def test_help_prints_a_page_without_markup_in_80_columns(topic: str) -> None:
    """What a pipe gives in a transcript may be wider."""
    lines = in_process(["help", topic], None).splitlines()
    page = PAGES / f"{topic}.md"
    assert lines[0] == TEXTS[page].splitlines()[0].removeprefix("# ")
    assert lines[0].startswith(f"{topic}: ")
    assert not [line for line in lines if "```" in line or "<!--" in line]
    bodies = [match["body"] for path, match in CONSOLE if path == page]
    transcripts = {f"  {line}".rstrip() for body in bodies for line in body.splitlines()}
    assert transcripts <= {*lines}
    assert [line for line in lines if len(line) > 80 and line not in transcripts] == []
