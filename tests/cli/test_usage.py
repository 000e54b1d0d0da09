"""What the command line refuses, in one message each, and the same as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from paraminspect.cli import session
from paraminspect.cli.commands import COMMANDS
from paraminspect.report.report_schema import report_schema
from tests.cases import each
from tests.conftest import Ran

Run = Callable[..., Ran]
SEE = "  see: paraminspect {} --help\n"
FIRST = "  the command comes first: paraminspect {}; see: paraminspect --help\n"
ANY = FIRST.format("COMMAND [SOURCE] [OPTIONS]")
DEVICES = "  known: cpu, cuda, mps, xpu, meta, and cuda:0 for one of several\n"
OWN = "  a class or function of yours: path/file.py:NAME; of a package: package.module:NAME\n"
BUILT_IN = (
    "  built-in: cnn, deep-relu, deep-tanh, mlp, normal, plain-tensor, residual, shared, textbook, tied, transformer\n"
)
NOTE = "note: no SOURCE given: using the built-in spec 'mlp'\n"

USAGE = {
    "show --sed 3": "error: show: No such option: --sed\n  did you mean '--seed'?\n",
    "show -w": "error: show: No such option: -w\n" + SEE.format("show"),
    "show --allow-cod": "error: show: No such option: --allow-cod\n  did you mean '--allow-code'?\n",
    "show a b": (
        'error: show: one SOURCE at a time, got 2: a, b\n  for each in a b; do paraminspect show "$each"; done\n'
    ),
    "show --layer": "error: show: Option '--layer' requires an argument.\n" + SEE.format("show"),
    "show --format jsn": (
        "error: show: Invalid value for '--format' / '-f': 'jsn' is not one of table, plain, json, csv, markdown. "
        "Did you mean 'json'?\n" + SEE.format("show")
    ),
    "show --seed 1e3": ("error: show: Invalid value for '--seed': '1e3' is not a whole number\n" + SEE.format("show")),
    "edit --add one": "error: edit: Invalid value for '--add': 'one' is not a number\n" + SEE.format("edit"),
    "schema": "error: schema: Missing argument 'NAME'. Choose from: spec, report, reports, finding, baseline, "
    "rules, schemes, theory\n"
    "  for example: paraminspect schema spec > spec.schema.json\n",
    "schema sepc": (
        "error: schema: Invalid value for 'NAME': 'sepc' is not one of spec, report, reports, finding, baseline, rules, "
        "schemes, theory. Did you mean 'spec'?\n" + SEE.format("schema")
    ),
    "shwo": "error: there is no command 'shwo'\n  did you mean: paraminspect show\n",
    "zzzz": "error: there is no command 'zzzz'\n" + ANY,
    "configs/mlp.yaml": "error: there is no command 'configs/mlp.yaml'\n" + FIRST.format("show configs/mlp.yaml"),
    "-q show": "error: No such option: -q\n" + FIRST.format("show -q"),
    "--versoin": "error: No such option: --versoin\n  did you mean '--version'?\n",
    "code -f json": "error: code: No such option: -f\n" + SEE.format("code"),
    "code --json": "error: code: No such option: --json\n" + SEE.format("code"),
    "init --loss sum": "error: init: No such option: --loss\n" + SEE.format("init"),
    "share --values": "error: share: No such option: --values\n  did you mean '--eval'?\n",
    "show -- --debug": (f"error: --debug: no such file, and no built-in spec has this name\n{OWN}{BUILT_IN}"),
    "show no/such": (
        "error: no/such: no such file\n  there is no folder 'no'\n  a model of Hugging Face's hub, which is downloaded: "
        "transformers:AutoModel.from_pretrained --arg pretrained_model_name_or_path=no/such\n"
    ),
    "show mlp --seed -1": "error: --seed: a seed is from 0 to 2**64 - 1\n  for example: --seed 0\n",
    "show mlp --seed 18446744073709551616": ("error: --seed: a seed is from 0 to 2**64 - 1\n  for example: --seed 0\n"),
    "show mlp --device cpuu": f"error: --device: unknown device 'cpuu'\n{DEVICES}",
    "show mlp --device tpu:1": f"error: --device: unknown device 'tpu:1'\n{DEVICES}",
    "show mlp --device cuda:x": f"error: --device: unknown device 'cuda:x'\n{DEVICES}",
    "show mlp --loss meen": "error: --loss: unknown value 'meen'\n  did you mean 'mean'?\n",
    "show mlp --loss sum:3": "error: --loss: unknown value 'sum:3'\n  did you mean 'sum'?\n",
    "show mlp --top 0": "error: --top: at least 1 is needed, got 0\n  for example: --top 3\n",
    "share mlp --depth -1": "error: --depth: at least 1 is needed, got -1\n  for example: --depth 3\n",
    "grad mlp --sort mea": (
        "error: grad: Invalid value for '--sort': 'mea' is not one of name, numel, bytes, mean, std, rms, gradient. "
        "Did you mean 'mean'?\n" + SEE.format("grad")
    ),
    "code --arg n=1": "error: code: No such option: --arg\n" + SEE.format("code"),
    "code torch.nn:ReLU": (
        "error: torch.nn:ReLU: the script of a module is the module's own code; `code` takes a spec\n"
        "  give a spec (.yaml, .json)\n"
    ),
    "show mlp --arg n=1": (
        "error: --arg: a spec takes no arguments\n  it is for a model in Python: file.py:attr or pkg.mod:attr\n"
    ),
    "show mlp --loss nosuch.py:f": "error: nosuch.py:f: no such file: nosuch.py\n",
    "show mlp --loss math:pi": (
        "error: --loss: math:pi is an object of type float, not a function\n"
        "  write it as def loss(output): return output.square().mean()\n"
    ),
    "show torch.nn:ReLU --loss meen": "error: --loss: unknown value 'meen'\n  did you mean 'mean'?\n",
    "show torch.nn:ReLU --device cpuu": f"error: --device: unknown device 'cpuu'\n{DEVICES}",
    "show torch.nn:ReLU --scheme nrmal": (
        "error: --scheme: unknown scheme 'nrmal'\n  did you mean 'normal'?; 'paraminspect schemes' lists them all\n"
    ),
    "show torch.nn:ReLU --input a=2 --input a=3": "error: --input: 'a' is given twice\n  keep one of them\n",
    "show torch.nn:ReLU --seed -1": "error: --seed: a seed is from 0 to 2**64 - 1\n  for example: --seed 0\n",
    "init torch.nn:ReLU": (
        "error: --scheme: nothing to apply: no scheme on the command line, no init: in the spec\n"
        "  for example: --scheme normal:std=0.01\n"
    ),
    "show mlp --input 2,4 --input 3,4": (
        "error: --input: the network of a spec takes one input, got 2\n  give it once: --input 2,4\n"
    ),
    "show mlp --input x=2,4": (
        "error: --input: the input of a spec's network has no name, got 'x'\n  leave the name out: --input 2,4\n"
    ),
    "show mlp --layer l": "error: --layer: there is no layer 'l'\n  layers: 0, 1, 2\n",
    "show mlp --params 0.wieght": ("error: --params: '0.wieght' matches no parameter\n  did you mean '0.weight'?\n"),
    "schemes nrmal": "error: schemes: unknown scheme 'nrmal'\n  did you mean 'normal'?; 'paraminspect schemes' lists them all\n",
    "edit mlp": (
        "error: edit: one of --add, --mul and --fill is needed, got 0\n  for example: edit --params '*.bias' --add 1\n"
    ),
}


@each("line", USAGE)
def test_a_wrong_command_line_is_one_message_and_2(line: str, run: Run) -> None:
    ran = run(*line.split())
    wanted = USAGE[line]
    if "--json" in line or "-f json" in line:
        assert [ran.code, ran.err] == [2, wanted]
        assert ran.report["errors"][0]["message"] in wanted
    else:
        assert [ran.code, ran.out, ran.err] == [2, "", wanted]


def test_a_number_of_5000_digits_is_one_message(run: Run) -> None:
    ran = run("show", "mlp", "--seed", "9" * 5000)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: show: Invalid value for '--seed': '999")
    assert ran.err.endswith(f"… (5,065 characters)\n{SEE.format('show')}")


# --- JSON ------------------------------------------------------------------------------------------------------

FORMS = [["--json"], ["-f", "json"], ["--format", "json"], ["--format=json"], ["-fjson"], ["-qf", "json"], ["-qfjson"]]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(report_schema())


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_with_json_a_failure_is_an_object_on_stdout_too(
    form: list[str], run: Run, schema: jsonschema.Draft202012Validator
) -> None:
    ran = run("show", "nosuch.yaml", *form)
    message = "no such file"
    assert (ran.code, ran.err) == (2, f"error: nosuch.yaml: {message}\n")
    schema.validate(ran.report)
    assert ran.report["command"] == "show"
    assert ran.report["errors"] == [{"code": "unreadable-spec", "message": message, "where": "nosuch.yaml"}]


@pytest.mark.parametrize("line", ["--json", "shwo --json", "show --sed 1 --json", "show --format jsn --json"])
def test_with_json_a_usage_error_is_an_object_too(line: str, run: Run, schema: jsonschema.Draft202012Validator) -> None:
    ran = run(*line.split())
    assert ran.code == 2
    schema.validate(ran.report)
    (error,) = ran.report["errors"]
    assert error["code"] == "usage"
    assert error["where"] == ("show" if "show" in line else "")
    assert ran.err.startswith(f"error: {error['where'] and 'show: '}{error['message']}\n")


@pytest.mark.parametrize(
    "line",
    ["show nosuch.yaml", "show nosuch.yaml -f table", "show nosuch.yaml -f json --format table", "show -- --json"],
)
def test_without_json_stdout_is_empty_on_failure(line: str, run: Run) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")


def test_a_forward_that_fails_carries_the_static_table(
    run: Run, schema: jsonschema.Draft202012Validator, spec: Any
) -> None:
    path = spec("layers: [{Linear: [4, 3]}, {Linear: [5, 1]}]\ninput: [2, 4]\n")
    ran = run("show", path, "--json")
    assert ran.code == 2
    schema.validate(ran.report)
    assert [row["name"] for row in ran.report["parameters"]] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    (error,) = ran.report["errors"]
    assert (error["code"], error["where"]) == ("forward-failed", "layer '1'")
    assert ran.err == f"error: layer '1': {error['message']}\n"
    table = run("show", path)
    assert (table.code, table.err) == (2, ran.err)
    assert "0.weight" in table.out


# --- notes, quiet, debug ---------------------------------------------------------------------------------------


def test_quiet_drops_the_note_and_nothing_else(run: Run) -> None:
    loud, quiet = run("schemes"), run("show", "-q", "-f", "csv")
    assert (loud.code, loud.err) == (0, "")
    assert (quiet.code, quiet.err) == (0, "")
    said = run("show", "-f", "csv")
    assert (said.code, said.out, said.err) == (0, quiet.out, NOTE)
    assert run("show", "-q", "--loss", "x").err == "error: --loss: unknown value 'x'\n  known: " + (
        "sum, mean, mse, cross_entropy, random; or your own: file.py:func\n"
    )


@pytest.mark.parametrize("line", ["--debug show nosuch.yaml", "show --debug nosuch.yaml", "show nosuch.yaml --debug"])
def test_debug_shows_the_traceback_wherever_it_stands(line: str, run: Run) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Traceback (most recent call last):\n")
    assert ran.err.endswith("\nerror: nosuch.yaml: no such file\n")


@each("command", COMMANDS)
def test_every_command_takes_debug(command: str, run: Run) -> None:
    ran = run(command, "--debug", "--no-such-option")
    assert (ran.code, ran.out) == (2, "")
    assert f"\nerror: {command}: No such option: --no-such-option\n" in ran.err


# --- what Python runs out of -----------------------------------------------------------------------------------

INTERNAL = "  this is a bug in paraminspect; --debug shows the traceback\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "error: out of memory\n  use smaller sizes, or --device meta\n"),
        (RecursionError("maximum"), "error: nested too deeply for Python\n  use fewer levels\n"),
        (ValueError("a\nb"), "error: internal error: ValueError: a b\n" + INTERNAL),
        (SystemExit(0), "error: internal error: SystemExit: 0\n" + INTERNAL),
        (GeneratorExit(), "error: internal error: GeneratorExit:\n" + INTERNAL),
        (PermissionError(13, "denied"), "error: internal error: PermissionError: [Errno 13] denied\n" + INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_nobody_expects_is_one_message_and_2(
    error: BaseException, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object) -> None:
        raise error

    monkeypatch.setattr(session, "prepare", prepare)
    ran = run("show")
    assert (ran.code, ran.out, ran.err) == (2, "", message)
    code = {"MemoryError": "out-of-memory", "RecursionError": "too-deep"}.get(type(error).__name__, "internal-error")
    assert run("show", "--json").report["errors"][0]["code"] == code


def test_ctrl_c_in_this_process_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "prepare", prepare)
    ran = run("show", "--json")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_an_error_while_the_error_is_reported_is_still_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("paraminspect.output.error", broken)
    assert run("show", "nosuch.yaml").code == 2


# --- nothing the user typed steers the terminal ------------------------------------------------------------------

HOSTILE = {
    "esc": ("\x1b[2Jx", "\\x1b[2Jx"),
    "osc52": ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
    "c1": ("\x9b31m", "\\x9b31m"),
    "bidi": ("a\u202eb", "a\\u202eb"),
    "newline": ("a\nerror: b", "a\\x0aerror: b"),
    "surrogate": ("a\udcffb", "a\\udcffb"),
    "separator": ("a\u2028b", "a\\u2028b"),
}


@each("name", HOSTILE)
@each(
    ("option", "head"), [((), ""), (("mlp", "--loss"), "--loss: "), (("mlp", "--scheme"), ""), (("mlp", "--rule"), "")]
)
def test_hostile_words_are_shown_harmless(name: str, option: tuple[str, ...], head: str, run: Run) -> None:
    raw, _ = HOSTILE[name]
    ran = run("show", *option, raw)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {head}")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\udc80-\udcff]", ran.err)
    assert all(line.startswith(("error: ", "  ")) for line in ran.err.splitlines())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_are_spelled_out(name: str, run: Run) -> None:
    raw, shown = HOSTILE[name]
    ran = run("show", raw)
    assert ran.err.splitlines()[0] == f"error: {shown}: no such file, and no built-in spec has this name"
    assert json.loads(run("show", raw, "--json").out)["errors"][0]["where"] == raw


def test_a_message_of_100_kb_is_cut(run: Run) -> None:
    ran = run("show", "x" * 100_000)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {'x' * 1_993}… (100,057 characters)\n{OWN}{BUILT_IN}"
    ran = run("show", f"{'x' * 100_000}.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {'x' * 1_993}… (100,050 characters)\n"


def test_an_empty_source_is_one_message(run: Run) -> None:
    ran = run("show", "")
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: SOURCE is empty\n{BUILT_IN}")


NESTED = """
import torch
from torch import nn

class Ragged(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter(torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)]))
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_parameter_that_has_no_shape_fails_no_command(run, tmp_path):
    """A nested tensor raises where its shape is asked for."""
    (tmp_path / "ragged.py").write_text(NESTED, encoding="utf-8")
    schemes = ["--scheme", "normal", "--scheme", "kaiming_normal"]
    options = {"compare": schemes, "init": schemes[:2], "edit": ["--params", "layer.*", "--add", "1"]}
    for command in ("show", "summary", "grad", "share", "check", "compare", "init", "edit"):
        done = run(command, f"{tmp_path / 'ragged.py'}:Ragged", "--input", "2,3", *options.get(command, []))
        assert done.code == (1 if command == "check" else 0), (command, done.err)
        assert "internal error" not in done.err
