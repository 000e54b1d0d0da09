"""Warnings of the user's code and of torch: a note each, where it was issued, how often in one run of the code."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paraminspect
from tests.cli.conftest import Tool, forked

MODELS = '''
import warnings
import torch
from torch import nn

class Noisy(nn.Module):
    """Warns twice of one thing and once of another; what Python does not show by default is not shown."""
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
    def forward(self, x):
        for _ in range(2):
            warnings.warn("scale is\\n old\\x1b[31m", stacklevel=2)
        warnings.warn("drop it", FutureWarning)
        warnings.warn("unshown", DeprecationWarning)
        return x * self.scale

def one():
    return nn.Sequential(nn.Linear(3, 3), Noisy())

def five():
    return nn.Sequential(nn.Linear(3, 3), *(Noisy() for _ in range(5)))

class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Softmax())
    def forward(self, x):
        return torch.range(0, 2) * self.inner(x).to(torch.complex64).float()

class Many(nn.Linear):
    def forward(self, x):
        for number in range(12):
            warnings.warn(f"number {number}")
        return super().forward(x)

class Filtering(nn.Linear):
    def forward(self, x):
        with warnings.catch_warnings(record=True) as own:
            warnings.simplefilter("always")
            warnings.warn("for itself")
        assert len(own) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("ignored")
        return super().forward(x)

def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 4, batch_first=False), 1)

def lstm():
    return nn.LSTM(3, 3, dropout=0.5)

def late():
    warnings.warn("about to fail")
    raise ValueError("no model")
'''
NOISY = (
    "note: warning in {} times): scale is old\\x1b[31m\n"  # escaped
    "note: warning in {}: drop it\n"
)
RANGE = (
    "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
    "Python's range builtin. Instead, use torch.arange, which produces values in [start, end)."
)
SAID = {
    "one": NOISY.format("layer 1 (2", "layer 1"),
    "five": NOISY.format("layer 1, layer 2, layer 3 and 2 more (10", "layer 1, layer 2, layer 3 and 2 more (5 times)"),
    "Softmax": (
        f"note: warning in the model: {RANGE}\n"
        "note: warning in layer inner.1: Implicit dimension choice for softmax has been deprecated. "
        "Change the call to include dim=X as an argument.\n"
        "note: warning in the model: Casting complex values to real discards the imaginary part\n"
    ),
    "Filtering --arg in_features=3 --arg out_features=3": "",
    "Many --arg in_features=3 --arg out_features=3": (
        "".join(f"note: warning in the model: number {number}\n" for number in range(10))
        + "note: and 2 warnings more\n"
    ),
    "lstm": (
        "note: warning: dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
        "num_layers greater than 1, but got dropout=0.5 and num_layers=1\n"
    ),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Write the models to a file beside which the tool runs."""
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
    return tmp_path / "models.py"


@pytest.mark.usefixtures("models")
def test_a_warning_is_one_note_with_its_module(tmp_path: Path) -> None:
    """`grad` runs the forward twice: the times are those of one."""
    commands = [("grad", *f"models.py:{model}".split(), "--input", "2,3") for model in SAID]
    for (model, said), (code, _, err) in zip(SAID.items(), forked(tmp_path, *commands), strict=True):
        assert (code, err.decode()) == (0, said), model


@pytest.mark.usefixtures("models")
def test_the_times_do_not_grow_with_the_schemes_compared(tool: Tool) -> None:
    argv = ("--scheme", "normal", "--scheme", "zeros", "--scheme", "ones", "--input", "2,3")
    assert tool("compare", "models.py:one", *argv).stderr.decode() == SAID["one"]


def test_a_constructor_of_torch_is_called_by_a_line_of_the_users(models: Path, tool: Tool) -> None:
    line = MODELS[: MODELS.index("nn.TransformerEncoder(")].count("\n") + 1
    with pytest.warns(UserWarning, match="nested_tensor") as plain:  # the same from plain torch
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 4, batch_first=False), 1)
    text = f"note: warning in {models}:{line}: {plain[0].message}\n"
    assert tool("show", "models.py:encoder", "--no-forward").stderr.decode() == text


def test_what_an_import_warns_of_has_its_line(tmp_path: Path, tool: Tool) -> None:
    body = "import warnings\nfrom torch.nn import ReLU\nfor _ in range(3):\n    warnings.warn('moved')\n"
    (tmp_path / "old.py").write_text(body, encoding="utf-8")
    ran = tool("show", "old.py:ReLU", "--no-forward")
    assert ran.stderr.decode() == f"note: warning in {tmp_path / 'old.py'}:4 (3 times): moved\n"


def test_what_a_file_filters_when_imported_stays_filtered_in_its_forward(tmp_path: Path, tool: Tool) -> None:
    filters = 'warnings.filterwarnings("ignore", "scale .*")\n'
    (tmp_path / "own.py").write_text(MODELS + filters, encoding="utf-8")
    ran = tool("grad", "own.py:one", "--input", "2,3")
    assert ran.stderr.decode() == "note: warning in layer 1: drop it\n"


def test_a_warning_before_an_error_is_a_note_before_it(models: Path, tool: Tool) -> None:
    first = MODELS[: MODELS.index('    warnings.warn("about')].count("\n") + 1
    ran = tool("show", "models.py:late")
    assert (ran.returncode, ran.stderr.decode()) == (
        2,
        f"note: warning in {models}:{first}: about to fail\n"
        f"error: {models}:{first + 1}: models.py:late raised ValueError: no model\n",
    )


@pytest.mark.usefixtures("models")
def test_quiet_drops_them_and_json_stands_alone_on_stdout(tool: Tool) -> None:
    loud = tool("show", "models.py:one", "--input", "2,3", "--json")
    quiet = tool("show", "models.py:one", "--input", "2,3", "--json", "-q")
    assert (loud.stderr.decode(), quiet.stderr) == (SAID["one"], b"")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(loud.stdout, parse_constant=refuse) == json.loads(quiet.stdout)


def test_from_python_a_warning_is_pythons() -> None:
    class Noisy(nn.Linear):
        def forward(self, input: Any) -> Any:
            warnings.warn("from the forward", stacklevel=1)
            return super().forward(input)

    with pytest.warns(UserWarning, match="^from the forward$"):
        paraminspect.inspect(Noisy(3, 3), torch.ones(2, 3))
