"""The figures that --stats prints of every format, against those of the tensors that the libraries load."""

from __future__ import annotations

import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file
from torch import Tensor

from paraminspect.analysis.statistics.four_bit import E2M1
from paraminspect.analysis.statistics.streamed_elements import JoinedElements, StreamedElements
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.experiments.checkpoint_report import report_of_checkpoint
from paraminspect.experiments.checkpoint_values import bytes_to_read, measure_checkpoint
from paraminspect.report import Values
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.sources.checkpoint.piecewise_crc import PiecewiseCrc

EIGHT_BIT = [getattr(torch, name) for name in dir(torch) if name.startswith("float8_")]


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    base = torch.randn(300, 40)
    wide = torch.randn(3, 700_000)
    made: dict[str, Tensor] = {
        "row": base[10:20],
        "column": base[:, 3],
        "every other": base[::2, 1::3],
        "turned": base.t(),
        "tie": base[10:20],
        "wide slice": wide[:, 5:699_000],
        "expanded": torch.tensor([[1.0, -3.0]]).expand(1000, 2),
        "windows": torch.arange(100.0).unfold(0, 7, 2),
        "nan": torch.tensor([1.0, float("nan"), float("inf"), -2.0]),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int16, torch.uint8, torch.complex64):
        made[str(dtype)] = (torch.randn(50, 3) * 9).to(dtype)
    return made | {"bool": torch.rand(99) > 0.5}


def same(found: Values | None, tensor: Tensor) -> None:
    expected = measure(tensor)
    assert found is not None and expected is not None
    for key in ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf"):
        wanted = getattr(expected, key)
        assert getattr(found, key) == (wanted if wanted is None else pytest.approx(wanted, rel=1e-12, abs=1e-300)), key
    assert (found.histogram is None) == (expected.histogram is None)
    if found.histogram is not None and tensor.numel() <= 4096 and tensor.is_contiguous():
        assert found.histogram == expected.histogram


@pytest.mark.parametrize("how", ["x.pt", "legacy.pth", "x.safetensors", "dcp"])
def test_figures_are_those_of_the_loaded_tensors(tmp_path: Path, how: str) -> None:
    made = tensors()
    path = tmp_path / how
    if how == "dcp":
        with pytest.warns(UserWarning, match="single process"):
            dcp.save(dict(made), checkpoint_id=str(path))
    elif how == "x.safetensors":
        made |= {str(dtype): torch.arange(256, dtype=torch.uint8).view(dtype) for dtype in EIGHT_BIT}
        save_file({name: tensor.contiguous().clone() for name, tensor in made.items()}, path)
    else:
        torch.save(made, path, _use_new_zipfile_serialization=how == "x.pt")
    listed = list_checkpoint(str(path))
    read: list[int] = []
    found = measure_checkpoint(listed, (), read.append)
    assert not found.failures and set(found.values) == set(made)
    for name, tensor in made.items():
        same(found.values[name], tensor)
    assert sum(read) >= bytes_to_read(listed, ()) - made["expanded"].nbytes - made["windows"].nbytes > 0
    only = measure_checkpoint(listed, ("*row",))
    assert set(only.values) == {"row"} and only.values["row"] == found.values["row"]
    report = report_of_checkpoint(listed, "show", values=found.values)
    wrong = {"nan", *map(str, EIGHT_BIT)} & set(made)
    assert {(one.rule, one.where) for one in report.findings if one.severity == "error"} == {
        ("PI633", name) for name in wrong
    }
    assert not report.errors


