"""What is expected of a model beside the rules, and what a baseline lets pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from paraminspect.rules.digest_list import digests_as_text, digests_in
from paraminspect.rules.expectation_rules import TensorDigest
from tests.cases import each
from tests.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(ran: Ran) -> list[tuple[str, str]]:
    return [(finding["rule"], finding["message"]) for finding in ran.report["findings"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--expect-total", "19"], []),
        (
            ["--expect-total", "1_000"],
            [("PI001", "there are 19 parameters, not the 1,000 that are expected: 981 fewer")],
        ),
        (["--max-parameters", "19"], []),
        (["--max-parameters", "0.018k"], [("PI002", "there are 19 parameters; at most 18 are allowed")]),
        (["--max-bytes", "76"], []),
        (["--max-bytes", "75B"], [("PI003", "parameters and buffers take 76 bytes; at most 75 bytes are allowed")]),
        (["--max-bytes", "75B", "--ignore", "PI003"], []),
    ],
)
def test_sizes(run: Run, options: list[str], expected: list[tuple[str, str]]) -> None:
    """The mlp is 4-3-1 with biases: 4*3 + 3 + 3 + 1 = 19 parameters of four bytes."""
    ran = run("check", "mlp", "--no-forward", "--json", *options)
    assert (ran.code, found(ran)) == (bool(expected), expected)
    if expected:
        assert ran.report["headline"]["text"] == expected[0][1]


def test_ties(run: Run) -> None:
    assert run("check", "tied", "--expect-shared", "embedding.weight=head.weight").code == 0
    ran = run("check", "mlp", "--no-forward", "--expect-shared", "0.weight=2.weight", "--json")
    assert found(ran) == [("PI004", "0.weight and 2.weight should be one tensor, and are two")]
    ran = run("check", "mlp", "--no-forward", "--expect-shared", "0.weight=head.weight", "--json")
    assert found(ran) == [("PI004", "head.weight should share memory, and there is no tensor of that name")]


def test_digests_are_those_of_hashlib_for_models_and_files_alike(run: Run) -> None:
    """What a model is saved as has the digests of the model, and one element more or less shows."""
    assert run("init", "mlp", "--scheme", "normal", "--save", "mlp.safetensors").code == 0
    assert (
        run("check", "mlp", "--scheme", "normal", "--write-digest", "mlp.txt").err
        == "note: wrote the digests of 4 tensors to mlp.txt\n"
    )
    assert run("check", "mlp.safetensors", "--write-digest", "file.txt").code == 0
    text = Path("mlp.txt").read_text(encoding="utf-8")
    assert sorted(text.splitlines()) == sorted(Path("file.txt").read_text(encoding="utf-8").splitlines())
    values = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    torch.save({"w": values["w"].t().contiguous().t(), "n": values["n"]}, "strided.pt")
    save_file(values, "plain.safetensors")
    assert run("check", "plain.safetensors", "--write-digest", "plain.txt").code == 0
    lines = Path("plain.txt").read_text(encoding="utf-8").splitlines()[2:]
    whole = hashlib.sha256(b"float32 2x3\n" + values["w"].numpy().tobytes()).hexdigest()
    assert f"{whole[:16]}  float32  2x3  w" in lines
    assert run("check", "strided.pt", "--expect-digest", "plain.txt").code == 0
    save_file({"w": values["w"] + 1, "m": values["n"]}, "plain.safetensors")
    ran = run("check", "plain.safetensors", "--expect-digest", "plain.txt", "--json")
    assert found(ran) == [
        ("PI005", "1 tensor differs from plain.txt: w"),
        ("PI005", "1 tensor of plain.txt is missing: n"),
        ("PI005", "1 tensor is not in plain.txt: m"),
    ]
    assert run("check", "plain.safetensors", "--expect-digest", "plain.txt", "--ignore", "PI005:?").code == 0


def test_a_list_of_digests_keeps_any_name() -> None:
    names = ["a b", " edge", '"q"', "line\nbreak", "ünï", "#x", "\ud800", "tab\t"]
    digests = {name: TensorDigest("0" * 16, "float32", (2, number)) for number, name in enumerate(names)}
    digests["scalar"] = TensorDigest(None, "int64", ())
    assert digests_in("".join(digests_as_text(digests)), "x.txt") == digests


def test_old_findings_pass_and_new_ones_do_not(run: Run) -> None:
    def write(layers: str) -> None:
        code = f"from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        {layers}\n"
        Path("broken.py").write_text(f"{code}    def forward(self, x):\n        return self.a(x)\n", encoding="utf-8")

    write("self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)")
    first = run("check", "broken.py:Net", "mlp", "--write-baseline", "known.json")
    assert (first.code, first.err) == (0, "note: wrote a baseline of 1 finding to known.json\n")
    assert json.loads(Path("known.json").read_text(encoding="utf-8")) == {
        "schema": "paraminspect.baseline",
        "version": 1,
        "sources": {"broken.py:Net": {"PI301": ["b.weight", "b.bias"]}, "mlp": {}},
    }
    second = run("check", "broken.py:Net", "--baseline", "known.json")
    assert (second.code, second.out.splitlines()[-1][:43]) == (0, "no problem found that the baseline has not ")
    write("self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)")
    third = run("check", "broken.py:Net", "--baseline", "known.json", "--json")
    assert (third.code, third.report["findings"][0]["names"]) == (1, ["c.weight", "c.bias"])
    assert run("check", "mlp", "--write-baseline", "broken.json").code == 0


@each(
    ("options", "text", "error"),
    [
        (["--baseline", "f.json"], None, "--baseline: cannot read 'f.json': no such file or directory\n"),
        (["--baseline", "f.json"], "{", "f.json:1:2: is no baseline: not valid JSON\n"),
        (["--baseline", "f.json"], "[]", "f.json: is no baseline\n"),
        (
            ["--baseline", "f.json"],
            '{"schema": "paraminspect.report"}',
            "f.json: is no baseline, but a paraminspect.rep",
        ),
        (
            ["--baseline", "f.json"],
            '{"schema": "paraminspect.baseline", "version": 2}',
            "f.json: is a baseline of vers",
        ),
        (
            ["--baseline", "f.json"],
            '{"schema": "paraminspect.baseline", "version": 1, "sources": {"a": {"b": [1]}}}',
            "f.json: is a damaged baseline: ",
        ),
        (["--write-baseline", "f.json"], "mine", "--write-baseline: 'f.json' is there already, and is no baseline"),
        (["--write-baseline", "f.txt"], None, "--write-baseline: 'f.txt' does not end in .json\n"),
        (
            ["--baseline", "f.json", "--write-baseline", "g.json"],
            None,
            "--baseline: not together with --write-baseline",
        ),
        (["--expect-digest", "f.txt"], "x", "f.txt: is no list of digests\n"),
        (["--expect-digest", "f.txt"], "# paraminspect digests, version 2", "f.txt:1: is a list of another version\n"),
        (["--expect-digest", "f.txt"], "# paraminspect digests, version 1\nabc", "f.txt:2: is no line of digest, "),
        (
            ["--expect-digest", "f.txt", "cnn"],
            "# paraminspect digests, version 1\n",
            "--expect-digest: a list of digests ",
        ),
        (["--expect-total", "25M"], None, "--expect-total: '25M' is no number of parameters\n"),
        (["--max-bytes", "big"], None, "--max-bytes: 'big' is no size\n"),
        (["--expect-shared", "a="], None, "--expect-shared: 'a=' is no pair of names\n"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(run: Run, options: list[str], text: str | None, error: str) -> None:
    if text is not None:
        Path(options[1]).write_text(text, encoding="utf-8")
    ran = run("check", "mlp", *options)
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(f"error: {error}")
