"""`check`: which rules are asked, several sources in one run, the forms of the answer, the exit code."""

from __future__ import annotations

import csv
import json
import pickle
import re
import shlex
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif
from safetensors.torch import save_file

from paraminspect import output
from paraminspect.render import render_reports
from paraminspect.report import Environment, Failure, Finding, Report, Source
from paraminspect.text.escape import View
from tests.cases import each
from tests.conftest import Ran

Run = Callable[..., Ran]

BROKEN = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.spare, self.other = nn.Linear(4, 3), nn.Linear(2, 2), nn.Linear(2, 2)
    def forward(self, x):
        return self.body(x)
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a model of which two layers are never used, and go to its folder."""
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "broken.py:Net"


def rules_in(ran: Ran) -> list[str]:
    return [finding["rule"] for finding in ran.report["findings"]]


# --- which rules -------------------------------------------------------------------------------------------------


def test_rules_are_chosen_by_id_and_by_prefix_and_names_are_left_out(run: Run, net: str) -> None:
    found = run("check", net, "--json")
    assert (found.code, rules_in(found)) == (1, ["PI301"])
    assert found.report["findings"][0]["names"] == ["spare.weight", "spare.bias", "other.weight", "other.bias"]
    assert run("check", net, "--select", "pi1,PI2", "--json").code == 0
    assert rules_in(run("check", net, "--select", "PI2", "--select", "PI30", "--json")) == ["PI301"]
    assert run("check", net, "--ignore", "PI3", "--json").code == 0
    some = run("check", net, "--ignore", "PI301:spare.*", "--json")
    assert some.report["findings"][0]["names"] == ["other.weight", "other.bias"]
    assert run("check", net, "--ignore", "PI301:spare.*,PI3:other.*", "--json").code == 0


PICKS = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), nn.Linear(4, 2)
    def forward(self, x):
        for block in self.blocks[:-1]:
            x = block(x).relu()
        return self.head(x)
"""
NOT_READ = "no gradient reached 20 of 70 parameters: this run did not read them; --select PI308 makes that a finding"


@each(
    ("options", "note", "code"),
    [
        ([], NOT_READ, 0),
        (["--select", "PI3", "--fail-on", "note"], NOT_READ, 0),
        (["--select", "PI308", "--fail-on", "note"], "", 1),
        (["--select", "PI4"], "", 0),
        (["--ignore", "PI308:blocks.*"], "", 0),
        (["--no-forward"], "", 0),
        (["--quiet"], "", 0),
    ],
)
def test_what_a_run_did_not_read_is_counted_beside_the_answer(
    run: Run, tmp_path: Path, options: list[str], note: str, code: int
) -> None:
    file = tmp_path / "picks.py"
    file.write_text(PICKS, encoding="utf-8")
    ran = run("check", f"{file}:Net", *options)
    assert (ran.err, ran.code) == (f"note: {note}\n" if note else "", code)
    assert NOT_READ not in ran.out


