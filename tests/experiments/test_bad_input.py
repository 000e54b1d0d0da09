"""Bad input, end to end: one message, exit code 2, nothing on stdout unless a static table can be shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cases import each
from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
Write = Callable[..., Path]
MLP = "layers: [Linear: [4, 3], ReLU, Linear: [3, 1]]\n"

SPECS = {
    "syntax": ("layers: [", "{path}:1:10: "),
    "duplicate key": ("seed: 1\nseed: 2\nlayers: [ReLU]", "{path}:2:1: "),
    "empty": ("", "{path}: the spec is empty"),
    "unknown class": (
        "layers: [Lineer: [4, 3]]",
        "{path}:1:10: layers[0]: unknown layer 'Lineer'\n  did you mean 'Linear'?",
    ),
    "unknown argument": (
        "layers: [Linear: {in_feature: 4}]",
        "{path}:1:19: layers[0].Linear.in_feature: Linear has no such argument\n  did you mean 'in_features'?",
    ),
    "negative size": (
        "layers: [Linear: [4, -3]]",
        "{path}:1:22: layers[0].Linear[1] (out_features) must be at least 1, got -3",
    ),
    "zero width": (
        "layers: [Linear: [4, 0]]",
        "{path}:1:22: layers[0].Linear[1] (out_features) must be at least 1, got 0",
    ),
    "nan": ("layers: [Dropout: .nan]", "{path}:1:19: "),
    "a trillion units": (
        "layers: [Linear: [1000000000000, 1000000000000]]",
        "{path}:1:10: the model would take 4,000,000,000,004,000,000,000,000 bytes",
    ),
    "ref to nothing": ("layers: [ReLU, ref: 7]", "{path}:1:21: ref: '7' is not a layer that stands before this one"),
    "ref to itself": ("layers: [ref: 0]", "{path}:1:15: ref points to itself"),
    "ties of different shapes": (
        MLP + "ties: [[0.weight, 2.weight]]",
        "{path}:2:8: cannot tie '0.weight' (3, 4) and '2.weight' (1, 3): shapes differ",
    ),
    "a glob that matches nothing": (
        MLP + "init: [{params: '*.wieght', scheme: ones}]",
        "{path}:2:37: '*.wieght' matches no parameter\n  did you mean ",
    ),
    "std below zero": (
        MLP + "init: [{params: '*', scheme: normal, std: -1}]",
        "{path}:2:30: std of normal must be at least 0; got -1",
    ),
    "a above b": (MLP + "init: [{params: '*', scheme: uniform, a: 2, b: 1}]", "{path}:2:30: "),
    "xavier on a bias": (
        MLP + "init: [{params: '*', scheme: xavier_normal}]",
        "{path}:2:30: xavier_normal needs at least 2 dimensions; parameter '0.bias' has shape (3,)\n  restrict the rule to weights, e.g. params: '*.weight'",
    ),
    "unknown scheme": (
        MLP + "init: [{params: '*', scheme: nromal}]",
        "{path}:2:30: unknown scheme 'nromal'\n  did you mean 'normal'?",
    ),
    "code in a spec": (
        MLP + "init: [{params: '*', scheme: 'os:getcwd'}]",
        "{path}:2:30: scheme 'os:getcwd' is Python code\n  a spec runs no code; pass --allow-code if you trust it, or name it with --scheme",
    ),
    "a lazy parameter": (
        "layers: [LazyLinear: 3]\ninit: [{params: '*', scheme: zeros}]",
        "{path}:2:30: parameter '0.weight' has no shape before the first forward\n  give the layer its sizes",
    ),
}


@each(("text", "message"), SPECS.values(), ids=SPECS)
def test_a_bad_spec(run: Run, spec: Write, text: str, message: str) -> None:
    path = spec(text)
    ran = run("show", path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: " + message.format(path=path))
    assert "Traceback" not in ran.err
    failed = run("show", path, "--json")
    assert failed.code == 2
    (error,) = failed.report["errors"]
    assert error["message"] in ran.err.replace("\n  ", " ")


def test_depth_is_bounded(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: " + "[" * 10_000 + "]" * 10_000))
    assert ran.code == 2
    assert "64" in ran.err


def test_a_billion_laughs(run: Run, spec: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    ran = run("show", spec("\n".join([*lines, "layers: *a9"])))
    assert ran.code == 2
    assert len(ran.err.splitlines()) <= 2


def test_a_missing_file_suggests_its_neighbour(run: Run, spec: Write) -> None:
    path = spec(MLP, "model.yaml")
    ran = run("show", path.parent / "modle.yaml")
    assert ran.code == 2
    assert "no such file" in ran.err
    assert "model.yaml" in ran.err


def test_an_unknown_name_lists_the_built_in_ones(run: Run) -> None:
    ran = run("show", "zzzz")
    assert ran.code == 2
    assert ran.err.startswith(
        "error: zzzz: no such file, and no built-in spec has this name\n"
        "  a class or function of yours: path/file.py:NAME; of a package: package.module:NAME\n  built-in: cnn, "
    )
    assert run("show", "sharedd").err.endswith("did you mean 'shared'?\n")


def test_a_source_that_is_not_there_or_holds_nothing_says_so(run: Run, tmp_path: Path) -> None:
    for source in ("model.safetensors", "a.pt", "memory://nowhere/m.safetensors"):
        ran = run("show", source)
        assert (ran.code, ran.err) == (2, f"error: {source}: no such file\n")
    assert "is a folder" in run("show", tmp_path).err


def test_a_file_named_like_a_built_in_wins(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlp").write_text("name: mine\nlayers: [Linear: [2, 2]]")
    monkeypatch.chdir(tmp_path)
    source = {"kind": "spec", "name": "mine", "path": "mlp", "options": []}
    assert run("show", "mlp", "--json").report["source"] == source
    (tmp_path / "mlp").unlink()
    (tmp_path / "mlp").mkdir()
    assert run("show", "mlp", "--json").report["source"]["name"] == "mlp"


def test_shapes_that_do_not_chain_still_show_the_static_table(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: [Linear: [4, 3], Linear: [5, 1]]\ninput: [2, 4]"), "--json")
    assert ran.code == 2
    report = ran.report
    assert [row["name"] for row in report["parameters"]] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert report["totals"]["parameters"] == 21
    assert {row["gradient"]["status"] for row in report["parameters"]} == {"not-run"}
    assert report["forward"]["error"]["module"] == "1"
    message = "the forward failed: Linear expects (…, 5) of float32, got (2, 3) float32 (mat1 and mat2 shapes cannot be multiplied (2x3 and 5x1))"
    assert report["errors"] == [{"code": "forward-failed", "message": message, "where": "layer '1'"}]
    assert ran.err == f"error: layer '1': {message}\n"


def test_an_input_of_the_wrong_dtype(run: Run) -> None:
    ran = run("show", CONFIGS / "mlp.yaml", "--input", "2,4:float64")
    assert ran.code == 2
    assert "layer '0': the forward failed: Linear expects (…, 4) of float32, got (2, 4) float64" in ran.err
    assert "19 parameters" in ran.out


HOSTILE = "x\x1b[31m\u202e[/red]\n"


def test_names_with_control_characters_and_markup(run: Run, spec: Write) -> None:
    text = '{"layers": [{"name": "x\\u001b[31m\\u202e[/red]\\n", "Linear": [2, 2]}], "name": "\\u001b]52;c;x\\u0007"}'
    path = spec(text, "hostile.json")
    for form in ("table", "plain", "markdown", "csv"):
        ran = run("show", path, "-f", form)
        assert ran.code == 0
        assert not any(c in ran.out for c in "\x1b\x07\u202e")
    assert run("show", path, "--json").report["parameters"][0]["name"] == HOSTILE + ".weight"


def test_nothing_is_left_behind(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def f(w): w.zero_()\n")
    for argv in (("show",), ("init", "--scheme", "mine.py:f"), ("code",), ("show", "nope.yaml"), ("schema", "spec")):
        run(*argv)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py"]
