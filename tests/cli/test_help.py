"""Help fits a terminal, says what the code does, and is the same everywhere; the shell completes what exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
import typer.main
from safetensors.torch import save_file

from paraminspect.cli.app import app, main
from paraminspect.cli.commands import COMMANDS
from paraminspect.cli.help import TOPICS
from paraminspect.cli.options import Format, Key
from paraminspect.cli.parsing import PANELS
from paraminspect.init.schemes.registry import SCHEMES
from paraminspect.sources.locate import builtin_names, find
from paraminspect.spec.dtypes import DEVICES
from paraminspect.spec.model import LOSSES
from paraminspect.spec.spec_names import layer_paths, parameter_names
from paraminspect.theory.activations import NAMES
from tests.cases import each
from tests.cli.conftest import Tool, environment
from tests.conftest import ROOT as ROOT_FOLDER, Ran

Run = Callable[..., Ran]

FIRST_SCREEN = """\
Usage: paraminspect COMMAND [SOURCE] [OPTIONS]

  See what is inside a PyTorch network before you train it: every parameter,
  how it was initialised, what gradient reaches it, what is shared with what,
  and whether the signal survives its way through the layers. It finds layers
  that no optimizer sees or no gradient reaches, ties that are copies, weights
  of the wrong size.

Your model:
  paraminspect show model.py:Net                    a class, or a function
  paraminspect show model.py:Net --arg depth=4      called with arguments
  paraminspect show model.py:Net --input 8,3,32,32  on an input of this shape
  paraminspect show torchvision.models:resnet18     from an installed package

No model at hand:
  paraminspect show cnn                             built in; also: transformer
  paraminspect show net.yaml                        a network in YAML

"""
COMMAND_LIST = """\
Commands: show, summary, init, grad, share, compare, check, diff, edit, code,
rules, schemes, theory, schema, help. Each has a --help with examples.
"""
ROOT = f"""\
{FIRST_SCREEN}Commands:
  show     The whole picture: parameters, values, gradients, sharing.
  summary  The tree of layers: shapes, parameters, multiply-adds.
  init     What an initialiser did: before, after, expected.
  grad     What gradient reaches every parameter, use by use.
  share    Who shares what with whom, and what it means.
  compare  Initialisation schemes side by side: which is steadiest.
  check    What is wrong with it, by rules; exit code 1 if anything is.
  diff     Two models or checkpoints: what moved, and how far.
  edit     Change values in place; gradients and graph stay.
  code     The same experiment as a plain PyTorch script.
  rules    The rules of check: what each finds, and why.
  schemes  The initialisation schemes, with formulas.
  theory   What an activation does to a signal through depth.
  schema   The JSON Schema of a spec, of the report, of other JSON.
  help     The manual: specs, schemes, gradients, sharing, scripts.

Options:
  -V, --version            Print the version.
  --show-completion SHELL  Print the completion script for bash, zsh, fish or
                           powershell.
  --debug                  Show the traceback of an error.
  -h, --help               Show this message and exit.

  Without SOURCE a command takes the built-in spec mlp. Exit codes: 0 done, 1
  check or diff found something, 2 could not do it, 130 interrupted, 141 the
  reader left.
"""

CODE = """\
Usage: paraminspect code [OPTIONS] [SOURCE]

  Print the same experiment as a stand-alone PyTorch script: same seed, same
  bits.

Examples:
  paraminspect code cnn
  paraminspect code net.yaml --scheme xavier_uniform > net.py

Model:
  SOURCE                 A spec (.yaml, .json, - for stdin) or a built-in
                         name. Default: mlp.
  --seed N               For torch.manual_seed. Default: the spec's, or 0.
  --device DEVICE        cpu, cuda, mps, xpu or meta.
  --weights FILE         Load a state_dict into it first: .safetensors, .pt,
                         .ckpt.
  --eval                 Run in eval mode. Default: in the mode it is in.
  --train                Run in train mode.
  --strip-prefix PREFIX  Leave this out of names, as model. Default: auto,
                         what wrappers add; none keeps it.  [default: auto]
  --allow-code           Let the spec name Python functions.