def test_four_bits_are_counted_exactly(tmp_path: Path) -> None:
    raw = torch.randint(0, 256, (1000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    header = json.dumps({"w": {"dtype": "F4", "shape": [20, 100], "data_offsets": [0, 1000]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + raw.tobytes())
    listed = list_checkpoint(str(tmp_path / "x.safetensors"))
    assert listed.tensors[0].shape == (20, 100) and not listed.faults
    found = measure_checkpoint(listed, ()).values["w"]
    numbers = np.concatenate([E2M1[raw & 15], E2M1[raw >> 4]])
    assert found is not None and (found.min, found.max, found.zeros) == (-6, 6, int((numbers == 0).sum()))
    assert found.mean == pytest.approx(numbers.mean(), rel=1e-12) and found.std == pytest.approx(
        numbers.std(), rel=1e-12
    )
    assert found.histogram is not None and sum(found.histogram) == 2000


def test_a_tensor_that_cannot_be_read_is_unknown_and_the_rest_is_measured(tmp_path: Path) -> None:
    save_file({"a": torch.ones(9), "b": torch.full((9,), 2.0)}, tmp_path / "x.safetensors")
    listed = list_checkpoint(str(tmp_path / "x.safetensors"))
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[:-4])
    found = measure_checkpoint(listed, ())
    assert found.values["a"] is not None and found.values["a"].mean == 1 and found.values["b"] is None
    assert [(one.code, one.where) for one in found.failures] == [("truncated", "b")]


DIMS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 12)), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(DIMS, min_size=1, max_size=3), st.integers(1, 9))
def test_any_strides_are_read_as_torch_reads_them(blocks: list[list[tuple[int, int]]], limit: int) -> None:
    memory = torch.randn(400)
    raw = memory.numpy().tobytes()

    def read(at: int, buffer: memoryview) -> None:
        buffer[:] = raw[at : at + len(buffer)]

    for dims in blocks:
        shape, strides = zip(*dims, strict=True)
        made = StreamedElements(shape, np.dtype(np.float32), read, strides)
        pieces = [made.read(index).copy() for index in made.blocks(limit)]
        flat = np.concatenate(pieces)
        assert max(map(len, pieces)) <= max(limit, 1) or made.visits is not None
        if made.visits is not None:
            flat = np.repeat(flat, made.visits)
        flat = np.repeat(flat, made.repeat)
        assert sorted(flat.tolist()) == sorted(memory.as_strided(shape, strides).flatten().tolist())
    whole = JoinedElements([StreamedElements([400], np.dtype(np.float32), read)] * len(blocks))
    read_back = np.concatenate([whole.read(index).copy() for index in whole.blocks(limit)])
    assert read_back.tolist() == memory.tolist() * len(blocks) and whole.sample(64).size <= 64


def test_bytes_that_were_changed_are_told_by_their_checksum(tmp_path: Path) -> None:
    state = {f"{at}.weight": torch.full((50, 3), float(at + 1)) for at in range(3)}
    for crc, expected in ((True, [("changed-bytes", "1.weight")]), (False, [])):
        torch.serialization.set_crc32_options(crc)
        try:
            torch.save(state, tmp_path / "x.pt")
        finally:
            torch.serialization.set_crc32_options(True)
        sound = list_checkpoint(str(tmp_path / "x.pt"))
        assert measure_checkpoint(sound, ()).faults == ()
        data = bytearray((tmp_path / "x.pt").read_bytes())
        data[sound.tensors[1].start or 0] ^= 1
        (tmp_path / "x.pt").write_bytes(data)
        read = []
        changed = list_checkpoint(str(tmp_path / "x.pt"))
        found = measure_checkpoint(changed, (), read.append)
        assert [(fault.code, fault.where) for fault in found.faults] == expected
        assert sum(read) == bytes_to_read(changed, ())
        assert measure_checkpoint(changed, ("0.weight",)).faults == ()


def test_the_bytes_of_a_tensor_that_is_a_whole_record_are_read_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = {"long": torch.randn(300_000), "short": torch.randn(9), "turned": torch.randn(30, 20).t()}
    torch.save(made | {"row": torch.randn(9, 9)[2]}, tmp_path / "x.pt")
    listed = list_checkpoint(str(tmp_path / "x.pt"))
    read: list[int] = []
    assert measure_checkpoint(listed, ("long", "short"), read.append).faults == ()
    assert sum(read) == bytes_to_read(listed, ("long", "short")) + 2 * 4 * 4096  # what the histogram and a guess take
    assert bytes_to_read(listed, ("long", "short")) == 4 * 300_009
    assert bytes_to_read(listed, ("turned", "row")) == 2 * 4 * 600 + 4 * 9 + 4 * 81
    data = bytearray((tmp_path / "x.pt").read_bytes())
    for tensor in listed.tensors:
        data[(tensor.start or 0) + 4] ^= 1
    (tmp_path / "x.pt").write_bytes(data)
    assert [fault.where for fault in measure_checkpoint(listed, ()).faults] == [*made, "row"]


@given(st.binary(max_size=300), st.data())
def test_the_crc_of_pieces_in_any_order_is_that_of_the_whole(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted({0, len(data), *draw.draw(st.lists(st.integers(0, len(data))))})
    pieces = draw.draw(st.permutations([*pairwise(cuts)]))
    crc = PiecewiseCrc(len(data))
    for first, last in pieces:
        crc.add(first, data[first : (first + last) // 2])  # a sample of it
        crc.add(first, memoryview(data)[first:last])
        crc.add(first, data[first : (first + last) // 2])
    assert crc.whole() == zlib.crc32(data)
