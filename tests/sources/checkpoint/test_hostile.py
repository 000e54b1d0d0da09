"""Broken and hostile files: nothing but UserError leaves the readers, in bounded time and memory, and nothing runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file

from paraminspect.errors import UserError
from paraminspect.experiments.checkpoint_report import report_of_checkpoint
from paraminspect.experiments.checkpoint_sharing import sharing_of
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.render import render
from paraminspect.sources.checkpoint import pickle_walk
from paraminspect.sources.checkpoint.file_contents import LEGACY_MAGIC
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.sources.checkpoint.pickle_walk import BadPickle, walk
from paraminspect.text.escape import View

KINDS = ("safetensors", "zip", "legacy", "index", "metadata", "distcp")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a small file of each kind, as the libraries write it; each in a folder of its own."""
    folder = tmp_path_factory.mktemp("whole")
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    made = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    save_file(net.state_dict(), folder / "a.safetensors", metadata={"format": "pt"})
    torch.save(made, folder / "a.pt")
    torch.save(made, folder / "a.pth", _use_new_zipfile_serialization=False)
    (folder / "sharded").mkdir()
    save_file(net.state_dict(), folder / "sharded" / "a-00001-of-00001.safetensors")
    shards = dict.fromkeys(net.state_dict(), "a-00001-of-00001.safetensors")
    index = folder / "sharded" / "a.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": shards}), encoding="utf-8")
    with pytest.warns(UserWarning, match="single process"):
        dcp.save(made, checkpoint_id=str(folder / "dcp"))
    (data,) = (folder / "dcp").glob("*.distcp")
    files = (folder / "a.safetensors", folder / "a.pt", folder / "a.pth", index, folder / "dcp" / ".metadata", data)
    return dict(zip(KINDS, files, strict=True))


def look(source: str) -> None:
    """Do everything that show and share do with a checkpoint."""
    with suppress(UserError):
        checkpoint = list_checkpoint(source)
        found = measure_checkpoint(checkpoint, ())
        for command, sharing in (("show", ()), ("share", sharing_of(checkpoint))):
            report = report_of_checkpoint(checkpoint, command, values=found.values, sharing=sharing)
            for form in ("table", "json", "csv", "markdown"):
                assert "\x1b" not in "".join(render(report, form, View()))


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "drop", "copy", "set"]),
        st.floats(0, 1),
        st.one_of(
            st.binary(min_size=1, max_size=9),
            st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"99999999"]),
        ),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    found = bytearray(data)
    for how, share, piece in edits:
        at = int(share * len(found))
        if how == "flip" and at < len(found):
            found[at] ^= piece[0] or 1
        elif how == "cut":
            del found[at:]
        elif how == "drop":
            del found[at : at + len(piece)]
        elif how == "copy":
            found[at:at] = piece
        else:
            found[at : at + len(piece)] = piece
    return bytes(found)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_a_file_with_wrong_bytes_ends_in_one_message_or_in_findings(
    whole: dict[str, Path], tmp_path: Path, kind: str, edits: list[tuple[str, float, bytes]]
) -> None:
    path = whole[kind]
    data = path.read_bytes()
    is_part = kind in ("index", "metadata", "distcp")
    target = path if is_part else tmp_path / path.name
    try:
        target.write_bytes(mutated(data, edits))
        started = time.process_time()
        look(str(path if kind == "index" else path.parent) if is_part else str(target))
        assert time.process_time() - started < 5
    finally:
        if is_part:
            path.write_bytes(data)


OPCODES = st.sampled_from(
    [
        bytes([code])
        for code in b"(.012NKJM]}){tulaesbRcoiQ\x80\x81\x85\x86\x87\x88\x89\x8c\x8f\x90\x91\x92\x93\x94\x95\x96"
    ]
    + [
        b"K\x01",
        b"X\x01\0\0\0a",
        b"h\x00",
        b"q\x00",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPCODES, max_size=40))