@each(
    ("options", "error"),
    [
        (["--select", "PI299"], "--select: no rule has the ID 'PI299', nor begins with it\n  did you mean"),
        (
            ["--select", "off-scheme"],
            "--select: no rule has the ID 'off-scheme', nor begins with it\n  its ID is PI206",
        ),
        (["--ignore", "X:head.*"], "--ignore: no rule has the ID 'X', nor begins with it\n  PI0 (expectations), "),
        (["--ignore", "PI3:"], "--ignore: 'PI3:' has no name behind its colon\n  for example: --ignore PI3:head.*"),
        (["--select", "PI3,"], "--select: no rule is named\n"),
        (["--select", "PI3:head.*"], "--select: 'PI3:head.*' names tensors\n  select takes rules"),
        (["--select", "PI301", "--ignore", "PI3"], "--select: no rule is left: PI301 without PI3\n"),
        (["--ignore", "PI"], "--select: no rule is left: all rules without PI\n"),
        (
            ["--threshold", "PI301=1"],
            "--threshold: PI301 has no threshold\n  those that have one: PI206 (off-scheme), ",
        ),
        (["--threshold", "PI503=2"], "--threshold: the threshold of PI503 is from 0 to 1, got 2\n"),
        (["--threshold", "PI206=inf"], "--threshold: the threshold of PI206 is at least 1, got inf\n"),
        (["--threshold", "PI503"], "--threshold: 'PI503' is no threshold\n  for example: --threshold PI503=0.99"),
        (["--exit-zero", "--fail-on", "note"], "--fail-on: not together with --exit-zero\n"),
        (["--jobs", "-1"], "--jobs: '-1' is no number of jobs\n"),
        (["-", "-"], "-: standard input can be read once\n"),
    ],
)
def test_what_is_typed_wrong_is_said_before_anything_is_run(run: Run, options: list[str], error: str) -> None:
    ran = run("check", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and error in ran.err and ran.err.count("error: ") == 1


def test_the_exit_code_follows_the_severity(run: Run, net: str) -> None:
    assert run("check", net, "--fail-on", "error").code == 0  # PI301 of parameters that nothing uses is a warning
    assert run("check", net, "--fail-on", "note").code == 1
    assert run("check", net, "--exit-zero").code == 0
    assert run("check").err == "note: no SOURCE given: using the built-in spec 'mlp'\n"


# --- several sources ---------------------------------------------------------------------------------------------


def test_a_source_that_fails_stops_no_other(run: Run, net: str) -> None:
    ran = run("check", "mlp", "missing.yaml", net)
    assert (ran.code, ran.err) == (2, "error: missing.yaml: no such file\n")
    titles = re.findall(r"^(mlp: |missing.yaml: not checked|broken.py:Net: )", ran.out, re.MULTILINE)
    assert titles == ["mlp: ", "missing.yaml: not checked", "broken.py:Net: "]
    assert ran.out.endswith("\n\nproblem: 1 warning in 1 of 3 sources; 1 could not be checked\n")
    one = run("check", "missing.yaml", "--json")
    assert (one.code, one.report["schema"]) == (2, "paraminspect.report")
    assert one.report["errors"][0]["message"] == "no such file"


def test_several_sources_are_one_document_whatever_the_number_of_jobs(run: Run, net: str) -> None:
    """A process that is killed is a failure of its source alone; warnings of code are those of one process."""
    Path("dies.py").write_text("import os\ndef dies():\n    os.kill(os.getpid(), 9)\n", encoding="utf-8")
    sources = ["mlp", net, "missing.yaml", "tied"]
    one = run("check", *sources, "--json")
    two = run("check", *sources[:2], "dies.py:dies", *sources[2:], "--json", "--jobs", "2")
    assert (one.code, two.code) == (2, 2)
    assert [*one.report] == ["schema", "version", "reports"]
    assert (one.report["schema"], one.report["version"]) == ("paraminspect.reports", 1)
    reports = two.report["reports"]
    died = reports.pop(2)
    assert died["errors"][0]["message"].startswith("the process that checked it was ended by SIGKILL; the system may")
    assert died["errors"][0]["code"] == "process-died"
    assert reports == one.report["reports"]


def test_what_nothing_could_be_run_of_is_not_called_sound(run: Run, net: str) -> None:
    """A lazy layer takes any size: what it is to be given cannot be known."""
    Path("lazy.py").write_text(BROKEN.replace("Linear(4, 3)", "LazyLinear(3)"), encoding="utf-8")
    ran = run("check", "lazy.py:Net", "--ignore", "PI301")
    why = "forward(x) needs 1 input; pass --input x=SHAPE; or --no-forward checks the values alone"
    assert (ran.code, ran.err) == (2, f"error: lazy.py:Net: not checked by any rule on gradients: {why}\n")
    assert run("check", "lazy.py:Net", "--ignore", "PI301", "--no-forward").code == 0
    assert run("check", "lazy.py:Net", "--ignore", "PI301", "--input", "2,4").code == 0
    Path("raises.py").write_text("def raises():\n    raise RuntimeError('no')\n", encoding="utf-8")
    failed = run("check", "raises.py:raises", "--json").report
    assert failed["source"] == {"kind": "module", "name": "raises.py:raises", "path": "raises.py", "options": []}


def test_files_of_the_same_name_are_told_apart(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        save_file({"w": torch.ones(4, 4)}, f"{folder}/model.safetensors")
    titles = re.findall(r"^(\S+): safetensors", run("check", "a", "b/model.safetensors").out, re.MULTILINE)
    assert titles == ["a/model.safetensors", "b/model.safetensors"]


def test_a_damaged_file_is_a_finding_and_no_file_a_failure(run: Run, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    save_file({"w": torch.ones(4, 4)}, whole)
    cut.write_bytes(whole.read_bytes()[:-8])
    assert run("check", whole).code == 0
    ran = run("check", cut, "--json")
    assert (ran.code, ran.err, ran.report["errors"]) == (1, "", [])
    assert {finding["rule"] for finding in ran.report["findings"]} <= {"PI601", "PI605"}
    assert run("check", cut, "--select", "PI633").code == 0
    assert run("check", tmp_path / "none.safetensors").code == 2
    assert run("check", whole, "--scheme", "zeros").err.startswith("error: --scheme: a checkpoint holds tensors")


# --- the forms ---------------------------------------------------------------------------------------------------

HOSTILE = "evil%\n::error::x\r\x00\x1b[31m,:\u202e<&\"']]>\ud800=cmd"


def reports() -> list[Report]:
    environment = Environment("0.1.0", None, "3.11", "", "", None)
    findings = (
        Finding("PI301", "warning", HOSTILE, f"{HOSTILE} is never used", (HOSTILE,), f"look at {HOSTILE}"),
        Finding("PI203", "note", "", "as a whole"),
    )
    failure = Failure("bad-input", HOSTILE, HOSTILE)
    return [
        Report("check", Source("spec", "mlp", "a b/mlp#1.yaml"), environment),
        Report("check", Source("module", HOSTILE), environment, findings=findings),
        Report("check", Source("checkpoint", "x", "/tmp/x.pt"), environment, errors=(failure,)),
    ]


def written(form: str) -> str:
    return "".join(render_reports(reports(), form, View()))


def test_sarif_follows_its_schema() -> None:
    """The models are generated from the schema of OASIS, and allow no other keys."""
    text = written("sarif")
    log = Sarif.model_validate_json(text)
    assert text.isascii() and [one.ruleId for one in log.runs[0].results or []] == ["PI301", "PI203"]
    run = json.loads(text)["runs"][0]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["PI203", "PI301"]
    assert [one["ruleIndex"] for one in run["results"]] == [1, 0]


def test_no_name_becomes_a_command_of_github() -> None:
    lines = written("github").split("\n")
    assert [line.partition(" ")[0] for line in lines] == ["::warning", "::notice", "::error", ""]
    assert all(line.isprintable() for line in lines)
    assert lines[2].startswith("::error file=/tmp/x.pt,title=paraminspect::/tmp/x.pt: evil%25%0A::error::x")


def test_junit_is_well_formed_and_counts_add_up() -> None:
    root = ElementTree.fromstring(written("junit").encode("utf-8"))
    assert root.attrib == {"name": "paraminspect", "tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    for kind, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(root.findall(f".//{kind}")) == int(root.attrib[name])
    assert root[0].attrib["name"] == "a b/mlp#1.yaml" and root[1][0].attrib["name"].startswith("PI301 evil%\n::error")


def test_a_line_and_a_row_hold_a_finding_or_a_failure() -> None:
    lines = [json.loads(line) for line in written("jsonl").splitlines()]
    assert [(one["rule"], one["code"]) for one in lines] == [("PI301", None), ("PI203", None), (None, "bad-input")]
    assert (lines[0]["where"], lines[2]["source"]) == (HOSTILE, "/tmp/x.pt")
    rows = list(csv.DictReader(StringIO(written("csv"))))
    assert [*rows[0]] == ["source", "rule", "severity", "where", "names", "message", "hint", "code"]
    assert [(row["rule"], row["code"]) for row in rows] == [("PI301", ""), ("PI203", ""), ("", "bad-input")]


def test_reports_go_from_process_to_process(run: Run, tmp_path: Path) -> None:
    from paraminspect.experiments.check import CheckRequest, check

    path = tmp_path / "w.safetensors"
    save_file({"w": torch.ones(4, 4)}, path)
    for source in ("cnn", str(path)):
        report: Any = check(source, CheckRequest()).report
        assert pickle.loads(pickle.dumps(report)).to_dict() == report.to_dict()


# --- settings of a project ---------------------------------------------------------------------------------------


def test_the_nearest_settings_hold_and_the_command_line_wins(run: Run, net: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.paraminspect]\nselect = ["PI3", "PI4"]\nfail-on = "error"\nthresholds = {PI503 = 0.99}\n'
        '[tool.paraminspect.per-name-ignores]\n"spare.*" = ["PI301"]\n',
        encoding="utf-8",
    )
    ran = run("check", net, "--json")
    assert (ran.code, ran.report["findings"][0]["names"]) == (0, ["other.weight", "other.bias"])
    assert run("check", net, "--fail-on", "warning").code == 1
    assert run("check", net, "--isolated", "--json").code == 1
    (tmp_path / "paraminspect.toml").write_text('ignore = ["PI3"]\n', encoding="utf-8")
    assert run("check", net, "--fail-on", "note").code == 0  # comes before the pyproject.toml beside it
    assert rules_in(run("check", net, "--select", "PI301", "--json")) == ["PI301"]
    assert run("check", net, "--config", "pyproject.toml", "--fail-on", "note").code == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('selct = ["PI3"]', "paraminspect.toml:1: unknown key 'selct'\n  did you mean 'select'?"),
        ("\nfail_on = 'note'", "paraminspect.toml:2: unknown key 'fail_on'\n  did you mean 'fail-on'?"),
        ('select = "PI3"', 'paraminspect.toml:1: select: must be a list of rules, as ["PI3", "PI401"]\n'),
        ('select = ["PI399"]', "paraminspect.toml: select: no rule has the ID 'PI399', nor begins with it\n"),
        ("select = [", "paraminspect.toml:1: not valid TOML: "),
        ("a = 1\na = 2", "paraminspect.toml:2: not valid TOML: Cannot overwrite a value\n"),
        ("thresholds = {PI301 = 0.5}", "paraminspect.toml: thresholds: PI301 has no threshold\n"),
        ("thresholds = {PI503 = true}", "paraminspect.toml:1: thresholds.PI503: must be a number\n"),
        ("fail-on = 'bad'", 'paraminspect.toml:1: fail-on: must be "error", "warning" or "note"\n'),
        ('ignore = ["PI"]', "paraminspect.toml: select: no rule is left: all rules without PI\n"),
    ],
)
def test_settings_that_are_wrong_are_named_by_file_and_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paraminspect.toml").write_text(text, encoding="utf-8")
    ran = run("check", "mlp")
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(f"error: {error}")
    assert run("check", "mlp", "--config", "paraminspect.toml").err == ran.err
    assert run("check", "mlp", "--config", "none.toml").err.startswith("error: --config none.toml: no such file\n")


def test_a_page_with_a_fault_says_which_check_stops_on_it(run: Run, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(output, "suggest", lambda text, colour: said.append(text))
    torch.save({"w": torch.full((2, 2), torch.nan)}, "odd name.pt")
    Path("takes.py").write_text(BROKEN.replace("__init__(self)", "__init__(self, spares)"), encoding="utf-8")
    for source, *typed in ((net,), ("odd name.pt",), ("takes.py:Net", "--arg", "spares=1", "--layer", "spare")):
        run("show", source, *typed, *(["--stats"] if source.endswith("pt") else []))
        line = next(text for text in said if " check " in text).partition("  ")[0]
        assert run(*shlex.split(line)[1:]).code == 1
        said.clear()
    run("show", "mlp")
    assert [text for text in said if " check " in text] == []
