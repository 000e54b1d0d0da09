"""`compare` from the command line: what it prints, what it refuses and when, and with which code it ends."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paraminspect import output
from paraminspect.experiments.contenders import USUAL
from paraminspect.report.report_schema import report_schema
from tests.cli.conftest import Tool, environment
from tests.conftest import Ran

Run = Callable[..., Ran]

NET = """
name: net
layers:
  - MLP: {sizes: [16, 24, 24, 24, 24, 24, 24, 5], activation: ReLU}
input: {shape: [32, 16], sample: normal}
loss: cross_entropy
"""
CODE = """
import torch
from torch import nn


def net(width: int = 8, depth: int = 2):
    layers = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), *layers, nn.Linear(width, 3))


def plain():
    return nn.Linear(4, 3)


built = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def tenth(weight):
    with torch.no_grad():
        weight.normal_(0, 0.1)
"""
HE = "kaiming_normal:nonlinearity=relu"


@pytest.fixture
def net(spec: Callable[..., Path]) -> Path:
    return spec(NET)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    return "code.py"


def trials(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ran.report["comparison"]["trials"]
    return found


# --- what it prints ----------------------------------------------------------------------------------------------


def test_the_json_is_a_report(net: Path, run: Run) -> None:
    ran = run("compare", net, "--scheme", "default", "--scheme", HE, "--seeds", 2, "--seed", 7, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.report
    jsonschema.Draft202012Validator(report_schema()).validate(report)
    assert (report["command"], report["source"]["name"], report["environment"]["seed"]) == ("compare", "net", 7)
    assert report["comparison"]["seeds"] == 2 and report["comparison"]["steadiest"] == HE
    assert [(trial["scheme"], trial["width"], trial["depth"], trial["error"]) for trial in trials(ran)] == [
        ("default", None, None, None),
        (HE, None, None, None),
    ]
    assert [(one["about"], one["where"]) for one in report["verdicts"]] == [
        (about, scheme) for scheme in ("default", HE) for about in ("forward", "backward")
    ]
    again = run("compare", net, "--scheme", "default", "--scheme", HE, "--seeds", 2, "--seed", 7, "--json")
    assert again.out == ran.out


def test_without_a_scheme_it_takes_the_usual_ones(net: Path, run: Run) -> None:
    ran = run("compare", net, "--seeds", 1, "--json")
    assert ran.code == 0
    assert tuple(trial["scheme"] for trial in trials(ran)) == USUAL


def test_without_a_source_it_takes_the_built_in_spec(run: Run) -> None:
    ran = run("compare", "--seeds", 1)
    assert "note: the signal cannot be judged: 2 layers are too few for a trend" in ran.out
    assert ran.code == 0
    assert ran.err == "note: no SOURCE given: using the built-in spec 'mlp'\n"
    assert ran.out.startswith("mlp: Sequential, 19 parameters in 4 tensors")
    assert run("compare", "--seeds", 1, "-q").err == ""


def test_the_other_formats_have_every_trial(net: Path, run: Run) -> None:
    words = ("compare", net, "--scheme", "default", "--scheme", HE, "--scheme", "zeros", "--seeds", 1)
    for form in ("table", "plain", "markdown"):
        ran = run(*words, "-f", form)
        assert (ran.code, ran.err) == (0, "")
        assert all(scheme in ran.out for scheme in ("default", HE, "zeros", "steadiest"))
    lines = list(csv.DictReader(io.StringIO(run(*words, "-f", "csv").out), strict=True))
    assert [(line["scheme"], line["steadiest"]) for line in lines] == [
        ("default", "false"),
        (HE, "true"),
        ("zeros", "false"),
    ]


def test_bias_and_rule_go_with_all_schemes(net: Path, run: Run) -> None:
    words = ("compare", net, "--scheme", "zeros", "--scheme", "ones", "--seeds", 1, "--json")
    alike = run(*words, "--bias", "constant:val=2", "--rule", "*.weight=constant:val=0.5")
    assert len({trial["q_last"] for trial in trials(alike)}) == 1
    assert len({trial["q_last"] for trial in trials(run(*words, "--bias", "constant:val=2"))}) == 2


def test_a_scheme_of_the_users_own(code: str, run: Run) -> None:
    words = ("--input", "8,4::normal".replace("::", ":"), "--seeds", 2, "--json")
    ran = run("compare", f"{code}:net", "--scheme", f"{code}:tenth", "--scheme", "normal:std=0.1", *words)
    assert (ran.code, ran.err) == (0, "")
    own, named = trials(ran)
    assert (own["scheme"], named["scheme"]) == (f"{code}:tenth", "normal:std=0.1")
    assert own["q_last"] == named["q_last"]


def test_a_module_that_is_built_already(code: str, run: Run) -> None:
    ran = run("compare", f"{code}:built", "--scheme", "zeros", "--scheme", "default", "--seeds", 2, "--json")
    assert ran.code == 0
    assert "the model is built already" in ran.err and trials(ran)[1]["q_last"] > 0


def test_it_draws_what_it_prints(net: Path, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, start in (("signal.png", b"\x89PNG"), ("signal.svg", b"<?xml")):
        ran = run("compare", net, "--scheme", "default", "--scheme", HE, "--seeds", 1, "--plot", tmp_path / name)
        assert (ran.code, ran.err) == (0, "") and "steadiest" in ran.out
        assert (tmp_path / name).read_bytes().startswith(start)


# --- widths and depths -------------------------------------------------------------------------------------------


def test_widths_and_their_slopes(net: Path, run: Run) -> None:
    ran = run(
        "compare", net, "--scheme", HE, "--scheme", "normal:std=0.2", "--width", "16, 64,256", "--seeds", 3, "--json"
    )
    assert (ran.code, ran.err) == (0, "")
    jsonschema.Draft202012Validator(report_schema()).validate(ran.report)
    assert [(trial["scheme"], trial["width"]) for trial in trials(ran)] == [
        (scheme, width) for scheme in (HE, "normal:std=0.2") for width in (16, 64, 256)
    ]
    slopes = ran.report["comparison"]["slopes"]
    assert [(one["layer"], one["figure"]) for one in slopes if one["scheme"] == HE] == [
        (f"{2 * at}", figure) for at in range(7) for figure in ("pre", "out", "gradient")
    ]
    steep = {one["scheme"]: one["slope"] for one in slopes if (one["layer"], one["figure"]) == ("8", "pre")}
    assert abs(steep[HE]) < 0.3 and steep["normal:std=0.2"] > 1.5


def test_depths(net: Path, run: Run) -> None:
    ran = run("compare", net, "--scheme", "default", "--depth", "1,5", "--seeds", 1, "--json")
    assert ran.code == 0
    assert [(trial["width"], trial["depth"]) for trial in trials(ran)] == [(None, 1), (None, 5)]
    assert [max(layer["depth"] for layer in trial["signal"]["layers"]) for trial in trials(ran)] == [2, 6]
    assert ran.report["comparison"]["slopes"] == []


@pytest.mark.parametrize(("option", "layers"), [("--width", 4), ("--depth", 6)])
def test_the_users_code_takes_them_as_arguments(option: str, layers: int, code: str, run: Run) -> None:
    words = ("--scheme", "xavier_normal", option, "4", "--input", "8,4", "--seeds", 1, "--json")
    ran = run("compare", f"{code}:net", *words)
    assert (ran.code, ran.err) == (0, "")
    (found,) = trials(ran)
    assert max(layer["depth"] for layer in found["signal"]["layers"]) == layers
    assert found["signal"]["layers"][0]["width"] == (4 if option == "--width" else 8)


# --- what it refuses ---------------------------------------------------------------------------------------------

REFUSED = {
    "--seeds 0": "--seeds: at least 1 is needed, got 0\n  for example: --seeds 5",
    "--width 0": (
        "--width: '0' is not one or more different whole numbers of at least 1, with commas between them\n"
        "  for example: --width 64,256,1024"
    ),
    "--width 8,8": (
        "--width: '8,8' is not one or more different whole numbers of at least 1, with commas between them\n"
        "  for example: --width 64,256,1024"
    ),
    "--depth 2,,3": (
        "--depth: '2,,3' is not one or more different whole numbers of at least 1, with commas between them\n"
        "  for example: --depth 5,10,20"
    ),
    "--width 8 --depth 2": (
        "--depth: not together with --width\n  what one of them does is seen while the other stays: leave one out"
    ),
    "--scheme nromal": (
        "--scheme nromal: unknown scheme 'nromal'\n  did you mean 'normal'?; 'paraminspect schemes' lists them all"
    ),
    "--scheme normal --scheme normal": "--scheme: 'normal' is given twice\n  leave one of them out",
    "--scheme normal --scheme nn.init.normal_:std=1": (
        "--scheme: 'nn.init.normal_:std=1' is 'normal' again\n  leave one of them out"
    ),
    "--scheme default --scheme default": "--scheme: 'default' is given twice\n  leave one of them out",
    "--scheme nowhere.py:f": "nowhere.py:f: no such file: nowhere.py",
    "--device meta": "net: on the meta device there are no numbers to compare\n  for example: --device cpu",
    "--width 99999999": "use smaller sizes",
    "--plot signal.jpg": "--plot",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_refusal_is_one_message(words: str, net: Path, run: Run) -> None:
    ran = run("compare", net, *words.split())
    assert (ran.code, ran.out) == (2, "")
    wanted = REFUSED[words]
    if "\n" in wanted:
        assert ran.err == f"error: {wanted}\n"
    else:
        assert ran.err.startswith("error: ") and wanted in ran.err
    told = json.loads(run("compare", net, *words.split(), "--json").out)
    assert len(told["errors"]) == 1 and told["command"] == "compare"


@pytest.mark.parametrize("words", ["--scheme nromal", "--seeds 0", "--width x", "--scheme normal --scheme normal"])
@pytest.mark.parametrize("source", ["spec.yaml", "code.py:net"])
def test_what_can_be_checked_without_torch_is(words: str, source: str, net: Path, code: str, tool: Tool) -> None:
    ran = tool("compare", source, *words.split(), env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ran.returncode == 2
    assert b"| torch" not in ran.stderr and b"| numpy" not in ran.stderr


def test_arguments_that_the_users_code_does_not_take(code: str, run: Run) -> None:
    ran = run("compare", f"{code}:plain", "--width", "4,8", "--seeds", 1)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: --width: {code}:plain takes no 'width'\n  it takes ()\n"
    built = run("compare", f"{code}:built", "--depth", "4", "--seeds", 1)
    assert built.err.startswith("error: --depth: a module that is built already takes no arguments\n")
    twice = run("compare", f"{code}:net", "--arg", "width=3", "--width", "4", "--seeds", 1)
    assert twice.err == "error: --arg width: 'width' is given twice\n  keep one of them\n"


def test_what_fails_is_said_and_the_rest_stands(net: Path, run: Run) -> None:
    ran = run("compare", net, "--scheme", "dirac", "--scheme", HE, "--seeds", 1)
    assert ran.code == 2
    error = (
        "dirac needs 3 to 5 dimensions; parameter '0.weight' has shape (24, 16); "
        "restrict the rule to convolutions; eye is the identity of a matrix"
    )
    assert ran.err == f"error: --scheme dirac: {error}\n"
    assert f"failed    dirac: {error}\n" in ran.out and f"steadiest {HE}: " in ran.out
    told = json.loads(run("compare", net, "--scheme", "dirac", "--scheme", HE, "--seeds", 1, "--json").out)
    assert [one["message"] for one in told["errors"]] == [error]


def test_critical_is_left_out_where_it_cannot_be_decided(code: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.first = nn.Linear(4, 4)\n\n"
        "    def forward(self, x):\n        return self.first(x).sin()\n"
    )
    ran = run("compare", "own.py:Net", "--seeds", 1, "--input", "8,4")
    assert ran.code == 0 and "note: critical is left out: " in ran.err
    asked = run("compare", "own.py:Net", "--seeds", 1, "--input", "8,4", "--scheme", "critical")
    assert asked.code == 2 and "nonlinearity" in asked.err


# --- on a terminal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "wanted"), [([], True), (["-q"], False), (["--json"], False), (["-fjson"], False)])
def test_it_counts_its_runs(
    words: list[str], wanted: bool, net: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, bool]] = []
    steps: list[int] = []

    @contextlib.contextmanager
    def progress(total: int, what: str, wanted: bool) -> Iterator[Callable[[], None]]:
        asked.append((total, wanted))
        yield lambda: steps.append(1)

    monkeypatch.setattr(output, "progress", progress)
    assert run("compare", net, "--scheme", "default", "--scheme", HE, "--seeds", 3, *words).code == 0
    assert (asked, len(steps)) == ([(6, wanted)], 6)


class Terminal:
    """A pseudo-terminal that a stream of this process is connected to."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")

    def text(self) -> str:
        """Return what was written, up to a mark that is written now."""
        self.stream.write("\0")
        self.stream.flush()
        found = b""
        while not found.endswith(b"\0"):
            found += os.read(self.ours, 4096)
        return found[:-1].decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    found = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(output, "_PATIENCE", -1.0)
    yield found
    found.stream.close()
    os.close(found.ours)


