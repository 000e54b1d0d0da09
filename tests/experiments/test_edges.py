"""Corners that once went wrong: each with the whole message or figure it should give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from paraminspect.cli.app import main
from tests.conftest import Ran
from tests.script.test_write import assert_same, execute

Run = Callable[..., Ran]
Write = Callable[..., Path]


def test_a_file_whose_name_looks_like_an_option_runs_no_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("print('ran')\ndef f(w): w.zero_()\n")
    (tmp_path / "--x.yaml").write_text("layers: [Linear: [2, 2]]\ninit: [{params: '*', scheme: 'evil.py:f'}]")
    ran = run("show", "--", "--x.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: --x.yaml:2:30: scheme 'evil.py:f' is Python code\n")


def test_references_to_references_are_counted_before_they_are_built(run: Run, spec: Write) -> None:
    text = "Linear: [2, 2]"
    for _ in range(25):
        text = f"Sequential: [{text}, ref: 0]"
    ran = run("show", spec(f"layers: [{text}]"))
    assert (ran.code, ran.out) == (2, "")
    assert "the network would have 1,0" in ran.err
    assert ran.err.endswith("module names or more, 1,000,000 are the most\n  repeat fewer layers\n")


def test_a_failing_backward_is_called_a_backward(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: [Linear: [3, 3], Sigmoid, {ReLU: [true]}]"), "--json")
    assert ran.code == 2
    (error,) = ran.report["errors"]
    assert (error["code"], error["where"]) == ("backward-failed", "backward")
    assert error["message"].startswith("the backward failed: one of the variables needed for gradient computation")
    assert ran.report["forward"]["error"]["phase"] == "backward"


def test_a_complex_network_has_no_loss(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: [Linear: [3, 3]]\ndtype: complex64"))
    assert ran.code == 2
    assert (
        ran.err
        == "error: loss: the loss failed: the sum needs a floating-point output, got complex64; try --loss random\n"
    )
    assert "12 parameters" in ran.out


def test_a_layer_of_low_precision_in_a_script(run: Run, spec: Write) -> None:
    layers = "layers: [Linear: {in_features: 4, out_features: 4, dtype: bfloat16}]"
    path = spec(layers + "\ninit: [{params: 0.weight, scheme: orthogonal}]")
    assert_same(run("show", path, "--values", "--json").report, execute(run("code", path).out))


NESTED = "layers: [{name: m, Sequential: [{name: a, Linear: [2, 2]}, {name: b, Linear: [2, 2]}]}]\n"


def test_a_tie_is_declared_also_as_seen_from_its_layer(run: Run, spec: Write) -> None:
    path = spec(NESTED + "ties: [[m.b.weight, m.a.weight]]")
    for flags in ((), ("--layer", "m")):
        (group,) = run("share", path, *flags, "--json").report["sharing"]
        assert group["declared"] is True
        assert group["same_module"] is False


def test_share_shows_the_groups_that_are_asked_for(run: Run, spec: Write) -> None:
    path = spec("layers: [Linear: [2, 2], ref: 0]")
    assert [g["names"] for g in run("share", path, "--params", "1.b*", "--json").report["sharing"]] == [
        ["0.bias", "1.bias"]
    ]


def test_a_shared_lazy_parameter_has_no_size_yet(run: Run, spec: Write) -> None:
    report = run("share", spec("layers: [LazyLinear: 3, ref: 0]\ninput: [2, 4, 5, 6]"), "--json").report
    assert all(row["numel"] is not None for row in report["parameters"]) or report["sharing"][0]["numel"] is None
    unknown = run("show", spec("layers: [LazyConv1d: [3, 2], ref: 0]"), "--json").report
    assert [(g["numel"], g["bytes"]) for g in unknown["sharing"]] == [(None, None), (None, None)]
    assert unknown["totals"]["unknown"] == 2


def test_a_layer_that_returns_a_tuple_is_a_call_too(run: Run, spec: Write) -> None:
    (layer,) = run("show", spec("layers: [LSTM: [4, 3]]\ninput: [2, 5, 4]"), "--json").report["layers"]
    assert (layer["module"], layer["type"]) == ("0", "LSTM")
    assert layer["out"]["rms"] > 0
    assert layer["grad"]["rms"] == 1.0


def test_a_numbered_device_in_a_spec(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: [Linear: [2, 2]]\ndevice: 'cuda:99'"))
    assert ran.code == 2
    assert ran.err.startswith("error: device: cannot use 'cuda:99': ")


def test_editing_a_network_without_parameters(capsys: pytest.CaptureFixture[str], spec: Write) -> None:
    assert main(["edit", str(spec("layers: [Flatten]")), "--add", "1"]) == 2
    assert capsys.readouterr().err == "error: spec: the model has no parameters to edit\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [("2,4:zeros:ones", "two samples: zeros and ones"), ("2,4:float64:float32", "two dtypes: float64 and float32")],
)
def test_a_part_of_an_input_given_twice(run: Run, text: str, message: str) -> None:
    assert run("show", "mlp", "--input", text).err.startswith(f"error: --input {text}: {message}\n")


def test_values_and_numbers_are_of_the_same_moment(run: Run, spec: Write) -> None:
    """BatchNorm moves its statistics in the forward; what is shown is what was there before."""
    report = run("show", spec("layers: [Linear: [4, 4], BatchNorm1d: 4]\ninput: [5, 4]"), "--values", "--json").report
    row = next(row for row in report["parameters"] if row["name"] == "1.running_mean")
    assert row["values"]["mean"] == 0
    assert row["data"] == [0.0, 0.0, 0.0, 0.0]


def test_an_edit_is_measured_right_before_and_right_after(run: Run, spec: Write) -> None:
    """An Embedding with max_norm rescales its rows in the forward: that is not the edit's doing."""
    (row,) = run(
        "edit", spec("layers: [Embedding: {num_embeddings: 5, embedding_dim: 8, max_norm: 1}]"), "--add", 0, "--json"
    ).report["parameters"]
    assert row["before"] == row["values"]


