"""`code` prints a script that gives the same tensors, loss and gradients, to the bit, without this package."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cases import each
from tests.conftest import CONFIGS, Ran

Run = Callable[..., Ran]
Write = Callable[..., Path]


def execute(source: str) -> dict[str, Any]:
    """Run a script in a namespace of its own and return it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch itself warns about some layers
        exec(compile(source, "script.py", "exec"), namespace)
    return namespace


def bits(tensor: torch.Tensor | None) -> list[Any] | None:
    return None if tensor is None else tensor.detach().tolist()


def assert_same(report: dict[str, Any], script: dict[str, Any]) -> None:
    """Compare every parameter, gradient, the output and the loss."""
    net = script["net"]
    parameters = dict(net.named_parameters())
    rows = [row for row in report["parameters"] if row["kind"] == "parameter"]
    assert [row["name"] for row in rows] == list(parameters)
    for row in rows:
        parameter = parameters[row["name"]]
        assert row["data"] == bits(parameter) or parameter.numel() > 1000
        assert row["values"]["l2"] == pytest.approx(parameter.detach().double().norm().item(), rel=1e-12)
        assert row["gradient"]["data"] == bits(parameter.grad) or parameter.numel() > 1000
    assert report["forward"]["loss"] == script["loss"].item()
    aliases = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    assert aliases == {name for row in rows for name in (row["name"], *row["aliases"])}


