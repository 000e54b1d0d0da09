"""What a newcomer types, and what the message says to type instead: that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from paraminspect import output
from paraminspect.init.schemes.scheme_slips import meant as meant_scheme
from paraminspect.spec.input_slips import meant_input
from paraminspect.spec.inputs import parse_input
from tests.conftest import Ran

Run = Callable[..., Ran]

NET = """\
from torch import nn


class Data:
    pass


class Net(nn.Module):
    def __init__(self, width=3, deep=False):
        super().__init__()
        self.lin = nn.Linear(4, width)

    def forward(self, x):
        return self.lin(x)


def make(n=2):
    return nn.Linear(n, n)
"""
HUB = "transformers:AutoModel.from_pretrained --arg pretrained_model_name_or_path="
INSTEAD = {
    # what has no command, or options in front of it
    "model.py:Net": "show model.py:Net",
    "mlp": "show mlp",
    "configs.yaml": None,
    "mlp --values": "show mlp --values",
    "--values show mlp": "show --values mlp",
    "info mlp": "show mlp",
    "gradients mlp --seed 3": "grad mlp --seed 3",
    "shwo mlp": "show mlp",
    "version": "--version",
    "-v": "--version",
    "list": "show cnn",
    # SOURCE
    "show model.py": "model.py:Net",
    "show model": "model:Net",
    "show model.py:": "model.py:Net",
    "show Net": "model.py:Net",
    "show make": "model.py:make",
    "show model.py.Net": "model.py:Net",
    "show model.Net": "model:Net",
    "show model/Net": "model.py:Net",
    "show there/model.py:Net": "model.py:Net",
    "show ./model.py::Net": "./model.py:Net",
    "show torch.nn.ReLU": "torch.nn:ReLU",
    "show 'model.py:Net()'": "model.py:Net",
    "show 'model.py:Net(width=5, deep=True)'": "model.py:Net --arg width=5 --arg deep=true",
    "show 'model.py:Net --arg width=5'": "model.py:Net --arg width=5",
    "show model.py Net": "show model.py:Net",
    "show .": "model.py:Net",
    "show model.onnx": "path/file.py:NAME",
    "show nb.ipynb": "file.py:NAME",
    "init nothing.pt": "path/file.py:NAME --weights nothing.pt",
    "show no.such.thing": "no.such:thing",
    "show bert-base-uncased": f"{HUB}bert-base-uncased",
    "show org/name-small": f"{HUB}org/name-small",
    "show https://huggingface.co/org/name": f"{HUB}org/name",
    "show described": "AutoModel.from_config(AutoConfig.from_pretrained('described'))",
    "show saved/config.json": f"{HUB}saved",
    "show described/config.json": "AutoModel.from_config(AutoConfig.from_pretrained('described/config.json'))",
    "show deep-rleu": "deep-relu",
    "show nowhere/mlp.yaml": "there is no folder 'nowhere'",
    # several words
    "show mlp tied": 'for each in mlp tied; do paraminspect show "$each"; done',
    "theory relu tanh": 'for each in relu tanh; do paraminspect theory "$each"; done',
    "init mlp normal": "init mlp --scheme normal",
    "show model.py:Net --input 2, 4": "--input 2,4",
    "show model.py:Net --arg width 5": "--arg width=5",
    "show model.py:Net --arg width=5,deep=true": "--arg width=5 --arg deep=true",
    "show model.py:Net --arg 'width=5 deep=true'": "--arg width=5 --arg deep=true",
    "show model.py:Net --arg width=5,depth=2": "--arg width=5 --arg depth=2",
    "init mlp --rule 0.weight zeros": "--rule 0.weight=zeros",
    "compare mlp --scheme normal zeros": "--scheme normal --scheme zeros",
    "show mlp --params 0.weight 2.weight": "--params 0.weight --params 2.weight",
    "show mlp --params model.py nb.ipynb": "--params '*.weight'",
    # options
    "show model.py:Net --width 5": "--arg width=5",
    "show mlp --shape 2,4": "--input",
    "show mlp --csv": "--format csv",
    "show mlp --gpu": "--device cuda",
    "show mlp -o out.json": "show mlp --json > report.json",
    "show mlp --format md": "markdown",
    "show mlp --device GPU": "cuda",
    "grad mlp --loss ce": "cross_entropy",
    "grad mlp --loss nn.MSELoss": "mse",
    "show mlp --params weight": "*weight*",
    "show model.py:Net --arg width:5": "--arg width=5",
    "show model.py:Net --arg --width=5": "--arg width=5",
    "init mlp --rule 0.weight:normal:std=0.02": "--rule 0.weight=normal:std=0.02",
    "edit mlp --set 0": "--fill",
    "init mlp --init zeros": "--scheme",
    "theory": "theory gelu",
    "help mlp": "show mlp",
}
TEXTS = (
    "show bert",
    "show org",
    "show https",
    "show saved",
    "show described",
    "show deep",
    "show nowhere",
    "show model.py:Net --arg width=5,depth",
    "show mlp -o",
    "show mlp tied",
    "theory relu",
    "init nothing.pt",
    "show model.onnx",
    "show nb.ipynb",
    "show no.such",
)


def test_the_message_says_what_to_type(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands for a whole command line, or for SOURCE, is run as well; an option takes its slip's place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(NET, encoding="utf-8")
    for name in ("nb.ipynb", "model.onnx"):
        (tmp_path / name).touch()
    for name in ("saved", "described"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}', encoding="utf-8")
    (tmp_path / "saved" / "model.safetensors").touch()
    works = set()
    for line, instead in INSTEAD.items():
        ran = run(*shlex.split(line))
        assert (ran.code, ran.out) == (2, ""), line
        assert instead is None or instead in ran.err, (line, ran.err)
        if instead and not line.startswith(TEXTS):
            works.add(corrected(line, instead))
    for right in sorted(works - {None}):
        assert run(*shlex.split(right)).code == 0, right


def corrected(line: str, instead: str) -> str | None:
    """Return the command line that the message leads to, None where it only names an option."""
    command, _, rest = line.partition(" ")
    if instead.partition(" ")[0] in ("show", "grad", "init", "theory", "help", "--version"):
        return instead
    if instead.startswith("--") and (" " in instead or "=" in instead):
        source = shlex.split(rest)[0]
        return None if "cuda" in instead else f"{command} {source} {instead}"
    return f"{command} {instead} --input 2,4" if "Net" in instead else None


SCHEMES = {
    "normal(std=0.01)": "normal:std=0.01",
    "normal(0, 0.01)": "normal:mean=0,std=0.01",
    "nn.init.normal_(0, 0.01)": "normal:mean=0,std=0.01",
    "normal std=0.01": "normal:std=0.01",
    "normal:std=0.01;mean=0": "normal:std=0.01,mean=0",
    "normal:std:0.01": "normal:std=0.01",
    "normal:0.01": "normal:std=0.01",
    "normal:sigma=0.01": "normal:std=0.01",
    "uniform(-1, 1)": "uniform:a=-1,b=1",
    "uniform:low=-1,high=1": "uniform:a=-1,b=1",
    "constant:0.1": "constant:val=0.1",
    "0": "zeros",
    "0.02": "constant:val=0.02",
    "He": "kaiming_normal kaiming_uniform",
    "glorot": "xavier_normal xavier_uniform",
    "gaussian": "normal",
    "kaiming_normal:relu": "kaiming_normal:nonlinearity=relu",
    "kaiming_normal:fan_out": "kaiming_normal:mode=fan_out",
    "kaiming_normal(mode='fan_out')": "kaiming_normal:mode=fan_out",
    "kaiming_normal:nonlinearity=ReLU": "kaiming_normal:nonlinearity=relu",
    "kaiming_normal:nonlinearity=gelu": "gain_normal:nonlinearity=gelu",
    "kaiming_uniform:nonlinearity=nn.SiLU,mode=fan_out": "gain_uniform:nonlinearity=silu,mode=fan_out",
    "nonlinearity=gelu": "gain_normal:nonlinearity=gelu",
    "nonlinearity=relu": "kaiming_normal:nonlinearity=relu",
    "xavier_normal:nonlinearity=relu": "gain_normal:nonlinearity=relu,mode=fan_avg",
    "normal:std=-1": "",
    "nothing(like=it)": "",
    "": "",
}
INPUTS = {
    "2x3": "2,3",
    "2x3x224x224": "2,3,224,224",
    "2×3": "2,3",
    "(2, 3)": "2,3",
    "[2,3]": "2,3",
    "(2,)": "2",
    "2 3": "2,3",
    "2*3": "2,3",
    "-1,3": "2,3",
    "None,3": "2,3",
    "torch.randn(2, 3)": "2,3:normal",
    "torch.zeros((2, 3))": "2,3:zeros",
    "2,3,float32": "2,3:float32",
    "2,3:float": "2,3:float32",
    "2,3:fp16:randn": "2,3:float16:normal",
    "2,3:long:0-9": "2,3:int64:0..9",
    "ids=(2, 3):int:0..9": "ids=2,3:int64:0..9",
    "shape=2x3": "2,3",
}


def test_schemes_in_other_words_are_understood(run: Run) -> None:
    """What is meant has been bound already: it is a scheme that runs."""
    assert {text: " ".join(meant_scheme(text)) for text in SCHEMES} == SCHEMES
    for text, meant in SCHEMES.items():
        if meant:
            assert f"did you mean {' or '.join(map(repr, meant.split()))}?" in run("init", "mlp", "--scheme", text).err


def test_inputs_in_other_words_are_understood(run: Run) -> None:
    assert {text: meant_input(text) for text in INPUTS} == INPUTS
    for text, meant in INPUTS.items():
        parse_input(meant)
        assert f"did you mean --input {meant}?" in run("show", "torch.nn:ReLU", f"--input={text}").err
    for text in ("float32", "x.npy", "2,0", "a,b", "", "2..3"):
        assert not re.search("did you mean --input", run("show", "torch.nn:ReLU", f"--input={text}").err)


def test_what_a_page_says_to_type_next_is_for_the_same_source(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec that is called otherwise than its file, with a fault of which the first line says what to type."""
    monkeypatch.chdir(tmp_path)
    spec = "name: deep\nlayers:\n  - Repeat: {times: 12, layers: [{Linear: [8, 8]}, Sigmoid]}\ninput: {shape: [2, 8]}\n"
    Path("net.yaml").write_text(spec, encoding="utf-8")
    said: list[str] = []
    monkeypatch.setattr(output, "suggest", lambda text, colour: said.append(text))
    for command in ("show", "grad", "summary"):
        said += re.findall(r"try: (paraminspect \w+ \S+)", run(command, "net.yaml").out)
    typed = {" ".join(line.split()[1:3]) for line in said}
    assert typed == {"grad net.yaml", "compare net.yaml", "summary net.yaml", "show net.yaml", "check net.yaml"}
    assert all(run(*line.split()).code == line.startswith("check") for line in typed)
    said.clear()
    chosen = ["--seed", "0", "--input", "2,8:float32:normal"]
    run("show", "net.yaml", "--scheme", "normal:std=0.01", *chosen, "--params", "*weight")
    told = [shlex.split(line.partition("  ")[0])[1:] for line in said]
    check = ["check", "net.yaml", "--scheme", "normal:std=0.01", *chosen, "--params", "*weight", "--select", "PI501"]
    assert told == [
        ["summary", "net.yaml", *chosen],
        ["grad", "net.yaml", "--scheme", "normal:std=0.01", *chosen],
        check,
    ]
    assert run(*check).code == 1
    listed = NET.replace("self.lin =", "self.lins = [nn.Linear(3, 3)]\n        self.lin =")
    Path("model.py").write_text(listed.replace("self.lin(x)", "self.lins[0](self.lin(x))"), encoding="utf-8")
    forgets = "problem: lins is not in model.parameters(): no optimizer will train it"
    for words in ("show", "init --scheme normal", "grad", "share"):
        assert forgets in run(*words.split(), "model.py:Net").out, words