@pytest.mark.parametrize(("flag", "value"), [("--add", "nan"), ("--mul", "inf"), ("--fill", "1e39")])
def test_an_edit_that_no_element_can_hold(run: Run, flag: str, value: str) -> None:
    ran = run("edit", "mlp", flag, value)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"error: {flag}: {float(value):g} does not fit '0.weight', which is float32\n  the largest is 3.40282e+38\n"
    )


def test_a_name_cannot_pass_for_a_line_of_the_report(run: Run, spec: Write) -> None:
    text = '{"layers": [{"Sequential": [{"name": "x\\ngradient  ok in 999 tensors\\nY", "Linear": [4, 4]}]}]}'
    for form in ("table", "plain"):
        out = run("show", spec(text, "forged.json"), "-f", form).out
        assert "\ngradient  ok in 999 tensors" not in out
        assert "(x\\x0agradient  ok in 999 tensors\\x0aY): Linear(" in out


def test_one_layer_of_a_shared_pair_says_where_the_other_is(run: Run) -> None:
    ran = run("show", "shared", "--layer", "1", "--json")
    assert ran.report["notes"] == ["'weight' of layer '1' is one Parameter with 0.weight, outside of it"]
    assert [(use["parameter"], use["gradient"]["mean"]) for use in ran.report["uses"]] == [
        ("weight", 3.0),
        ("weight", 3.0),
    ]


def test_identities_are_numbered_over_the_whole_model(run: Run) -> None:
    rows = run("show", "mlp", "--params", "2.*", "--json").report["parameters"]
    assert [(row["name"], row["identity"], row["storage"]) for row in rows] == [("2.weight", 3, 3), ("2.bias", 4, 4)]


def test_an_overflow_is_told_apart_from_the_unknown(run: Run) -> None:
    flags = ("--scheme", "constant:val=3e38", "--input", "2,4:ones", "--json")
    report = run("show", "mlp", *flags).report
    assert (report["forward"]["loss"], report["forward"]["loss_finite"]) == (None, False)
    assert report["layers"][0]["out"]["inf"] == 6
    assert {row["gradient"]["status"] for row in report["parameters"]} >= {"nonfinite"}
    meta = run("show", "mlp", "--device", "meta", "--json").report
    assert (meta["forward"]["loss"], meta["forward"]["loss_finite"]) == (None, None)


def test_whole_numbers_have_a_sum_and_no_gradient(run: Run, spec: Write) -> None:
    path = spec("layers: [Flatten]\ninput: {shape: [2, 4], dtype: int64, sample: 2..2}")
    report = run("show", path, "--json").report
    assert report["forward"]["loss"] == execute(run("code", path).out)["loss"].item() == 16


def test_a_layer_that_fails_for_another_reason_is_not_blamed_on_its_input(run: Run, spec: Write) -> None:
    ran = run("show", spec("layers: [Linear: {in_features: 4, out_features: 3, device: meta}]\ninput: [2, 4]"))
    assert ran.code == 2
    assert ran.err.startswith("error: layer '0': the forward failed: Linear got (2, 4) float32: ")