def test_a_terminal_sees_a_bar_which_is_wiped_off(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with pytest.raises(ZeroDivisionError), output.progress(4, "runs") as advance:
        advance()
        advance()
        raise ZeroDivisionError
    lines = ["█" * 5 + "░" * 15 + " 1/4 runs", "█" * 10 + "░" * 10 + " 2/4 runs", ""]
    assert terminal.text() == "".join(f"\r\x1b[K{line}" for line in lines)


@pytest.mark.parametrize("why", ["not wanted", "dumb", "quick"])
def test_a_terminal_that_need_not_see_it_does_not(
    why: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    if why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if why == "quick":
        monkeypatch.setattr(output, "_PATIENCE", 1e6)
    with output.progress(1, "runs", wanted=why != "not wanted") as advance:
        advance()
    assert terminal.text() == ""


def test_off_a_terminal_there_is_no_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_PATIENCE", -1.0)
    with output.progress(1, "runs") as advance:
        advance()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("heard")
def test_interrupted_it_ends_with_130_and_a_clean_line(net: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "paraminspect", "compare", net.name, "--seeds", "1000000"],
        cwd=net.parent,
        env=environment(TERM="xterm", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    sent = b""
    with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
        while piece := os.read(ours, 4096):
            if b"runs" in piece and b"runs" not in sent:
                process.send_signal(signal.SIGINT)
            sent += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"/6000000 runs" in sent and sent.endswith(b"\r\x1b[K") and b"Traceback" not in sent
