"""Every shipped spec runs, is listed as a built-in, and satisfies the published schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from paraminspect.cli.help import PAGES
from paraminspect.sources.locate import builtin_names
from tests.cases import each
from tests.conftest import CONFIGS, ROOT, Ran

Run = Callable[..., Ran]
Validators = dict[str, jsonschema.Draft202012Validator]
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def test_the_folder_is_what_the_built_in_names_mean() -> None:
    assert list(builtin_names()) == NAMES


@each("name", NAMES)
def test_it_runs_and_is_sound(run: Run, name: str) -> None:
    ran = run("show", name, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.report["source"] == {"kind": "spec", "name": name, "path": None, "options": []}
    assert {row["gradient"]["status"] for row in ran.report["parameters"] if row["gradient"]} == {"ok"}
    found = {(verdict["about"], verdict["verdict"].rpartition(" ")[2]) for verdict in ran.report["verdicts"]}
    assert found <= {("scheme", "expected"), ("ledger", "reconciles")}


@each("name", NAMES)
def test_the_readme_or_a_page_of_help_uses_it(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")]
    assert f"`{name}`" in readme
    assert any(f"configs/{name}.yaml" in text or f" {name}\n" in text for text in [readme, *pages])


@pytest.fixture(scope="module")
def validators() -> Validators:
    from paraminspect.init.schemes.registry import SCHEMES
    from paraminspect.report.report_schema import report_schema
    from paraminspect.spec.spec_schema import spec_schema

    arguments = {name: tuple(argument.name for argument in scheme.arguments) for name, scheme in SCHEMES.items()}
    found = {"spec": spec_schema(arguments), "report": report_schema()}  # test_contract.py checks the schemas
    return {name: jsonschema.Draft202012Validator(schema) for name, schema in found.items()}


@each("name", NAMES)
def test_it_satisfies_the_schema_of_specs(validators: Validators, name: str) -> None:
    data = YAML(typ="safe", pure=True).load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    validators["spec"].validate(data)


@pytest.mark.parametrize(
    "layers",
    [
        ["Relu"],
        [{"Linear": [4, 3], "ReLU": None}],
        [{"Linear": {"in_feature": 4}}],
        [{"Repeat": {"times": 0, "layers": ["ReLU"]}}],
        [],
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(validators: Validators, layers: list[Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validators["spec"].validate({"layers": layers})


COMMANDS = [
    ("show",),
    ("show", "--values"),
    ("init", "--scheme", "normal"),
    ("share",),
    ("edit", "--add", "1"),
    ("show", "--device", "meta"),
]


SOME = ("mlp", "shared", "tied")
"""The specs that every command is tried on."""


@each(
    ("name", "command"),
    [(name, command) for name in NAMES for command in COMMANDS if name in SOME or command == ("show",)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_its_report_satisfies_the_schema_of_reports(
    run: Run, validators: Validators, name: str, command: tuple[str, ...]
) -> None:
    validators["report"].validate(run(command[0], name, *command[1:], "--json").report)


def test_a_failure_satisfies_the_schema_too(run: Run, validators: Validators) -> None:
    validators["report"].validate(run("show", "nope.yaml", "--json").report)


def test_the_keys_of_the_report_are_pinned(run: Run) -> None:
    """Within a version keys may be added; none may go or move."""
    report = run("show", "mlp", "--json").report
    assert list(report)[:15] == [
        "schema", "version", "command", "source", "environment", "model", "parameters", "totals", "sharing", "forward",
        "uses", "layers", "verdicts", "findings", "errors",
    ]  # fmt: skip
    row = report["parameters"][0]
    assert list(row)[:16] == [
        "name", "aliases", "module", "module_type", "kind", "shape", "dtype", "numel", "bytes", "device",
        "requires_grad", "identity", "storage", "values", "gradient", "init",
    ]  # fmt: skip
    figures = ["mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf"]
    assert list(row["values"])[:9] == figures
    assert list(row["gradient"])[:10] == ["status", *figures]
    assert list(row["init"])[:4] == ["scheme", "args", "expected_mean", "expected_std"]
    assert list(report["totals"])[:9] == [
        "parameters", "trainable", "frozen", "as_named", "bytes", "buffers", "buffer_bytes", "unregistered", "unknown",
    ]  # fmt: skip
    assert list(report["layers"][0])[:9] == [
        "index", "module", "type", "out", "grad", "expected", "dead", "saturated", "cosine",
    ]  # fmt: skip
    assert list(report["environment"])[:6] == ["paraminspect", "torch", "python", "device", "dtype", "seed"]
