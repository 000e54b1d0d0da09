"""Digests against hashlib on the bytes that numpy gives, whatever the layout of the tensor."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

from paraminspect.analysis.statistics import contents
from paraminspect.analysis.statistics.contents import digest
from tests.cases import each


def by_hand(head: str, tensor: torch.Tensor) -> str:
    return hashlib.sha256(f"{head}\n".encode() + np.ascontiguousarray(tensor.numpy()).tobytes()).hexdigest()


CASES = {
    "float32 3x4": torch.arange(12.0).reshape(3, 4),
    "float64 5": torch.linspace(0, 1, 5, dtype=torch.float64),
    "int64 ": torch.tensor(7),
    "bool 2": torch.tensor([True, False]),
    "float32 0x3": torch.empty(0, 3),
    "complex64 2": torch.tensor([1 + 2j, 3 - 4j]),
}


@pytest.mark.parametrize("head", CASES)
def test_dtype_shape_and_bytes(head: str) -> None:
    assert digest(CASES[head]) == by_hand(head, CASES[head])


def test_half_precision() -> None:
    tensor = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    expected = hashlib.sha256(b"bfloat16 2\n" + tensor.view(torch.int16).numpy().tobytes()).hexdigest()
    assert digest(tensor) == expected


GRID = torch.arange(24.0).reshape(2, 3, 4)
LAYOUTS = {
    "transposed": GRID.permute(2, 0, 1),
    "sliced": GRID[:, ::2, 1:],
    "expanded": torch.arange(3.0)[:, None].expand(3, 4),
    "offset": GRID.reshape(-1)[5:],
    "channels last": GRID[None].contiguous(memory_format=torch.channels_last),
    "conjugate": torch.tensor([[1 + 2j, 3 - 4j]]).conj(),
    "a Parameter": nn.Parameter(GRID),
}


@each("block", [1, 5, 2**22])
@each("tensor", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_makes_no_difference(tensor: torch.Tensor, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_BLOCK", block)
    plain = tensor.detach().clone(memory_format=torch.contiguous_format).resolve_conj()
    head = f"{str(tensor.dtype).removeprefix('torch.')} {'x'.join(map(str, tensor.shape))}"
    assert digest(tensor) == by_hand(head, plain)


@pytest.mark.parametrize("head", CASES)
def test_a_machine_of_the_other_byte_order_gets_the_same(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that it is big-endian, this one turns its bytes around."""
    real = sys.byteorder
    monkeypatch.setattr(sys, "byteorder", "big")
    swapped = np.ascontiguousarray(CASES[head].numpy()).byteswap().tobytes()
    assert real == "little"
    assert digest(CASES[head]) == hashlib.sha256(f"{head}\n".encode() + swapped).hexdigest()


def test_a_storage_may_be_resized_afterwards() -> None:
    tensor = torch.ones(3)
    digest(tensor)
    tensor.untyped_storage().resize_(0)
    assert tensor.untyped_storage().nbytes() == 0


UNKNOWN = {
    "meta": torch.empty(2, device="meta"),
    "lazy": nn.LazyLinear(2).weight,
    "sparse": torch.eye(2).to_sparse(),
}


@pytest.mark.parametrize("tensor", UNKNOWN.values(), ids=UNKNOWN)
def test_what_has_no_plain_values_has_none(tensor: torch.Tensor) -> None:
    assert digest(tensor) is None
