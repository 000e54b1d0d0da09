"""The fixture and the hook, each tried as a user has it: a run of pytest, a commit in a repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT

TESTS = """\
import pytest
import sys

assert "torch" not in sys.modules  # the plugin alone imports nothing heavy

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.extra = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.used(x)


def test_fine(paraminspect_check):
    assert paraminspect_check(nn.Linear(4, 3), torch.rand(2, 4)).findings == ()


def test_found(paraminspect_check):
    paraminspect_check(Net(), torch.rand(2, 4))


@pytest.mark.parametrize("options", [{"ignore": "PI301:extra.*"}, {"select": "PI4"}, {"fail_on": "error"}])
def test_let_through(paraminspect_check, options):
    paraminspect_check(Net(), torch.rand(2, 4), **options)


def test_fails(paraminspect_check):
    paraminspect_check(nn.Linear(5, 3), torch.rand(2, 4))


def test_nothing_ran(paraminspect_check):
    paraminspect_check(nn.Bilinear(3, 3, 2))
"""


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in a folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GIT_", "COV_"))}
    env = known | {"PATH": path, "PYTHONPATH": str(ROOT), "PRE_COMMIT_HOME": str(folder / ".cache"), "NO_COLOR": "1"}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_model_that_is_wrong_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_models.py").write_text(TESTS, encoding="utf-8")
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", folder=tmp_path)
    assert "3 failed, 4 passed" in done.stdout, done.stdout + done.stderr
    assert "paraminspect check of Net\nPI301 warning: no gradient reaches extra: the forward never reads" in done.stdout
    assert "error: the forward failed" in done.stdout
    assert "error: nothing was run" in done.stdout
    assert "Traceback" not in done.stdout


PAGE = (ROOT / "paraminspect" / "help" / "scripts.md").read_text(encoding="utf-8")
CONFIG = PAGE.partition("<!-- hook -->\n```yaml\n")[2].partition("```")[0]


@pytest.mark.slow
def test_a_commit_of_a_broken_file_is_stopped(tmp_path: Path) -> None:
    """The manifest is what a repository names that takes the hook from here; the tried one needs no new environment."""
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    assert run("pre-commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml"), folder=tmp_path).returncode == 0
    (tmp_path / ".pre-commit-config.yaml").write_text(CONFIG, encoding="utf-8")
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "fine.safetensors")
    save_file({"weight": torch.full((2, 2), torch.nan)}, tmp_path / "broken.safetensors")
    run("git", "init", "-q", folder=tmp_path)
    run("git", "add", ".", folder=tmp_path)
    done = run("pre-commit", "run", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "broken.safetensors" in done.stdout
    assert "has 4 NaN among 4 elements" in done.stdout
    assert run("paraminspect", "check", "fine.safetensors", folder=tmp_path).returncode == 0
