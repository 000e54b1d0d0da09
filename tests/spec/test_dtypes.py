from __future__ import annotations

import pytest
import torch

from paraminspect.errors import UserError
from paraminspect.spec.dtypes import DEVICES, DTYPES, FLOATING, check_device
from tests.cases import each


@each("name", sorted(DTYPES))
def test_item_sizes_are_those_of_torch(name: str) -> None:
    assert DTYPES[name] == getattr(torch, name).itemsize


@pytest.mark.parametrize("name", DEVICES)
def test_devices_are_devices_of_torch(name: str) -> None:
    assert torch.device(name).type == name


@each("name", DTYPES)
def test_floating_dtypes_are_those_that_can_have_gradients(name: str) -> None:
    dtype = getattr(torch, name)
    assert (name in FLOATING) == (dtype.is_floating_point or dtype.is_complex)


@each("text", [*DEVICES, "cuda:0", "cuda:7", "cuda:10", "mps:0", "xpu:1"])
def test_a_device_may_have_a_number(text: str) -> None:
    assert check_device(text, "--device") == text
    assert str(torch.device(text)) == text


@each(
    "text",
    [
        "",
        "gpu",
        "CPU",
        "cpu:0",
        "meta:0",
        "cuda:",
        "cuda0",
        "cuda:-1",
        "cuda:01",
        "cuda:100",
        "cuda:١",
        "cuda:0\n",
        "tpu:1",
    ],
)
def test_anything_else_is_no_device(text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_device(text, "--device")
    known = "known: cpu, cuda, mps, xpu, meta, and cuda:0 for one of several"
    hint = {"gpu": "did you mean 'cuda'?", "CPU": "did you mean 'cpu'?"}.get(text, known)
    assert str(caught.value) == f"--device: unknown device {text!r}\n  {hint}"
    assert caught.value.code == "unknown-device"