@each("config", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_config_as_a_script(run: Run, config: str) -> None:
    source = run("code", CONFIGS / config).out
    assert "paraminspect" not in source.partition("\n")[2]
    assert_same(run("show", CONFIGS / config, "--values", "--json").report, execute(source))


SPECS = {
    "slices": """
layers:
  - Embedding: {num_embeddings: 12, embedding_dim: 4, padding_idx: 0}
  - MLP: {sizes: [4, 6, 3], activation: Tanh}
input: {shape: [2, 5], dtype: int64, sample: "0..11"}
init:
  - {params: "*.weight", scheme: normal, std: 0.02}
  - {params: "0.weight[padding]", scheme: ones}
  - {params: "*.bias[:2]", scheme: constant, val: 1}
  - {params: "0.weight[-3:]", scheme: xavier_uniform}
  - {params: "0.weight[0:5]", scheme: truncated_normal}
  - {params: "1.weight[0:3]", scheme: gain_normal, nonlinearity: auto}
""",
    "slices, each of its own": """
layers: [Linear: [4, 6], Linear: [6, 4]]
seed_per_parameter: true
init:
  - {params: "*weight[:2]", scheme: normal}
  - {params: "*weight[2:]", scheme: orthogonal}
""",
    "names": "layers: [{name: hidden, Linear: [4, 3]}, Tanh, {name: out, Linear: [3, 2]}]",
    "ref to a named layer": "layers: [{name: a, Linear: [3, 3]}, ReLU, {ref: a, name: b}, ref: 0]",
    "ref to a group": "layers: [Sequential: [Linear: [3, 3], Tanh], ReLU, ref: 0]",
    "repeat": "layers: [Repeat: {times: 3, layers: [Linear: [4, 4], ReLU]}, Linear: [4, 2]]",
    "repeat with a ref": "layers: [Linear: [4, 4], Repeat: {times: 2, layers: [Tanh, ref: 0]}]",
    "repeat beside names": "layers: [{name: stem, Linear: [4, 4]}, Repeat: {times: 2, layers: [Linear: [4, 4]]}]",
    "nested repeat": "layers: [Repeat: {times: 2, layers: [Repeat: {times: 2, layers: [Linear: [3, 3]]}, Tanh]}]",
    "residual": "layers: [Residual: [Linear: [4, 4], Residual: [Tanh]]]",
    "mlp": "layers: [MLP: {sizes: [4, 8, 8, 2], activation: GELU, bias: false}]",
    "named mlp": "layers: [{name: net, MLP: {sizes: [4, 8, 2], activation: {LeakyReLU: 0.2}}}]",
    "float64": "layers: [Linear: [4, 3]]\ndtype: float64",
    "a layer's own dtype": "layers: [Linear: {in_features: 4, out_features: 3, dtype: float64}]",
    "bfloat16": "layers: [Linear: [4, 3]]\ndtype: bfloat16\ninit: [{params: '*', scheme: uniform}]",
    "dropout": "layers: [Linear: [4, 30], Dropout: 0.5, Linear: [30, 2]]",
    "batchnorm": "layers: [Linear: [4, 5], BatchNorm1d: 5]\ninput: {shape: [6, 4], sample: normal}",
    "convolution": "layers: [Conv2d: [3, 4, 3], ReLU, Flatten, LazyLinear: 2]\ninput: [2, 3, 8, 8]",
    "embedding": "layers: [Embedding: [10, 4], Linear: [4, 10]]\nloss: cross_entropy",
    "lstm": "layers: [LSTM: [4, 3]]\ninput: [2, 5, 4]",
    "encoder layer": "layers: [TransformerEncoder: [{TransformerEncoderLayer: [8, 2, 16]}, 2]]\ninput: [3, 2, 8]",
    "nested lstm": "layers: [Linear: [4, 4], Sequential: [Linear: [4, 4], LSTM: [4, 3]]]\ninput: [2, 5, 4]",
    "lstm by reference": "layers: [LSTM: [4, 4]]\ninput: [2, 5, 4]\nloss: cross_entropy",
    "indices": "layers: [Conv1d: [2, 3, 1], MaxPool1d: {kernel_size: 2, return_indices: true}]\ninput: [1, 2, 8]\nloss: mse",
    "mse": "layers: [Linear: [4, 3]]\nloss: mse",
    "mean": "layers: [Linear: [4, 3]]\nloss: mean",
    "random": "layers: [Linear: [4, 3]]\nloss: random",
    "random in float64": "layers: [Linear: [4, 3]]\nloss: random\ndtype: float64",
    "random in bfloat16": "layers: [Linear: [4, 3]]\nloss: random\ndtype: bfloat16",
    "random, a layer's own dtype": "layers: [Linear: {in_features: 4, out_features: 3, dtype: float64}]\nloss: random",
    "random, several outputs": "layers: [LSTM: [4, 3]]\ninput: [2, 5, 4]\nloss: random",
    "random behind dropout": "layers: [Linear: [4, 30], Dropout: 0.5]\nloss: random",
    "ones": "layers: [Linear: [4, 3]]\ninput: {shape: [2, 4], sample: ones}",
    "big seed": "seed: 18446744073709551615\nlayers: [Linear: [4, 3]]",
    "three ties": "layers: [Linear: [3, 3], Linear: [3, 3], Linear: [3, 3]]\nties: [[0.weight, 2.weight, 1.weight]]",
    "rules on a tie": (
        "layers: [Linear: [3, 3], Linear: [3, 3]]\nties: [[1.weight, 0.weight]]\n"
        "init: [{params: '1.weight', scheme: normal}, {params: '*.bias', scheme: uniform, a: -1}]"
    ),
    "every scheme of ours": (
        "layers: [Linear: [6, 5], Linear: [5, 4], Linear: [4, 3], Linear: [3, 2]]\n"
        "init: [{params: 0.weight, scheme: lecun_normal}, {params: 1.weight, scheme: lecun_uniform},"
        " {params: 2.weight, scheme: variance_scaling, mode: fan_avg, distribution: truncated_normal},"
        " {params: 3.weight, scheme: textbook}]"
    ),
    "schemes of ours that cut or scale": (
        "layers: [Linear: [6, 5], Linear: [5, 4], Linear: [4, 3], Linear: [3, 2]]\n"
        "init: [{params: 0.weight, scheme: truncated_normal, std: 0.1}, {params: 1.weight, scheme: identity, gain: 2},"
        " {params: 2.weight, scheme: mup_readout, base_width: 2},"
        " {params: 3.weight, scheme: variance_scaling, mode: fan_geo_avg}]"
    ),
    "gains": (
        "layers: [Linear: [6, 5], GELU, Linear: [5, 4]]\n"
        "init: [{params: 0.weight, scheme: gain_normal, nonlinearity: gelu},"
        " {params: 2.weight, scheme: gain_uniform, nonlinearity: 'elu:alpha=0.5', keep: gradient, mode: fan_out}]"
    ),
    "what follows": (
        "layers: [Linear: [6, 5], Tanh, {name: a, Linear: [5, 5]}, Residual: [{LeakyReLU: 0.2}, Linear: [5, 5]],"
        " {name: b, Linear: [5, 2]}]\n"
        "init: [{params: '*', scheme: critical}, {params: 'a.*', scheme: critical, nonlinearity: tanh, sigma_b2: 0.05},"
        " {params: 0.weight, scheme: gain_normal, keep: gradient}]"
    ),
    "what follows, tied": (
        "layers: [Linear: [4, 4], Tanh, Linear: [4, 4]]\nties: [[2.weight, 0.weight]]\n"
        "init: [{params: '*.weight', scheme: gain_uniform}]"
    ),
    "lsuv": (
        "layers: [MLP: {sizes: [4, 30, 20, 2], activation: Tanh}]\ninput: {shape: [16, 4], sample: normal}\n"
        "init: [{params: '*.weight', scheme: lsuv, tol: 0.01}]"
    ),
    "lsuv past dropout and batch norm": (
        "layers: [Conv1d: [2, 3, 3], BatchNorm1d: 3, Dropout: 0.5, Flatten, Linear: [18, 5], Dropout: 0.5]\n"
        "input: {shape: [9, 2, 8], sample: normal}\n"
        "init: [{params: 0.weight, scheme: lsuv, max_steps: 3}, {params: 4.weight, scheme: lsuv, tol: 0.001}]"
    ),
    "lsuv beside a layer without sizes": (
        "layers: [Conv1d: [2, 3, 3], ReLU, Flatten, LazyLinear: 4]\ninput: {shape: [9, 2, 8], sample: normal}\n"
        "init: [{params: 0.weight, scheme: lsuv}]"
    ),
    "lsuv of some": (
        "layers: [Linear: [4, 4], Tanh, Linear: [4, 4], ref: 0, Linear: [4, 4]]\nties: [[4.weight, 2.weight]]\n"
        "init: [{params: '*.weight', scheme: lsuv}, {params: 2.weight, scheme: normal}]"
    ),
    "lsuv of a recurrent layer": (
        "layers: [LSTM: [4, 3]]\ninput: {shape: [7, 5, 4], sample: normal}\ninit: [{params: '*weight*', scheme: lsuv}]"
    ),
    "lsuv in half precision": (
        "layers: [Linear: [4, 6], Tanh, Linear: [6, 4]]\ndtype: bfloat16\n"
        "init: [{params: '*.weight', scheme: lsuv, tol: 0.05}]"
    ),
    "lsuv that nothing is left of": (
        "layers: [Linear: [4, 6]]\ninit: [{params: 0.weight, scheme: lsuv}, {params: 0.weight, scheme: zeros}]"
    ),
    "overridden rules draw too": (
        "layers: [Linear: [6, 5], Linear: [5, 4]]\n"
        "init: [{params: '*.weight', scheme: normal}, {params: 0.weight, scheme: kaiming_uniform}]"
    ),
    "orthogonal in half precision": "layers: [Linear: [4, 4]]\ndtype: bfloat16\ninit: [{params: 0.weight, scheme: orthogonal}]",
    "a name like a number": "layers: [{name: '5', Linear: [3, 3]}, {name: '0', Linear: [3, 3]}]\nties: [['0.weight', '5.weight']]",
    "a strange name": "layers: [{name: 'a b', Linear: [3, 3]}, Linear: [3, 3]]\nties: [['1.weight', 'a b.weight']]",
    "a title with quotes": 'name: "a\\"\\"\\" \\\\ b"\nlayers: [Linear: [3, 3]]',
}


@each("text", SPECS.values(), ids=SPECS)
def test_every_construct_as_a_script(run: Run, spec: Write, text: str) -> None:
    path = spec(text)
    assert_same(run("show", path, "--values", "--json").report, execute(run("code", path).out))


def test_options_go_into_the_script(run: Run) -> None:
    flags = (
        CONFIGS / "mlp.yaml",
        "--seed",
        7,
        "--input",
        "5,4:float32:normal",
        "--loss",
        "mean",
        "--scheme",
        "xavier_normal",
    )
    flags = (*flags, "--bias", "normal:std=0.1", "--rule", "2.weight=orthogonal")
    assert_same(run("show", *flags, "--values", "--json").report, execute(run("code", *flags).out))


NORMED = {
    "batch norm": "layers: [Conv1d: [2, 3, 3], BatchNorm1d: 3, PReLU, Flatten, Linear: [18, 4]]\ninput: [5, 2, 8]",
    "a norm of two dimensions": "layers: [Linear: [4, 4], LayerNorm: [[4, 4]], PReLU, Linear: [4, 2]]\ninput: [2, 4, 4]",
    "norms of two classes": "layers: [RMSNorm: [[4, 4]], LayerNorm: [[4, 4]], Linear: [4, 2]]\ninput: [2, 4, 4]",
    "a lazy norm": "layers: [Conv1d: [2, 3, 3], LazyBatchNorm1d, Flatten, Linear: [18, 4]]\ninput: [5, 2, 8]",
    "packed": "layers: [TransformerEncoderLayer: [8, 2, 16, 0.0]]\ninput: [3, 2, 8]",
    "ties": (
        "layers: [Linear: [4, 4], LayerNorm: [[4, 4]], Linear: [4, 4], LayerNorm: 4]\n"
        "ties: [[2.weight, 0.weight]]\ninput: [2, 4, 4]"
    ),
}


@each("text", NORMED.values(), ids=NORMED)
@each("scheme", ["kaiming_normal", "normal:std=0.02", "lsuv"])
def test_norms_are_left_alone_in_the_script_too(run: Run, spec: Write, text: str, scheme: str) -> None:
    if scheme == "lsuv" and "Lazy" in text:
        scheme = "orthogonal"
    flags = (spec(text), "--scheme", scheme, "--bias", "normal")
    assert_same(run("show", *flags, "--values", "--json").report, execute(run("code", *flags).out))


def test_what_a_script_leaves_alone_is_said_where_it_matters(run: Run, spec: Write) -> None:
    plain = run("code", "mlp", "--scheme", "normal", "--bias", "zeros").out
    assert 'if "weight" in name.rpartition(".")[2]:\n' in plain and "norms" not in plain
    vectors = run("code", "cnn", "--scheme", "normal").out
    assert 'if "weight" in name.rpartition(".")[2] and parameter.dim() >= 2:\n' in vectors and "norms" not in vectors
    shifts = run("code", "cnn", "--bias", "zeros").out
    assert 'if "bias" in name.rpartition(".")[2] and name not in norms:\n' in shifts
    assert "isinstance(module, nn.BatchNorm2d)\n" in shifts
    gains = run("code", spec(NORMED["norms of two classes"]), "--scheme", "normal").out
    assert "isinstance(module, (nn.LayerNorm, nn.RMSNorm))\n" in gains


def test_the_scheme_that_was_settled_stands_beside_its_numbers(run: Run, spec: Write) -> None:
    source = run("code", spec("layers: [Linear: [4, 3], Tanh, Linear: [3, 2]]"), "--scheme", "critical").out
    first, last = "net[0].weight, sigma_w2=1.0, sigma_b2=0.0", "net[2].weight, sigma_w2=1.0, sigma_b2=0.0"
    wanted = f"critical_({first})  # critical:nonlinearity=tanh\ncritical_({last})  # critical:nonlinearity=linear\n"
    assert wanted in source
    assert "fnmatch" not in source


def test_every_function_stands_once_in_the_script(run: Run, spec: Write) -> None:
    rules = ("--rule", "0.weight=lecun_normal", "--rule", "2.weight=truncated_normal")
    assert run("code", "mlp", *rules).out.count("def truncated_normal_(") == 1


def test_a_scheme_that_looks_at_the_input_needs_one(run: Run, spec: Write) -> None:
    path = spec("layers: [Conv2d: [3, 4, 3], Flatten, LazyLinear: 2]")
    ran = run("code", path, "--rule", "0.weight=lsuv")
    assert (ran.code, ran.out) == (2, "")
    assert (
        ran.err
        == "error: lsuv: the scheme looks at the input, which is not known\n  pass --input, e.g. --input 64,784\n"
    )


def test_on_the_meta_device_nothing_is_scaled(run: Run) -> None:
    source = run("code", "mlp", "--device", "meta", "--scheme", "lsuv").out
    assert "lsuv_(net" not in source and execute(source)["Y"].is_meta


def test_a_users_function_goes_into_the_script(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def init_weight_(weight):\n    weight.uniform_(-3, 3)\n")
    flags = (CONFIGS / "mlp.yaml", "--scheme", f"{file}:init_weight_")
    source = run("code", *flags).out
    assert_same(run("show", *flags, "--values", "--json").report, execute(source))


@pytest.mark.parametrize("layers", ["Linear: [4, 3]", "LSTM: [4, 3]"])
def test_a_users_loss_goes_into_the_script(run: Run, spec: Write, tmp_path: Path, layers: str) -> None:
    file = tmp_path / "losses.py"
    file.write_text("def square(output):\n    y = output[0]\n    return y.square().mean()\n")
    flags = (spec(f"layers: [{layers}]\ninput: [2, 5, 4]"), "--loss", f"{file}:square")
    assert_same(run("show", *flags, "--values", "--json").report, execute(run("code", *flags).out))
    function = run("code", "mlp", "--loss", "torch.linalg:vector_norm").out
    assert "from torch.linalg import vector_norm\n" in function
    assert "\nloss = vector_norm(Y)\n" in function


def test_the_random_loss_of_a_complex_network(run: Run, spec: Write) -> None:
    path = spec("layers: [Linear: [4, 3]]\nloss: random\ndtype: complex64")
    report, script = run("show", path, "--json").report, execute(run("code", path).out)
    assert report["forward"]["loss"] == script["loss"].item()
    wanted = [p.grad.abs().double().square().mean().sqrt().item() for p in script["net"].parameters()]
    assert [row["gradient"]["rms"] for row in report["parameters"]] == pytest.approx(wanted, rel=1e-6)


def test_the_random_loss_of_one_output_reads_as_one_would_write_it(run: Run) -> None:
    text = run("code", "mlp", "--loss", "random").out
    wanted = "C = torch.randn(Y.shape)\nC = C / torch.linalg.vector_norm(C)\nloss = (C * Y).sum()\n"
    assert wanted in text
    assert execute(run("code", "mlp", "--loss", "random", "--device", "meta").out)["loss"].is_meta


def test_on_the_meta_device_shapes_agree(run: Run) -> None:
    namespace = execute(run("code", CONFIGS / "mlp.yaml", "--device", "meta").out)
    assert namespace["Y"].is_meta
    assert {name: tuple(p.shape) for name, p in namespace["net"].named_parameters()} == {
        row["name"]: tuple(row["shape"])
        for row in run("show", CONFIGS / "mlp.yaml", "--device", "meta", "--json").report["parameters"]
    }
