"""What an optimizer keeps of each parameter, read from real training checkpoints, against the optimizer itself."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict

from paraminspect.experiments.checkpoint_report import report_of_checkpoint
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.render import render
from paraminspect.report import Report
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.text.escape import View


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(3))
        self.never = nn.Linear(4, 3)
        self.sometimes = nn.Linear(4, 2, bias=False)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor, often: bool) -> torch.Tensor:
        x = self.embed(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x).square().mean() + (self.sometimes(x).sum() if often else 0)


def two_groups(net: Net) -> list[dict[str, object]]:
    """Return weights with decay and the rest without, as most training scripts have them."""
    wide = [one for one in net.parameters() if one.dim() > 1]
    return [{"params": wide}, {"params": [one for one in net.parameters() if one.dim() < 2], "weight_decay": 0.0}]


def trained(make: Callable[[Net], torch.optim.Optimizer]) -> tuple[Net, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = Net()
    optimizer = make(net)
    for step in range(3):
        optimizer.zero_grad()
        net(torch.arange(7), step == 0).backward()
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda net: torch.optim.AdamW(net.parameters()),
        lambda net: torch.optim.AdamW(two_groups(net)),
        lambda net: torch.optim.Adam(net.named_parameters()),
        lambda net: torch.optim.SGD(net.parameters(), momentum=0.9),
        lambda net: torch.optim.RMSprop(net.parameters()),
    ],
)
def test_the_state_of_each_parameter_is_found_under_its_name(
    tmp_path: Path, make: Callable[..., torch.optim.Optimizer]
) -> None:
    net, optimizer = trained(make)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1).state_dict()
    rest = {"lr_schedulers": [schedule], "epoch": 3, "seeds": [torch.get_rng_state(), random.getstate()]}
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), **rest}, tmp_path / "x.ckpt")
    checkpoint = list_checkpoint(str(tmp_path / "x.ckpt"))
    values = measure_checkpoint(checkpoint, ()).values
    report = report_of_checkpoint(checkpoint, "show", values=values)
    assert report.checkpoint is not None
    (found,) = report.checkpoint.optimizers
    expected = {f"model.{name}": optimizer.state[one] for name, one in net.named_parameters() if optimizer.state[one]}
    assert {one.parameter for one in found.parameters} == set(expected)
    for one in found.parameters:
        state = {key: value for key, value in expected[one.parameter or ""].items() if value is not None}
        assert set(one.tensors) == set(state)
        assert one.step == (float(state["step"]) if "step" in state else None)
        for word, name in one.tensors.items():
            measured = values[name]
            assert measured is not None and measured.mean == pytest.approx(
                state[word].mean().item(), rel=1e-5, abs=1e-12
            )
    assert set(found.without) == {"model.never.weight", "model.never.bias"}
    assert [one.rule for one in report.findings] == (["PI631", "PI632"] if "step" in state else ["PI632"])
    if "step" in state:
        assert "(1)" in report.findings[0].message and "model.sometimes.weight" in report.findings[0].message
    parts = {one.name: (one.holds, one.bytes, one.text) for one in report.checkpoint.parts}
    held = sum(one.nbytes for state in optimizer.state.values() for one in state.values() if one is not None)
    assert parts == {
        "model": ("weights", sum(one.nbytes for one in net.state_dict().values()) - 112, None),
        "optimizer": ("optimizer", held, None),
        "lr_schedulers": ("scheduler", 0, None),
        "seeds": ("random state", 5056, None),
        "epoch": ("value", 0, "3"),
    }
    rows_add_up(report, sum(one.numel() for one in {**net.state_dict()}.values()) - 28)
    assert report.headline is not None and report.headline.tone == "note"


def test_the_weights_of_a_generator_are_no_random_state(tmp_path: Path) -> None:
    """As a GAN has them: beside its training, and in a state_dict, which is no training checkpoint."""
    gan = nn.ModuleDict({"generator": nn.Linear(3, 2), "discriminator": nn.Linear(2, 1)})
    optimizer = torch.optim.Adam(gan.parameters())
    gan["discriminator"](gan["generator"](torch.ones(1, 3))).sum().backward()
    optimizer.step()
    torch.save(gan.state_dict(), tmp_path / "weights.pt")
    parts = {name: one.state_dict() for name, one in gan.items()}
    torch.save({**parts, "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}, tmp_path / "x.ckpt")
    holds = {}
    for name in ("weights.pt", "x.ckpt"):
        found = report_of_checkpoint(list_checkpoint(str(tmp_path / name)), "show").checkpoint
        assert found is not None
        holds[name] = {one.name: one.holds for one in found.parts}
    words = {"generator": "weights", "discriminator": "weights", "optimizer": "optimizer", "rng": "random state"}
    assert holds == {"weights.pt": {}, "x.ckpt": words}


def rows_add_up(report: Report, numel: int) -> None:
    """Hold the total against the state_dict, whose tie is counted once, and the page against the report."""
    model = sum(row.numel or 0 for row in report.parameters if row.name.startswith("model."))
    assert model == numel and sum(row.numel or 0 for row in report.parameters) == report.totals.parameters
    text = "".join(render(report, "table", View()))
    assert "  = model.head.weight" in text and "model.layers.{0..2}.0.weight ×3" in text
    assert "model.never.weight" in text.partition("state of optimizer")[2]


def test_a_distributed_checkpoint_says_of_which_parameters_it_has_no_state(tmp_path: Path) -> None:
    net, optimizer = trained(lambda net: torch.optim.AdamW(two_groups(net)))
    model, state = get_state_dict(net, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no process group was made
        dcp.save({"model": model, "optim": state, "epoch": 3}, checkpoint_id=tmp_path / "x")
    report = report_of_checkpoint(list_checkpoint(str(tmp_path / "x")), "show")
    assert report.checkpoint is not None
    (found,) = report.checkpoint.optimizers
    expected = {f"model.{name}" for name, one in net.named_parameters() if optimizer.state[one]}
    assert {one.parameter for one in found.parameters} == expected
    assert set(found.without) == {"model.never.weight", "model.never.bias"}
    assert [(one.name, one.holds) for one in report.checkpoint.parts if one.name != "model"] == [
        ("optim", "optimizer"),
        ("epoch", "value"),
    ]


def test_the_files_of_a_training_beside_a_model_are_named_and_not_mixed_with_it(tmp_path: Path) -> None:
    net, optimizer = trained(lambda net: torch.optim.AdamW(net.parameters()))
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    (tmp_path / "rng_state_0.pth").write_bytes(bytes(7))
    report = report_of_checkpoint(list_checkpoint(str(tmp_path)), "show")
    assert report.checkpoint is not None and [one.rule for one in report.findings] == []
    assert report.totals.parameters == sum(one.numel() for one in net.state_dict().values()) - 28
    assert {one.name: one.bytes for one in report.checkpoint.beside} == {
        "optimizer.pt": (tmp_path / "optimizer.pt").stat().st_size,
        "rng_state_0.pth": 7,
    }
    alone = report_of_checkpoint(list_checkpoint(str(tmp_path / "optimizer.pt")), "show")
    assert [one.message.partition(" ")[0] for one in alone.findings] == ["has", "has"]
    assert "the optimizer has no state for 2 parameters" in "".join(render(alone, "plain", View()))


def test_a_name_that_cannot_be_told_for_sure_is_not_given(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = torch.optim.Adam(net[1].parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "x.pt")
    report = report_of_checkpoint(list_checkpoint(str(tmp_path / "x.pt")), "show")
    assert report.checkpoint is not None
    (found,) = report.checkpoint.optimizers
    assert [(one.key, one.parameter, one.step) for one in found.parameters] == [("0", None, 1.0), ("1", None, 1.0)]
