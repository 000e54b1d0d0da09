"""Weights from files: the values are those of plain torch, and nothing hostile is more than one message."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model

from paraminspect.errors import UserError
from paraminspect.modules.subject import Subject
from paraminspect.sources.checkpoint.stored_tensors import read_tensors
from paraminspect.sources.setup import prepare

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.bn, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.head.weight = self.emb.weight

    def forward(self, x):
        return self.head(self.bn(self.emb(x)))

def wrapped():
    return nn.DataParallel(Net())

def on_meta():
    with torch.device("meta"):
        return Net()
"""


INDEX = "shards/model.safetensors.index.json"


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Write the model's file, and its state_dict in every form that one finds; return it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(7)
    net = prepare("net.py:Net", seed=7).subject().module
    net.train()(torch.rand(5, 4))
    state = net.state_dict()
    torch.save(state, "zip.pt")
    torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
    adam = {"state": {0: {"step": torch.ones(())}}}
    torch.save({"model_state_dict": state, "optimizer": adam, "epoch": 3}, "nested.ckpt")
    torch.save({"gan": {"net": state}, "critic": {"x": torch.ones(2)}}, "two.pt")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, "module.pt")
    torch.save({f"a.b.{name}": tensor for name, tensor in state.items()}, "far.pt")
    save_model(net, "tied.safetensors")
    kept = {name: tensor for name, tensor in state.items() if name != "head.weight"}  # as save_pretrained has it
    save_file({f"module.{name}": tensor for name, tensor in kept.items()}, "left.safetensors")
    Path("shards").mkdir()
    shards = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    save_file({"emb.weight": kept["emb.weight"]}, Path("shards", shards[0]))
    save_file({name: one for name, one in kept.items() if name != "emb.weight"}, Path("shards", shards[1]))
    index = {"metadata": {}, "weight_map": {name: shards[name != "emb.weight"] for name in kept}}
    Path("shards/model.safetensors.index.json").write_text(json.dumps(index))
    return {name: tensor.clone() for name, tensor in state.items()}


def load(file: str, source: str = "net.py:Net", **options: str) -> Subject:
    return prepare(source, seed=3, weights=file, input=["5,4"], **options).subject()  # type: ignore[arg-type]


def test_the_values_are_the_files_and_nothing_else_differs(saved: dict[str, torch.Tensor]) -> None:
    for source in ("net.py:Net", "net.py:wrapped", "net.py:on_meta"):
        plain = prepare(source, seed=3, input=["5,4"]).subject()
        drawn = None if "meta" in source else plain.make_input().given[0].value
        for file in ("zip.pt", "old.pt", "nested.ckpt", "two.pt", "tied.safetensors", "shards", INDEX):
            subject = load(file, source)
            found = {name.removeprefix("module."): value for name, value in subject.module.state_dict().items()}
            assert list(found) == list(saved), (source, file)
            assert all(torch.equal(found[name], saved[name]) for name in saved), (source, file)
            names = [name.removeprefix("module.") for name, _ in subject.module.named_parameters()]
            assert names == ["emb.weight", "emb.bias", "bn.weight", "bn.bias", "head.bias"]  # tied still
            batch = subject.make_input().given[0].value
            assert not batch.is_meta
            assert drawn is None or torch.equal(batch, drawn)  # loading draws no random number
    for file, prefix in (("module.pt", "module."), ("far.pt", "a.b"), ("left.safetensors", "module")):
        subject = load(file, strip_prefix=prefix)
        assert torch.equal(subject.module.state_dict()["head.bias"], saved["head.bias"])
        assert subject.notes == (f"weights: {prefix.rstrip('.') + '.'!r} taken off the names in the file",)
    assert load("nested.ckpt").notes == (
        "weights: taken from 'model_state_dict' in the file; the file also holds optimizer, epoch",
    )