Input:
  --input INPUT          [NAME=]SHAPE[:DTYPE][:SAMPLE], as 2,4 or
                         2,4:float64:normal or ids=2,8:int64:0..99.
                         Repeatable. Or your own: file.py:func.
  --loss NAME            sum, mean, mse, cross_entropy or random. Or your own:
                         file.py:func.

Initialisation:
  --scheme SCHEME        Initialise weights that mix inputs: normal,
                         normal:std=0.01, file.py:func.
  --bias SCHEME          Initialise biases, those of norms left out: zeros,
                         constant:val=1.
  --rule GLOB=SCHEME     Initialise what the glob matches. Repeatable.
  --seed-per-parameter   Draw each parameter from the seed and its name alone,
                         whatever else there is.

Output:
  -q, --quiet            No notes on stderr.
  --debug                Show the traceback of an error.
  -h, --help             Show this message and exit.
"""


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize(("command", "text"), [("", ROOT), ("code", CODE)])
def test_help_is_on_stdout(flag: str, command: str, text: str, run: Run) -> None:
    ran = run(*command.split(), flag)
    assert (ran.code, ran.out, ran.err) == (0, text, "")


def test_without_a_word_the_first_screen_is_on_stderr_and_the_code_is_2(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out, ran.err) == (2, "", FIRST_SCREEN + COMMAND_LIST)
    assert len(ran.err.splitlines()) <= 24
    assert run("--debug").err == ran.err


CONTENTS = """\
spec       a network in YAML or JSON
modules    any PyTorch module, by its place in a file or a package
summary    the tree of layers, what each takes, returns, holds and computes
memory     what a training step takes, what autograd keeps, which batch fits
init       schemes, rules, and what is judged
gradients  what reaches each parameter, and through which use
signal     does it survive its way through the layers?
sharing    who is one object with whom, and what that does
files      what is in a checkpoint, is it sound, what an optimizer keeps
rules      what check looks for, why it matters, what to do
python     the same from Python
scripts    formats, exit codes, the JSON report
words      what the words on the screen mean

