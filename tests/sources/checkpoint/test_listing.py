"""What the readers list of real files, against what the libraries that wrote them load."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paraminspect.errors import UserError
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.report import Checkpoint, Chunk, TensorHeader
from paraminspect.sources.checkpoint.file_bytes import open_bytes
from paraminspect.sources.checkpoint.flat_bytes import flat_bytes
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.sources.checkpoint.optimizer_state import optimizers_of

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    made = {f"t{number}": torch.randn(3, 4).to(dtype) for number, dtype in enumerate(DTYPES)}
    return {**made, "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5)}


def elements(path: Path, header: TensorHeader) -> Tensor:
    """Read the elements of a header that says where they are."""
    assert header.start is not None and header.bytes is not None
    raw = path.read_bytes()[header.start :]
    kept = bytearray(raw[: header.held])
    flat = torch.frombuffer(kept, dtype=getattr(torch, header.dtype)) if kept else torch.empty(0)
    if header.stride is not None:
        return flat.as_strided(header.shape, header.stride)
    return flat[: header.numel].reshape(header.shape)


def codes(found: Checkpoint) -> list[str]:
    return [fault.code for fault in found.faults]


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "legacy.pth"])
def test_every_tensor_is_where_it_is_said_to_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    made = state()
    if name.endswith(".safetensors"):
        save_file(made, path, metadata={"format": "pt"})
    else:
        base = torch.randn(6, 5)
        made |= {"slice": base[1:3], "turned": base.t(), "tie": made["t0"], "parameter": nn.Parameter(torch.ones(2))}
        torch.save(made, path, _use_new_zipfile_serialization=name == "x.pt")
    found = list_checkpoint(str(path))
    assert {one.name: (one.shape, f"torch.{one.dtype}") for one in found.tensors} == {
        key: (tuple(value.shape), str(value.dtype)) for key, value in made.items()
    }
    for one in found.tensors:
        assert torch.equal(elements(path, one), made[one.name].detach()), one
    assert found.parts[0].bytes == path.stat().st_size and found.faults == ()
    if not name.endswith(".safetensors"):
        of = {one.name: one for one in found.tensors}
        assert of["tie"].storage == of["t0"].storage != of["t1"].storage
        assert of["slice"].storage == of["turned"].storage and of["slice"].held == 120 > (of["slice"].bytes or 0)


def test_a_training_checkpoint_is_listed_whole(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    made = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "name": "a", "lr": [0.1, 0.2]}
    torch.save(made, tmp_path / "x.ckpt")
    found = list_checkpoint(str(tmp_path / "x.ckpt"))
    names = {one.name for one in found.tensors}
    assert {"model.weight", "model.bias", "optimizer.state.0.step", "optimizer.state.1.exp_avg_sq"} <= names
    assert (found.other["epoch"], found.other["name"], found.other["lr"]) == ("3", "'a'", "[0.1, 0.2]")
    assert found.other["optimizer.param_groups.0.params"] == "[0, 1]"


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_module_saved_whole_has_the_names_of_its_state_dict(tmp_path: Path, is_zip: bool) -> None:
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Sequential(nn.BatchNorm1d(2)))
    net.register_forward_hook(print)
    optimizer = torch.optim.SGD(net.parameters(), momentum=0.5)
    net[0](torch.ones(1, 3)).sum().backward()
    optimizer.step()
    made = {"model": net, "optimizer": optimizer.state_dict(), "epoch": 3}
    own = {f"{name}.{key}" for name, one in net.named_modules() for key in vars(one) if key not in vars(nn.Module())}
    for saved, path in ((net, ""), (made, "model")):
        torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
        found = list_checkpoint(str(tmp_path / "x.pt"))
        prefix = f"{path}." if path else ""
        tensors = [one.name for one in found.tensors if "optimizer" not in one.name]
        assert tensors == [f"{prefix}{name}" for name in net.state_dict()]
        others = [key for key in found.other if "optimizer" not in key and key != "epoch"]
        assert set(others) == {f"{prefix}{key}" for key in own}
        assert found.modules == {path: "torch.nn.modules.container.Sequential"}
    assert [one.parameter for one in optimizers_of(found)[0].parameters] == ["model.0.weight"]


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle ran",)


def deep_key() -> bytes:
    """Return a pickle whose dict has a tuple a million deep as its key, which ends a process that hashes it."""
    return b"\x80\x02}" + b"N" + b"\x85" * 1_000_000 + b"Ns."


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "evil": Evil()}, tmp_path / "x.pt")
    found = list_checkpoint(str(tmp_path / "x.pt"))
    assert [one.name for one in found.tensors] == ["w"]
    assert [(one.code, "_pytest.outcomes" in one.message or "fail" in one.message) for one in found.faults] == [
        ("unsafe-global", True)
    ]
    with zipfile.ZipFile(tmp_path / "deep.pt", "w") as archive:
        archive.writestr("deep/data.pkl", deep_key())
    with pytest.raises(UserError, match="nests tuples more than 100 deep"):
        list_checkpoint(str(tmp_path / "deep.pt"))


def test_what_torch_refuses_is_one_fault_that_names_first_what_is_not_of_torch(tmp_path: Path) -> None:
    layers = (nn.Linear(2, 2), nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Dropout())
    torch.save({"model": nn.Sequential(*layers), "half": Fraction(1, 2)}, tmp_path / "x.pt")
    (fault,) = list_checkpoint(str(tmp_path / "x.pt")).faults
    assert fault.code == "unsafe-global"
    assert fault.message == (
        "its pickle names fractions.Fraction, torch.nn.modules.container.Sequential, "
        "torch.nn.modules.linear.Linear, torch.nn.modules.activation.ReLU, torch.nn.modules.activation.Tanh "
        "and 2 more, which torch.load(weights_only=True) refuses unless they are allowed"
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234\n", "lfs-pointer"),
        (b"\n<!DOCTYPE html><html>", "html-page"),
        (pickle.dumps({"a": 1}, 2), "unsupported-source"),
        (b"GGUF\x03\0\0\0", "unsupported-source"),
        (b"PK\x03\x04 and no more", "truncated"),
        (struct.pack("<Q", 2**63) + b"{}", "truncated"),
        (struct.pack("<Q", 3) + b"{}}", "bad-header"),
        (struct.pack("<Q", 2) + b"[]", "bad-header"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_message(tmp_path: Path, content: bytes, code: str) -> None:
    for name in ("x.safetensors", "x.pt"):
        path = tmp_path / name
        path.write_bytes(content)
        if name == "x.pt" and code == "bad-header" and b"[]" in content:
            continue
        with pytest.raises(UserError) as caught:
            list_checkpoint(str(path))
        assert caught.value.code == code


def write_safetensors(path: Path, text: str, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(text.encode())) + text.encode() + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("{}", 0, []),
        ('{"__metadata__": null}', 0, []),
        (f'{{"a": {entry("F32", [2], 0, 8)}, "b": {entry("U8", [3], 8, 11)}}}', 11, []),
        (f'{{"a": {entry("F32", [2], 0, 8)}, "a": {entry("F32", [2], 8, 16)}}}', 16, ["duplicate-name"]),
        (f'{{"\\u0061": {entry("F32", [2], 0, 8)}, "a": {entry("F32", [2], 8, 16)}}}', 16, ["duplicate-name"]),
        (f'{{"a": {entry("F32", [2], 4, 12)}}}', 12, ["hole"]),
        (f'{{"a": {entry("F32", [2], 0, 8)}, "b": {entry("F32", [2], 4, 12)}}}', 12, ["overlap"]),
        (f'{{"a": {entry("F32", [3], 0, 8)}}}', 8, ["lying-size"]),
        (f'{{"a": {entry("F32", [2**40, 2**40], 0, 8)}}}', 8, ["lying-size"]),
        (f'{{"a": {entry("F32", [2], 0, 8)}}}', 7, ["truncated"]),
        (f'{{"a": {entry("F32", [2], 0, 8)}}}', 9, ["trailing-bytes"]),
        (f'{{"a": {entry("F99", [2], 0, 8)}}}', 8, ["unknown-dtype"]),
        (f'{{"a": {entry("F4", [4], 0, 2)}, "b": {entry("F6_E2M3", [4], 2, 5)}}}', 5, []),
        ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}', 0, ["bad-entry"]),
        ('{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', 0, ["bad-entry"]),
        ('{"__metadata__": {"a": 1}}', 0, ["bad-metadata"]),
        ('{"a": {"shape": [1], "extra": 1, "dtype": "U8", "data_offsets": [0, 1]}}', 1, []),
    ],
)
def test_what_is_unsound_in_a_safetensors_file(tmp_path: Path, text: str, size: int, expected: list[str]) -> None:
    path = write_safetensors(tmp_path / "x.safetensors", text, bytes(size))
    found = list_checkpoint(str(path))
    assert codes(found) == expected
    if not expected and "F6" not in text and "F4" not in text:
        with safe_open(path, "np") as reference:
            assert set(reference.keys()) == {one.name for one in found.tensors}


def test_a_file_that_was_cut_says_what_is_left_of_it(tmp_path: Path) -> None:
    save_file({f"t{number}": torch.ones(100) for number in range(10)}, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[:-450])
    (fault,) = list_checkpoint(str(tmp_path / "x.safetensors")).faults
    assert fault.message == (
        f"is cut off: {len(whole):,} bytes declared, {len(whole) - 450:,} found; 8 of 10 tensors are complete, "
        "'t8' is the first that is not"
    )


def test_a_sharded_checkpoint_and_all_that_its_index_may_get_wrong(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, tmp_path / "m-00001-of-00003.safetensors")
    save_file({"c": torch.ones(4)}, tmp_path / "m-00002-of-00003.safetensors")
    good = {
        "a": "m-00001-of-00003.safetensors",
        "b": "m-00001-of-00003.safetensors",
        "c": "m-00002-of-00003.safetensors",
    }
    index = tmp_path / "m.safetensors.index.json"

    def listed(shards: dict[str, str], total: int = 36) -> Checkpoint:
        index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": shards}), encoding="utf-8")
        return list_checkpoint(str(tmp_path))

    sound = listed(good)
    assert [one.name for one in sound.tensors] == ["a", "b", "c"] and codes(sound) == ["numbering-gap"]
    assert "wrong-total" in codes(listed(good, 40))
    assert "stray-tensor" in codes(listed({"a": good["a"], "c": good["c"]}))
    assert "missing-tensor" in codes(listed({**good, "d": good["c"]}))
    assert "missing-shard" in codes(listed({**good, "e": "m-00003-of-00003.safetensors"}))
    outside = tmp_path.parent / "outside.safetensors"
    save_file({"e": torch.ones(1)}, outside)
    for shard in ("../outside.safetensors", str(outside), "a/../../outside.safetensors"):
        found = listed({**good, "e": shard})
        assert "path-escape" in codes(found) and "e" not in {one.name for one in found.tensors}


def test_a_distributed_checkpoint(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="single process"):
        made = {"model": net.state_dict(), "epoch": 3, "kept": ({"best": [0.5, torch.ones(2)]}, "text")}
        dcp.save(made, checkpoint_id=str(tmp_path / "dcp"))
    found = list_checkpoint(str(tmp_path / "dcp"))
    assert {one.name: one.shape for one in found.tensors} == {
        f"model.{name}": tuple(value.shape) for name, value in net.state_dict().items()
    }
    assert found.faults == () and found.other == {
        "epoch": "3",
        "kept.0.best.0": "0.5",
        "kept.1": "'text'",
        "kept.0.best.1": "float32 tensor (2,), in an object",
    }
    (data,) = (tmp_path / "dcp").glob("*.distcp")
    data.write_bytes(data.read_bytes()[:-2000])
    assert "missing-tensor" in codes(list_checkpoint(str(tmp_path / "dcp")))
    (tmp_path / "dcp" / ".metadata").write_bytes(pickle.dumps(Evil(), 4))
    with pytest.raises(UserError, match="names _pytest"):
        list_checkpoint(str(tmp_path / "dcp"))


def test_an_object_in_a_distributed_checkpoint_is_named_and_never_made(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="single process"):
        dcp.save({"w": torch.ones(2), "loop": Evil()}, checkpoint_id=str(tmp_path / "dcp"))
    found = list_checkpoint(str(tmp_path / "dcp"))
    assert codes(found) == ["unsafe-global"] and [one.name for one in found.tensors] == ["w"]


def test_records_that_lie_are_faults_and_are_not_read(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(250)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        records = {one.filename: archive.read(one) for one in archive.infolist()}
    for name, compression, content, code in (
        ("short.pt", zipfile.ZIP_STORED, bytes(16), "lying-size"),
        ("deflated.pt", zipfile.ZIP_DEFLATED, bytes(1000), "deflated"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            for key, value in records.items():
                archive.writestr(key, content if "/data/" in key else value)
        found = list_checkpoint(str(tmp_path / name))
        assert code in codes(found) and found.tensors[0].start is None and found.tensors[0].why


def test_a_name_that_says_another_format(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "x.safetensors")
    assert codes(list_checkpoint(str(tmp_path / "x.safetensors"))) == ["wrong-extension"]
    assert np.isfinite(list_checkpoint(str(tmp_path / "x.safetensors")).bytes_read)


def test_a_chunk_that_is_another_tensor_is_no_part_of_this_one(tmp_path: Path) -> None:
    for name, saved in (("short.pt", torch.ones(3)), ("two.pt", [torch.ones(4), torch.ones(4)])):
        torch.save(saved, tmp_path / name)
        with open_bytes(str(tmp_path / name)) as file:
            chunk = Chunk((0, 0), (2, 2), 0, 0, file.size)
            found = flat_bytes(TensorHeader("w", "float32", (2, 2), 16, 0, pieces=(chunk,)), [file])
            assert found is not None
            with pytest.raises(UserError, match="is not the tensor that"):
                found.array()


def test_what_a_zip_that_was_cut_off_still_has(tmp_path: Path) -> None:
    state = {f"{at}.weight": torch.full((40 + at, 5), float(at)) for at in range(6)}
    state["view"] = state["5.weight"][2:]
    torch.save(state, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    first = data.index(b"data/0")
    seen = set()
    for length in [*range(first - 60, len(data) - 1, 331), len(data) - 1]:
        (tmp_path / "cut.pt").write_bytes(data[:length])
        found = list_checkpoint(str(tmp_path / "cut.pt"))
        (fault,) = [one for one in found.faults if one.severity == "error"]
        whole = [one.name for one in found.tensors if not one.why]
        assert fault.code == "truncated" and len(found.tensors) == 7 and whole == list(state)[: len(whole)]
        assert (f"'{len(whole)}.weight' is the first" in fault.message) == (len(whole) < 7)
        values = measure_checkpoint(found, ()).values
        for name in whole:
            measured = values[name]
            assert measured is not None and measured.mean == state[name].mean().item()
        seen.add(len(whole))
    assert seen == {0, 1, 2, 3, 4, 5, 7}
