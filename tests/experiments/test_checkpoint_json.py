"""The JSON report of a checkpoint keeps to its schema, whatever the file."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from torch import nn

from paraminspect.experiments.checkpoint_report import report_of_checkpoint
from paraminspect.experiments.checkpoint_sharing import sharing_of
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.render import render
from paraminspect.report.report_schema import report_schema
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.text.escape import View


@pytest.mark.parametrize("cut", [0, 300])
def test_the_report_of_a_checkpoint_keeps_to_the_schema(tmp_path: Path, cut: int) -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    made = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "bad": torch.tensor([float("nan")]),
        "epoch": 3,
    }
    torch.save(made, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) - cut // 10])
    checkpoint = list_checkpoint(str(tmp_path / "x.pt"))
    for command in ("show", "share"):
        report = report_of_checkpoint(
            checkpoint, command, values=measure_checkpoint(checkpoint, ()).values, sharing=sharing_of(checkpoint)
        )
        found = json.loads("".join(render(report, "json", View())))
        jsonschema.Draft202012Validator(report_schema()).validate(found)
        assert found["headline"]["tone"] == "error" and bool(found["errors"]) == bool(cut)
        (kept,) = found["checkpoint"]["optimizers"]
        assert [one["parameter"] for one in kept["parameters"]] == ["model.weight", "model.bias"]
        assert sum(one["numel"] for one in found["parameters"]) == found["totals"]["parameters"]