paraminspect help TOPIC prints a page, paraminspect help WORD what a word on the
screen means, paraminspect COMMAND --help the options.
"""


def test_the_pages_of_the_manual(run: Run) -> None:
    assert run("help") == Ran(0, CONTENTS, "")
    ran = run("help", "shraing")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: TOPIC: no help on 'shraing'\n  did you mean 'sharing'?\n"
    assert "known: spec, modules, " in run("help", "xyz").err


def test_a_word_is_explained_in_any_spelling(run: Run) -> None:
    said = "vanishing: it shrinks from layer to layer until little is left\n  more: paraminspect help signal\n"
    assert run("help", "Vanishing:") == Ran(0, said, "")
    assert run("help", "fan", "in") == run("help", "fan_in")
    assert run("help", "vanishng").err == "error: TOPIC: no help on 'vanishng'\n  did you mean 'vanishing'?\n"


@each("command", [name for name in COMMANDS if name not in TOPICS])
def test_the_name_of_a_command_is_a_topic_too(command: str, run: Run) -> None:
    assert run("help", command) == run(command, "--help")


@each("columns", [80, 200])
@each("command", ["", *COMMANDS])
def test_help_fits(command: str, columns: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = run(*command.split(), "--help").out
    assert text.isascii()
    assert "<" not in text
    assert max(map(len, text.splitlines())) <= min(columns, 100)


@each("command", COMMANDS)
def test_every_command_and_every_option_has_help(command: str, run: Run) -> None:
    root = typer.main.get_command(app)
    found = root.commands[command]  # type: ignore[attr-defined]  # the root is a group
    assert found.help and found.get_short_help_str(60) == COMMANDS[command].short
    assert [parameter.name for parameter in found.params if not parameter.help] == []
    assert COMMANDS[command].short in run("--help").out


def test_every_option_of_a_command_on_a_model_has_a_group(run: Run) -> None:
    root = typer.main.get_command(app)
    for command in ("show", "init", "grad", "share", "compare", "edit", "code"):
        parameters = root.commands[command].params  # type: ignore[attr-defined]  # the root is a group
        assert [one.name for one in parameters if one.name != "help" and not one.rich_help_panel] == []
        headings = [line[:-1] for line in run(command, "--help").out.splitlines() if re.fullmatch(r"\w+:", line)]
        assert headings == ["Examples", *(panel for panel in PANELS if panel in headings)]


NET = """\
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 2)
"""
DIFFERENT = ("diff model.py:Net start.safetensors",)  # another initialisation, and metadata
MINUTES = ("compare deep-relu",)  # shown in the README, and run there


def test_the_examples_work(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(NET, encoding="utf-8")
    (tmp_path / "net.yaml").write_text("layers: [{Linear: [4, 3]}]\ninput: [2, 4]\n", encoding="utf-8")
    for name in ("base", "tuned"):
        save_file({"w": torch.ones(2)}, f"{name}.safetensors")
    for entry in COMMANDS.values():
        for example in entry.examples:
            words = shlex.split(example.partition(" > ")[0])
            given = ["--seeds", "1"] if words[0] == "compare" else []
            assert example in MINUTES or run(*words, *given).code == int(example in DIFFERENT), example
    assert {path.name for path in tmp_path.iterdir()} >= {"start.safetensors", "signal.png"}


def test_the_texts_name_the_choices_there_are(run: Run) -> None:
    text = " ".join(run("show", "--help").out.split())
    assert f"{', '.join(list(Format)[:-1])} or {list(Format)[-1]}. [default: table]" in text
    assert f"{', '.join(LOSSES[:-1])} or {LOSSES[-1]}." in text
    assert f"{', '.join(DEVICES[:-1])} or {DEVICES[-1]}." in text
    assert {word.strip(",;.") for word in text.partition("Largest first:")[2].split("--top")[0].split()} - {"or"} == {
        *Key
    }


# --- completion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_is_the_shells_own_whatever_the_shell(shell: str, run: Run) -> None:
    ran = run("--show-completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"complete_{shell}" in ran.out
    again = run("show", "-h")
    assert again.out.startswith("Usage: paraminspect show")


def test_bash_takes_the_script_and_completes(tool: Tool, tmp_path: Path) -> None:
    """A colon ends a word in bash: what is completed there goes behind it."""
    (tmp_path / "model.py").write_text(UNRUN, encoding="utf-8")
    own = tmp_path / "paraminspect"
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m paraminspect "$@"\n', encoding="utf-8")
    own.chmod(0o755)
    lines = ["show model.py:N", "show tr", "show cnn --params fc.", "theory "]
    script = tool("--show-completion", "bash").stdout.decode() + "\ncomplete -p paraminspect\n"
    for line in (f"paraminspect {line}" for line in lines):
        script += f"COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}; _paraminspect_completion {own}\n"
        script += "echo ${#COMPREPLY[@]} ${COMPREPLY[0]}\n"
    env = environment(PYTHONPATH=str(ROOT_FOLDER))
    options = {"cwd": tmp_path, "env": env, "text": True, "check": False, "timeout": 60}
    ran = subprocess.run(["bash", "--norc", "-s"], input=script, capture_output=True, **options)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "complete -o default -F _paraminspect_completion paraminspect",
        "1 Net",
        "1 transformer",
        "2 fc.weight",
        f"{len(NAMES)} {min(NAMES)}",
    ]


ZSH = """
compdef() { }
_arguments() { print -r -- "$@" }
source ./script
for line in "show tr" "sh"; do words=(paraminspect ${=line}); CURRENT=$#words; _paraminspect_completion; done
"""
FISH = "source ./script; complete -C 'paraminspect show tr'; complete -C 'paraminspect sh'"


@pytest.mark.parametrize(("shell", "bare", "code"), [("fish", "--no-config", FISH), ("zsh", "-f", ZSH)])
def test_zsh_and_fish_complete(shell: str, bare: str, code: str, run: Run, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    own = tmp_path / "paraminspect"
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m paraminspect "$@"\n', encoding="utf-8")
    own.chmod(0o755)
    (tmp_path / "script").write_text(run("--show-completion", shell).out, encoding="utf-8")
    env = environment(PYTHONPATH=str(ROOT_FOLDER), PATH=f"{tmp_path}:{os.environ['PATH']}")
    ran = subprocess.run(
        [shell, bare, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "transformer" in ran.stdout
    assert all(word in ran.stdout for word in ("show", "share", "The whole picture"))


def test_the_names_of_a_spec_are_those_of_its_module(run: Run) -> None:
    for name in builtin_names():
        spec = find(name)
        rows = run("show", name, "--json", "--no-forward").report["parameters"]
        first = [row["name"] for row in rows if row["kind"] == "parameter"]
        there = {*first, *(alias for row in rows for alias in row["aliases"])}
        offered = parameter_names(spec)
        assert all(any(fnmatchcase(one, glob) for glob in offered) for one in first)
        assert all(any(fnmatchcase(one, glob) for one in there) for glob in offered)
        assert run("show", name, "--no-forward", "--layer", layer_paths(spec)[0]).code == 0


UNRUN = """\
class Data: pass
raise SystemExit("this file is read, not run")
class Net(nn.Module): pass
def make(): pass
"""
COMPLETED = {
    "": [*COMMANDS],
    "sh": ["show", "share"],
    "show --fo": ["--format"],
    "show --format ": list(Format),
    "show -f j": ["json"],
    "show --loss m": ["mean", "mse"],
    "show --loss r": ["random"],
    "share --sort n": ["name", "numel"],
    "show --device c": ["cpu", "cuda"],
    "show --scheme kaiming": ["kaiming_normal", "kaiming_uniform"],
    "show --bias z": ["zeros"],
    "show te": ["textbook"],
    "compare --scheme de": ["default"],
    "init --lo": [],
    "schema ": ["spec", "report", "reports", "finding", "baseline", "rules", "schemes", "theory"],
    "help si": ["signal"],
    "help sh": ["sharing", "show", "share", "shape", "shared"],
    "theory ge": ["gelu"],
    "show cnn --params co": ["conv1.weight", "conv2.weight"],
    "grad --params 2": ["2.weight", "2.bias"],
    "share transformer --layer bl": ["blocks", "blocks.0", "blocks.1"],
    "show torch.nn:ReLU --params w": [],
    "show model.py:": ["model.py:Net", "model.py:Data", "model.py:make"],
    "grad ./model.py:N": ["./model.py:Net"],
    "show no.py:N": [],
    "help van": ["vanishing"],
    "--show-completion ": ["bash", "zsh", "fish", "powershell"],
}


@pytest.mark.parametrize("line", COMPLETED)
def test_completion(
    line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(UNRUN, encoding="utf-8")
    words = f"paraminspect {line}"
    monkeypatch.setenv("_PARAMINSPECT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert main([]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out.split() == COMPLETED[line]


def test_completion_imports_no_torch(tool: Tool) -> None:
    env = {"_PARAMINSPECT_COMPLETE": "complete_bash", "COMP_WORDS": "paraminspect show --scheme x", "COMP_CWORD": "3"}
    ran = tool(env=env | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert ran.returncode == 0
    assert ran.stdout.split() == [name.encode() for name in SCHEMES if name.startswith("x")]
    assert b"| torch" not in ran.stderr
