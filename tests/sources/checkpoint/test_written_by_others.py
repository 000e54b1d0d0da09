"""Checkpoints as transformers and two processes of torch.distributed write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from paraminspect.experiments.checkpoint_sharing import sharing_of
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.sources.checkpoint.listing import list_checkpoint


def test_a_sharded_save_pretrained(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=50,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    found = list_checkpoint(str(tmp_path))
    state = {name: one for name, one in model.state_dict().items() if name != "lm_head.weight"}
    assert not found.faults and len(found.parts) > 2
    assert {one.name: one.shape for one in found.tensors} == {name: tuple(one.shape) for name, one in state.items()}
    values = measure_checkpoint(found, ()).values
    for name, one in state.items():
        measured = values[name]
        assert measured is not None and measured.mean == pytest.approx(one.double().mean().item(), rel=1e-9, abs=1e-12)
    assert {one.kind for one in sharing_of(found)} == {"equal-constant"}  # the norms, which are fresh


TWO = """
import os, sys, warnings
import torch, torch.distributed as dist, torch.multiprocessing as mp
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

def run(rank, path):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29617", RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    made = {
        "rows": distribute_tensor(torch.randn(7, 4), mesh, [Shard(0)]),
        "columns": distribute_tensor(torch.randn(6, 8), mesh, [Shard(1)]),
        "whole": distribute_tensor(torch.randn(5), mesh, [Replicate()]),
        "plain": torch.arange(3),
    }
    dcp.save(made, checkpoint_id=path)
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(run, (sys.argv[1],), nprocs=2)
"""


@pytest.mark.slow
def test_what_two_processes_save_together(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    subprocess.run([sys.executable, "two.py", "dcp"], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    found = list_checkpoint(str(tmp_path / "dcp"))
    torch.manual_seed(0)
    made = {"rows": torch.randn(7, 4), "columns": torch.randn(6, 8), "whole": torch.randn(5), "plain": torch.arange(3)}
    assert not found.faults and len(found.parts) == 2
    assert {one.name: (one.shape, len(one.pieces)) for one in found.tensors} == {
        "rows": ((7, 4), 2),
        "columns": ((6, 8), 2),
        "whole": ((5,), 1),
        "plain": ((3,), 1),
    }
    measured = measure_checkpoint(found, ())
    assert not measured.failures
    for name, one in made.items():
        values = measured.values[name]
        assert values is not None and (values.min, values.max) == (one.min().item(), one.max().item())
        assert values.mean == pytest.approx(one.double().mean().item(), rel=1e-6)
    loaded = {name: torch.zeros_like(one) for name, one in made.items()}
    with pytest.warns(UserWarning):
        dcp.load(loaded, checkpoint_id=str(tmp_path / "dcp"))
    assert all(torch.equal(loaded[name], one) for name, one in made.items())
    data = next(path for path in (tmp_path / "dcp").glob("__1*.distcp"))
    data.unlink()
    faults = {(fault.code, fault.where) for fault in list_checkpoint(str(tmp_path / "dcp")).faults}
    assert {("missing-shard", data.name), ("missing-tensor", "rows"), ("missing-tensor", "columns")} <= faults
