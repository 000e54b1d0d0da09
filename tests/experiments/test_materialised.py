"""Models that hold no numbers, or only in part, or what was in memory before: said per device, and never claimed away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from paraminspect import inspect
from tests.conftest import Ran

SOURCE = """
import torch
from torch import nn

def layers():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))

def meta():
    with torch.device("meta"):
        return layers()

def part():
    net = meta()
    net[2] = nn.Linear(3, 1)
    return net
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(SOURCE)
    return str(path)


def test_nothing_is_applied_to_what_is_on_the_meta_device(run: Callable[..., Ran], file: str) -> None:
    ran = run("init", f"{file}:meta", "--rule", "*.weight=normal")
    assert ran.code == 0
    assert "applied    *.weight=normal to no tensor: 2 on the meta device hold no numbers" in ran.out
    (rule,) = run("init", f"{file}:meta", "--rule", "*.weight=normal", "--json").report["initialisation"]["rules"]
    assert (rule["matched"], rule["kept"], rule["meta"]) == (2, 2, 2)


def test_a_partly_materialised_model_is_told_per_device(run: Callable[..., Ran], file: str) -> None:
    ran = run("init", f"{file}:part", "--rule", "*.weight=normal")
    assert "applied    *.weight=normal to 1 tensor: 1 on the meta device hold no numbers" in ran.out
    ran = run("show", f"{file}:part", "--no-forward")
    assert " · 2 tensors on meta, 2 tensors on cpu · " in ran.out
    assert "2 of 4 tensors are on the meta device and hold no numbers: 0.weight, 0.bias" in ran.err


@pytest.mark.parametrize(
    ("value", "said"),
    [(1e-44, True), (1e15, True), (-3e12, True), (0.0, False), (1e-8, False), (1e4, False), (-1e9, False)],
)
def test_memory_that_nothing_initialised_is_worth_a_word(value: float, said: bool) -> None:
    net = nn.Linear(4, 3)
    with torch.no_grad():
        net.weight.fill_(value)
    text = "of a size that no weights have, as in memory that nothing initialised: weight"
    assert (text in str(inspect(net, forward=False))) is said