def test_any_opcodes_in_a_pickle_end_in_one_message(tmp_path: Path, codes: list[bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + b"".join(codes) + b".")
        archive.writestr("x/data/0", bytes(16))
    look(str(tmp_path / "x.pt"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_atheris_makes_up_ends_in_one_message_or_in_findings(
    whole: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: pip install atheris")
    seeds = [tmp_path / "found", tmp_path / "seeds"]
    for folder in seeds:
        folder.mkdir()
    (seeds[1] / "seed").write_bytes(whole[kind].read_bytes())
    options = ["-max_total_time=20", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.sources.checkpoint.fuzz_readers", kind, *map(str, seeds), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]


# --- what takes time or memory -------------------------------------------------------------------------------------


def zipped(
    path: Path, pickled: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, data in (records or {}).items():
            archive.writestr(f"x/{name}", data)


def tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, numel: int = 4) -> bytes:
    """Return the pickle of a dict with one tensor that says this of itself."""

    class Storage:
        def __reduce_ex__(self, protocol: Any) -> str:
            return "never"

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if isinstance(one, Storage) else None

    class Tensor:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, None)

    file = io.BytesIO()
    Pickler(file, 2).dump({"w": Tensor()})
    return file.getvalue()


def deep(opening: bytes, closing: bytes, count: int) -> bytes:
    return b"\x80\x02" + opening * count + closing * count + b"."


def doubling(levels: int) -> bytes:
    """Return a list of two of a list of two of …: small in a file, 2**levels when it is walked along every path."""
    data = b"\x80\x02]q\x00"
    for level in range(levels):
        data += b"(h" + bytes([level]) + b"h" + bytes([level]) + b"lq" + bytes([level + 1])
    return data + b"."


MANY: int = 20_000


def long_key() -> bytes:
    """Return a dict of a long key with many values in it: each of them has the key in its path."""
    values = b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(MANY // 2))
    return b"\x80\x02}X" + struct.pack("<I", 10 * MANY) + b"a" * 10 * MANY + b"}(" + values + b"us."


def huge_key() -> bytes:
    """Return a dict of a key of more digits than Python writes out."""
    return b"\x80\x02}\x8b" + struct.pack("<i", 5_000) + b"\x7f" * 5_000 + b"Ns."


def headed(body: bytes) -> Callable[[Path], None]:
    """Return what writes a safetensors file with this for its header."""
    return lambda path: path.write_bytes(struct.pack("<Q", len(body)) + body) and None


def many_records(path: Path) -> None:
    """Write a zip whose list of records has two million of a byte each."""
    zipped(path, b"\x80\x02}.")
    data = path.read_bytes()
    first, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    listed = (b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a") * 2_000_000 + data[first:end]
    ending = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), first, 0)
    path.write_bytes(data[:first] + listed + ending)


def overlapping(count: int) -> bytes:
    """Return the header of tensors that all begin at 0."""
    return b"{%s}" % b",".join(b'"%d":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}' % at for at in range(count))


ARRAYS: bytes = b"[" + b"[]," * 20_000_000 + b"[]]"

HOSTILE: dict[str, Callable[[Path], None]] = {
    "arrays.safetensors": headed(b'{"a":' + ARRAYS + b"}"),
    "arrays.safetensors.index.json": lambda path: path.write_bytes(b'{"weight_map":' + ARRAYS + b"}") and None,
    "dimensions.safetensors": headed(
        b'{"a":{"dtype":"F32","shape":[' + b"999999999," * 2_000_000 + b'1],"data_offsets":[0,4]}}'
    ),
    "overlapping.safetensors": headed(overlapping(40_000)),
    "many_records.pt": many_records,
    "a_billion.pt": lambda path: zipped(path, doubling(60)),
    "deep_lists.pt": lambda path: zipped(path, deep(b"(", b"l", 200_000)),
    "deep_dict.pt": lambda path: zipped(path, b"\x80\x02" + b"}X\x01\0\0\0a" * 100_000 + b"N" + b"s" * 100_000 + b"."),
    "called_list.pt": lambda path: zipped(path, doubling(60).removesuffix(b".") + b")R."),
    "typed_list.pt": lambda path: zipped(
        path, doubling(60).removesuffix(b".") + b"0ctorch._tensor\n_rebuild_from_type_v2\n(Nh\x3cNtR."
    ),
    "many_values.pt": lambda path: zipped(path, b"\x80\x02(" + b"N" * 4_000_000 + b"}l."),
    "self.pt": lambda path: zipped(path, b"\x80\x02}q\x00X\x01\0\0\0ah\x00s."),
    "long_memo.pt": lambda path: zipped(path, b"\x80\x02" + b"\x8b\xff\xff\xff\x7f" + b"\0" * 100 + b"."),
    "huge_digits.pt": lambda path: zipped(path, b"\x80\x02I" + b"9" * 5_000 + b"\n."),
    "wide.pt": lambda path: zipped(path, tensor_pickle((2**62, 2**62), (0, 0)), {"data/0": bytes(16)}),
    "windows.pt": lambda path: zipped(path, tensor_pickle((2**30, 4), (0, 1)), {"data/0": bytes(16)}),
    "negative.pt": lambda path: zipped(path, tensor_pickle((-1,), (1,)), {"data/0": bytes(16)}),
    "far.pt": lambda path: zipped(path, tensor_pickle((2,), (1,), 2**62), {"data/0": bytes(16)}),
    "lying.pt": lambda path: zipped(path, tensor_pickle((250,), (1,), 0, 250), {"data/0": bytes(16)}),
    "bomb.pt": lambda path: zipped(path, b"\x80\x02" + b"N0" * 2_000_000 + b"N.", compression=zipfile.ZIP_DEFLATED),
    "shared_tuple.pt": lambda path: zipped(
        path, b"\x80\x02(" + b"K\x01" * MANY + b"tq\x000(" + b"h\x00" * MANY + b"l."
    ),
    "long_key.pt": lambda path: zipped(path, long_key()),
    "huge_key.pth": lambda path: (
        path.write_bytes(LEGACY_MAGIC + b"\x80\x02N." * 2 + huge_key() + b"\x80\x02].") and None
    ),
    "many_names.pt": lambda path: zipped(path, b"\x80\x02" + b"".join(b"ca\n%d\n" % at for at in range(MANY)) + b"."),
    "nested.pt": lambda path: zipped(
        path, b"\x80\x02" + b"ctorch._utils\n_rebuild_parameter\n" * 5_000 + b"N" + b"\x85R" * 5_000 + b"."
    ),
    "names.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**63 - 1) + b"{" * 100) and None,
    "deep.safetensors": headed(b"[" * 200_000 + b"]" * 200_000),
    "digits.safetensors": headed(b'{"a":' + b"9" * 4_999 + b"}"),
}


def test_what_would_take_all_time_or_memory_takes_little(tmp_path: Path) -> None:
    for name, make in HOSTILE.items():
        make(tmp_path / name)
    code = (
        "import os, resource, sys\n"
        "from paraminspect.cli.app import main\n"
        "main(['show', '--stats', 'lying.pt'])  # for what it imports: every child has it then\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        resource.setrlimit(resource.RLIMIT_CPU, (6, 6))\n"
        "        os._exit(main(['show', '--stats', name]))\n"
        "    _, status, used = os.wait4(child, 0)\n"
        "    print(name, status, used.ru_maxrss, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *HOSTILE], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    ends = [line.split() for line in done.stderr.splitlines() if line.split()[0] in HOSTILE and len(line.split()) == 3]
    assert [name for name, *_ in ends] == list(HOSTILE)
    for name, status, resident in ends:
        assert int(status) >> 8 in (0, 2) and not int(status) & 127, name
        assert int(resident) < 700_000, name


def test_no_opcode_takes_more_memory_than_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 2**17
    monkeypatch.setattr(pickle_walk, "_ROOM", room)
    for opcodes in (
        *(
            b"(",
            b")",
            b"]",
            b"}",
            b"\x8f",
            b"N",
            b"N2",
            b"NQ",
            b"P\n",
            b"I1000\n",
            b"J\1\2\3\4",
            b"L1000\n",
            b"G" + b"\1" * 8,
        ),
        *(b"X\1\0\0\0a", b"X\2\0\0\0\xc3\xa4", b"X\4\0\0\0\xf0\x9f\x98\x80", b"C\2ab", b"S'ab'\n", b"]\x94"),
        *(b"N\x85", b"NN\x86", b"NNN\x87", b"(NNt", b"(]l", b"(NNd", b"}NNs", b"](Ne", b"}(NNu", b"]Na"),
        *(
            b"NNR",
            b"NN\x81",
            b"NNR(NNu",
            b"NNRNa",
            b"NNRNb",
            b"(NNo",
            b"(ia\nb\n",
            b"ca\nb\n",
            b"N\x85\x85",
            b"(N\x85t",
        ),
    ):
        data = b"\x80\x02" + opcodes * (room // 10) + b"."
        tracemalloc.start()
        try:
            with pytest.raises(BadPickle, match="would take more than"):
                walk(data)
            assert tracemalloc.get_traced_memory()[1] < 1.1 * (room + len(data)), opcodes
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_ends_anywhere_breaks_off(tmp_path: Path, protocol: int) -> None:
    torch.save({"a": torch.ones(2, 300), "b": ["c", 1, 70_000, 2.5, None]}, tmp_path / "x.pt", pickle_protocol=protocol)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        data = archive.read("x/data.pkl")
    assert walk(data).end == len(data)
    for end in range(len(data)):
        with pytest.raises(BadPickle, match="it breaks off"):
            walk(data[:end])


def test_tensors_of_which_the_bytes_are_there_are_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_walk, "_ROOM", 2**16)
    state = {f"layers.{number}.weight": torch.full((500,), float(number)) for number in range(500)}
    torch.save(state, tmp_path / "zip.pt")
    torch.save(state, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    with pytest.warns(UserWarning, match="single process"):
        dcp.save(dict(state), checkpoint_id=str(tmp_path / "dcp"))
    whole = (tmp_path / "zip.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[:-1000])
    for name in ("zip.pt", "legacy.pt", "dcp", "cut.pt"):
        assert {one.name for one in list_checkpoint(str(tmp_path / name)).tensors} == {*state}, name


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "x.pt", b"\x80\x02}.")
    data = bytearray((tmp_path / "x.pt").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(UserError, match="is encrypted"):
        list_checkpoint(str(tmp_path / "x.pt"))


def test_a_dict_as_python_2_wrote_it(tmp_path: Path) -> None:
    zipped(tmp_path / "x.pt", b"\x80\x02ccollections\nOrderedDict\n](X\x01\0\0\0aK\x01la\x85R.")
    assert list_checkpoint(str(tmp_path / "x.pt")).other == {"a": "1"}


def test_chunks_that_are_no_list_are_none(tmp_path: Path) -> None:
    room = b"ctorch.distributed.checkpoint.metadata\n"
    tensor = room + b"TensorStorageMetadata\n)R}(S'size'\n(K\x02tS'chunks'\nccollections\nOrderedDict\n)Rub"
    (tmp_path / ".metadata").write_bytes(
        b"\x80\x02" + room + b"Metadata\n)R}(S'state_dict_metadata'\n}S'w'\n" + tensor + b"sub."
    )
    found = list_checkpoint(str(tmp_path))
    assert [(one.name, one.shape) for one in found.tensors] == [("w", (2,))]
    assert [(fault.code, fault.where) for fault in found.faults] == [("hole", "w")]


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path)]
)
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x.safetensors")
    with pytest.raises(UserError):
        list_checkpoint(str(tmp_path / "x.safetensors"))


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    bad = "w\x1b[31m\x07\x9b\u202e[/][bold]\n\ud800=1"
    header = json.dumps(
        {bad: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": {bad: bad}}
    ).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    report = report_of_checkpoint(list_checkpoint(str(tmp_path / "x.safetensors")), "show")
    for form in ("table", "plain", "csv", "markdown", "json"):
        text = "".join(render(report, form, View(width=100)))
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud800"} & set(text), form
