"""Warnings of the user's code and of torch: a note each, where it was issued, how often in one run of the code."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paraminspect
from tests.cases import each
from tests.cli.conftest import forked

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


MODEL_FILE = "models.py"
SCHEMES = ("--scheme", "normal", "--scheme", "zeros", "--scheme", "ones")
FILTERS = 'warnings.filterwarnings("ignore", "scale .*")\n'
MOVED = "import warnings\nfrom torch.nn import ReLU\nfor _ in range(3):\n    warnings.warn('moved')\n"
COMMANDS: dict[str, tuple[str, ...]] = {
    **{model: ("grad", *f"models.py:{model}".split(), "--input", "2,3") for model in SAID},
    "compared": ("compare", "models.py:one", *SCHEMES, "--input", "2,3"),
    "encoder": ("show", "models.py:encoder", "--no-forward"),
    "old": ("show", "old.py:ReLU", "--no-forward"),
    "own": ("grad", "own.py:one", "--input", "2,3"),
    "late": ("show", "models.py:late"),
    "loud": ("show", "models.py:one", "--input", "2,3", "--json"),
    "quiet": ("show", "models.py:one", "--input", "2,3", "--json", "-q"),
}


@dataclass(frozen=True)
class Runs:
    """Every command once, each in a process of its own; the folder that they ran in."""

    folder: Path
    ended: dict[str, tuple[int, str, str]]

    def __getitem__(self, name: str) -> tuple[int, str, str]:
        return self.ended[name]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("warnings")
    for name, text in ((MODEL_FILE, MODELS), ("own.py", MODELS + FILTERS), ("old.py", MOVED)):
        (folder / name).write_text(text, encoding="utf-8")
    ended = forked(folder, *COMMANDS.values())
    return Runs(
        folder,
        {name: (code, out.decode(), err.decode()) for name, (code, out, err) in zip(COMMANDS, ended, strict=True)},
    )


def line_of(text: str) -> int:
    return MODELS[: MODELS.index(text)].count("\n") + 1


@each("model", SAID)
def test_a_warning_is_one_note_with_its_module(model: str, runs: Runs) -> None:
    """`grad` runs the forward twice: the times are those of one."""
    code, _, err = runs[model]
    assert (code, err) == (0, SAID[model])


def test_the_times_do_not_grow_with_the_schemes_compared(runs: Runs) -> None:
    assert runs["compared"][2] == SAID["one"]


def test_a_constructor_of_torch_is_called_by_a_line_of_the_users(runs: Runs) -> None:
    with pytest.warns(UserWarning, match="nested_tensor") as plain:  # the same from plain torch
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 4, batch_first=False), 1)
    place = f"{runs.folder / MODEL_FILE}:{line_of('nn.TransformerEncoder(')}"
    assert runs["encoder"][2] == f"note: warning in {place}: {plain[0].message}\n"


def test_what_an_import_warns_of_has_its_line(runs: Runs) -> None:
    assert runs["old"][2] == f"note: warning in {runs.folder / 'old.py'}:4 (3 times): moved\n"


def test_what_a_file_filters_when_imported_stays_filtered_in_its_forward(runs: Runs) -> None:
    assert runs["own"][2] == "note: warning in layer 1: drop it\n"


def test_a_warning_before_an_error_is_a_note_before_it(runs: Runs) -> None:
    path, first = runs.folder / MODEL_FILE, line_of('    warnings.warn("about')
    code, _, err = runs["late"]
    assert (code, err) == (
        2,
        f"note: warning in {path}:{first}: about to fail\n"
        f"error: {path}:{first + 1}: models.py:late raised ValueError: no model\n",
    )


def test_quiet_drops_them_and_json_stands_alone_on_stdout(runs: Runs) -> None:
    (_, loud, told), (_, quiet, untold) = runs["loud"], runs["quiet"]
    assert (told, untold) == (SAID["one"], "")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(loud, parse_constant=refuse) == json.loads(quiet)


def test_from_python_a_warning_is_pythons() -> None:
    class Noisy(nn.Linear):
        def forward(self, input: Any) -> Any:
            warnings.warn("from the forward", stacklevel=1)
            return super().forward(input)

    with pytest.warns(UserWarning, match="^from the forward$"):
        paraminspect.inspect(Noisy(3, 3), torch.ones(2, 3))
