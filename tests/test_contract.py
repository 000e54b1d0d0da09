"""What other programs rely on: keys of the JSON, exit codes, options. A change shows in `contract.txt`, line by line.

PARAMINSPECT_ACCEPT=1 writes that file anew: within a version lines may be added, and none may go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import torch
import typer

from paraminspect import output
from paraminspect.cli import app, check, session
from paraminspect.cli.check_options import CheckFormat
from paraminspect.cli.options import Format
from paraminspect.cli.schema import Which, schema_of
from paraminspect.rules.catalogue import RULES
from paraminspect.sources.settings_file import READERS
from tests.conftest import Ran

Run = Callable[..., Ran]
GOLDEN = Path(__file__).with_name("contract.txt")


def contract() -> Iterator[str]:
    codes = {
        "done": session.DONE,
        "found": check.FOUND,
        "failed": session.FAILED,
        "interrupted": app.INTERRUPTED,
        "broken pipe": output.BROKEN_PIPE,
    }
    yield from (f"exit code: {code} {name}" for name, code in codes.items())
    yield from (f"format: {one.value}" for one in Format)
    yield from (f"format of check: {one.value}" for one in CheckFormat)
    group = typer.main.get_command(app.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # it is a group
        options = [option for one in command.params if one.param_type_name == "option" for option in one.opts]
        yield from (f"option: {name} {option}" for option in options)
    yield from (f"rule: {rule.id} {rule.name}" for rule in RULES.values())
    yield from (f"setting: {name}" for name in READERS)
    for which in Which:
        if which is not Which.spec:
            schema = schema_of(which.value)
            yield from (f"key: {which.value} {key}" for key in schema["required"])
            for part, found in schema.get("$defs", {}).items() if which is Which.report else ():
                yield from (f"key: {which.value} {part}.{key}" for key in found["required"])


def test_nothing_that_programs_rely_on_has_gone() -> None:
    found = "".join(f"{line}\n" for line in contract())
    if os.environ.get("PARAMINSPECT_ACCEPT"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


LINES = {
    "report": [
        *("show mlp", "summary mlp", "init mlp --scheme normal", "grad shared", "share tied", "check mlp deep.yaml"),
        *("edit mlp --add 1", "compare mlp --seeds 1", "check mlp", "check none.yaml", "diff mlp x.pt", "show x.pt"),
        *("share x.pt", "check x.pt", "show x.pt --stats", "show --no-such-option"),
    ],
    "rules": ["rules", "rules PI301"],
    "schemes": ["schemes", "schemes kaiming_normal --shape 3,4", "schemes orthogonal"],
    "theory": ["theory tanh", "theory relu --sigma-w2 2 --depth 3"],
}


def test_every_json_is_as_its_schema_says(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": torch.ones(3, 4), "x": torch.tensor([float("inf")])}, "x.pt")
    checks = {which.value: jsonschema.Draft202012Validator(schema_of(which.value)) for which in Which}
    for check_schema in checks.values():
        check_schema.check_schema(check_schema.schema)
    for name, lines in LINES.items():
        for line in lines:
            found = run(*line.split(), "--json").report
            checks["reports" if found["schema"] == "paraminspect.reports" else name].validate(found)
    assert run("check", "x.pt", "mlp", "--write-baseline", "known.json").code == 0
    checks["baseline"].validate(json.loads(Path("known.json").read_text(encoding="utf-8")))
    lines = run("check", "x.pt", "none.yaml", "-f", "jsonl").out.splitlines()
    assert len(lines) > 1
    for line in lines:
        checks["finding"].validate(json.loads(line))
