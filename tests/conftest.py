"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from paraminspect.cli.app import main
from tests.cases import begin_anew

# Threads wait for each other where other work takes the cores, and tensors here are too small to gain from them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where Python is told to write no bytecode, as images often do, each of a hundred processes compiles the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples every time, so that a run tells of the change and not of luck; for new ones:
# pytest --hypothesis-profile=explore
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"


@dataclass(frozen=True)
class Ran:
    """What one command line gave."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is imported for the tests out of every garbage collection, and let these be few.

    Walking torch, transformers and all the tests again and again is a tenth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.fixture(autouse=True)
def _a_process_of_its_own() -> None:
    """Every test is a run of its own: nothing that earlier ones set or drew is in force."""
    begin_anew()


@pytest.fixture
def heard() -> Iterator[None]:
    """Let the processes of a test hear Ctrl-C and the end of the terminal, as those of a terminal do.

    What runs in the background of a script, or under nohup, is started with these signals ignored, and so is
    every process that it starts.
    """
    ignored = [one for one in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_IGN]
    for one in ignored:
        signal.signal(one, signal.SIG_DFL)
    yield
    for one in ignored:
        signal.signal(one, signal.SIG_IGN)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process and return its exit code, stdout and stderr."""

    def call(*argv: object) -> Ran:
        capfd.readouterr()
        code = main([str(word) for word in argv])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    """Write a spec to a file and return its path."""

    def write(text: str, name: str = "spec.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
