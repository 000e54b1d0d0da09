"""The tree of layers against one bare forward and backward, and against torchinfo with the same columns.

python -m tests.benchmarks.summary [--model NAME …] [--rounds N]

`summary` runs a forward and a backward, counts what every operation computes, and writes the table. torchinfo runs a
forward alone, so that it is held against torchinfo and one bare forward and backward. Lightning and fvcore, where they
are installed, do their own job beside it. The last lines nest modules ever deeper: the time grows with their number.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import paraminspect
from tests.benchmarks.timing import in_turn, report

BARE, OURS, TORCHINFO = "forward and backward", "summary", "torchinfo.summary, forward alone"
SUM = "torchinfo and forward and backward"


class Bottleneck(nn.Module):
    """The block of ResNet-50 (He et al. 2015, table 1)."""

    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or into != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(into, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def resnet50() -> nn.Module:
    """Return ResNet-50 as torchvision has it: 25,557,032 parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    into = 64
    for blocks, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        inside = [Bottleneck(into if not at else 4 * width, width, 1 if at else stride) for at in range(blocks)]
        layers.append(nn.Sequential(*inside))
        into = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)


def mlp(layers: int, width: int) -> nn.Module:
    return nn.Sequential(*[module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())])


def nested(depth: int, width: int = 32) -> nn.Module:
    """Return modules nested `depth` deep, each with a layer of its own."""
    found: nn.Module = nn.Linear(width, width)
    for _ in range(depth):
        found = nn.Sequential(nn.Linear(width, width), found)
    return found


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "resnet50": lambda: (resnet50(), torch.randn(2, 3, 224, 224)),
    "transformer": lambda: (transformer(), torch.randn(2, 128, 512)),
    "mlp": lambda: (mlp(5_000, 256), torch.randn(64, 256)),
    "small-mlp": lambda: (mlp(5_000, 64), torch.randn(64, 64)),
}


def bare(net: nn.Module, x: Tensor) -> None:
    net.zero_grad()
    net(x).sum().backward()


def ours(net: nn.Module, x: Tensor) -> None:
    net.zero_grad()
    found = paraminspect.summary(net, x)
    if found.errors or found.totals.parameters != sum(p.numel() for p in net.parameters()):
        raise SystemExit(found.errors or "the total is wrong")
    str(found)


def ways(net: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return what is compared; the peers that are not installed are left out."""
    found: dict[str, Callable[[], object]] = {BARE: lambda: bare(net, x), OURS: lambda: ours(net, x)}
    columns = ("input_size", "output_size", "num_params", "kernel_size", "mult_adds", "trainable")
    if importlib.util.find_spec("torchinfo"):
        from torchinfo import summary

        found[TORCHINFO] = lambda: str(summary(net, input_data=x, depth=99, col_names=columns, verbose=0))
    if importlib.util.find_spec("pytorch_lightning"):
        from pytorch_lightning import LightningModule
        from pytorch_lightning.utilities.model_summary import ModelSummary

        wrapped = LightningModule()
        wrapped.net, wrapped.example_input_array = net, x
        wrapped.forward = net.forward
        found["Lightning ModelSummary"] = lambda: str(ModelSummary(wrapped, max_depth=-1))
    if importlib.util.find_spec("fvcore"):
        from fvcore.nn import FlopCountAnalysis, flop_count_table

        found["fvcore flop_count_table"] = lambda: flop_count_table(FlopCountAnalysis(net, x), max_depth=99)
    return found


def compare(name: str, rounds: int) -> None:
    net, x = MODELS[name]()
    print(f"{name}, {sum(1 for _ in net.modules()):,} modules")
    medians = in_turn(ways(net, x), rounds)
    bounds = {OURS: 2.0}
    if TORCHINFO in medians:
        medians[SUM] = medians[TORCHINFO] + medians[BARE]
        bounds[OURS] = min(2.0, medians[SUM] / medians[BARE])
    report(medians, BARE, bounds)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in options.model:
        compare(name, options.rounds)
    print("nested ever deeper")
    deep = {f"{depth} deep": nested(depth) for depth in (40, 80, 160)}
    x = torch.randn(8, 32)
    report(in_turn({name: lambda net=net: ours(net, x) for name, net in deep.items()}, options.rounds), "40 deep", {})


if __name__ == "__main__":
    main()