def test_what_does_not_fit_is_named_with_the_prefix_that_makes_the_difference(saved: dict[str, torch.Tensor]) -> None:
    torch.save(saved | {"head.bias": torch.ones(9)}, "shape.pt")
    torch.save({"x": torch.ones(2)} | {name: saved[name] for name in list(saved)[:-1]}, "names.pt")
    torch.save({"a": saved, "b": saved}, "twice.pt")
    told = {}
    for file in ("shape.pt", "names.pt", "twice.pt", "module.pt", "far.pt"):
        with pytest.raises(UserError) as error:
            load(file)
        told[file] = str(error.value)
    for file, hint in (
        ("left.safetensors", "the names in the file have 'module.' before them: --strip-prefix module."),
        (INDEX.replace(".safetensors.index.json", "-00001-of-00002.safetensors"), "name their folder, or the index"),
    ):
        with pytest.raises(UserError) as error:
            load(file)
        assert error.value.hint.endswith(hint)
    rebuilt = "\n  the model has to be built as it was when the file was saved: the same class, arguments and sizes"
    four, nine = "emb.weight, emb.bias, bn.weight, bn.bias and 5 more", "does not fit the model"
    assert told == {
        "shape.pt": f"--weights shape.pt: {nine}: head.bias is (9,) in the file, (4,) in the model{rebuilt}",
        "names.pt": f"--weights names.pt: {nine}: missing in the file: head.bias; unexpected in the file: x{rebuilt}",
        "twice.pt": "--weights twice.pt: holds several state_dicts that fit by their names: a, b\n"
        "  save one of them alone: torch.save(torch.load('twice.pt', weights_only=True)['a'], FILE)",
        "module.pt": f"--weights module.pt: {nine}: missing in the file: {four}; unexpected in the file: "
        f"{four.replace('emb', 'module.emb').replace('bn', 'module.bn')}\n"
        "  the names in the file have 'module.' before them: --strip-prefix module.",
        "far.pt": f"--weights far.pt: {nine}: missing in the file: {four}; unexpected in the file: "
        f"{four.replace('emb', 'a.b.emb').replace('bn', 'a.b.bn')}\n"
        "  the names in the file have 'a.b.' before them: --strip-prefix a.b.",
    }


class Code:
    """What runs when a pickle of it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (Path("ran"),)


def deep() -> bytes:
    """Return a pickle whose dict has a tuple for a key that nests 100,000 deep, on which the process would end."""
    return b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u."


def archive(pickled: bytes, record: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as file:
        for name, data in (("data.pkl", pickled), ("data/0", record), ("version", b"3\n"), ("byteorder", b"little")):
            file.writestr(f"a/{name}", data)
    return memory.getvalue()


def test_hostile_files_are_one_message_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(250)}, "w.pt")
    short = zipfile.ZipFile("w.pt").read("w/data.pkl")
    torch.save({"w": Code()}, "code.pt")
    torch.save({"w": Code()}, "old.pt", _use_new_zipfile_serialization=False)
    header = (
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    files = {
        "plain.pkl": (pickle.dumps({"w": Code()}), "is a pickle that torch.save did not write"),
        "short.pt": (
            archive(short, b"\0" * 16),
            "is not sound: 'w' needs 1,000 bytes of its storage '0', which has 16",
        ),
        "deep.pt": (archive(deep()), "it nests tuples more than 100 deep"),
        "deep.pkl": (deep(), "is a pickle that torch.save did not write"),
        "packed.pt": (archive(short, b"\0" * 1000, zipfile.ZIP_DEFLATED), "are compressed"),
        "other.zip": (archive(b"")[:0] or _zip("x.txt"), "is a zip that torch.save did not write"),
        "lfs.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        "page.bin": (b"\n<!DOCTYPE html>", "is a web page"),
        "empty.pt": (b"", "is empty"),
        "big.safetensors": (struct.pack("<Q", 2**31) + b'{"', "says that its header is 2,147,483,648 bytes long"),
        "cut.safetensors": (struct.pack("<Q", 9000) + b'{"', "says that its header is 9,000 bytes long; only 2 follow"),
        "twice.safetensors": (
            struct.pack("<Q", len(header)) + header + b"\0" * 4,
            "is not sound: 'w' stands 2 times in the header",
        ),
        "tensor.pt": (None, "holds one tensor without a name"),
        "code.pt": (None, "which could run code"),
        "old.pt": (None, "which could run code"),
        "net.py": (b"import torch", "is no checkpoint that is known here"),
        "folder": (None, "has no checkpoint in it"),
        "gone.pt": (None, "no such file"),
    }
    torch.save(torch.ones(2), "tensor.pt")
    Path("folder").mkdir()
    for name, (data, message) in files.items():
        if data is not None:
            Path(name).write_bytes(data)
        with pytest.raises(UserError) as error:
            read_tensors(name)
        assert message in error.value.message and error.value.where == name, (name, str(error.value))
        assert "weights_only=False" not in str(error.value)
    assert not Path("ran").exists()


def _zip(name: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr(name, "x")
    return memory.getvalue()


def test_a_damaged_file_raises_nothing_but_our_own(tmp_path: Path) -> None:
    state = {"a.weight": torch.rand(3, 4), "b": torch.arange(5)}
    whole = {}
    for name in ("zip.pt", "old.pt", "s.safetensors"):
        path = tmp_path / name
        if name.startswith("s"):
            save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=name == "zip.pt")
        whole[path] = path.read_bytes()
    draw = random.Random(0)
    for path, data in whole.items():
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(draw.randint(1, 3)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            path.write_bytes(changed[: draw.choice([len(changed), draw.randrange(len(changed))])])
            try:
                read_tensors(str(path))
            except UserError as error:
                assert error.where == str(path) and "\n" not in error.message
