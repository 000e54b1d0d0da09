"""A full inspection of a module against one bare forward and backward, with and without five calls a weight; the peers.

python -m tests.benchmarks.modules [--model mlp|transformer] [--width N …] [--rounds N]

Where they are installed (torchinfo, pytorch-lightning, fvcore), the summarisers do their own job beside ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import paraminspect
from tests.benchmarks.timing import in_turn, report

LAYERS, BATCH = 1_000, 32
STATUS = Path("/proc/self/status")
BARE, MEASURED = "forward and backward", "forward, backward, one pass over the weights"
FULL, LEDGER = "inspect", "inspect, every use followed"


class Transformer(nn.Module):
    """A hundred million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20_000, 768)
        layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.embedding(ids))


def build(model: str, width: int) -> tuple[nn.Module, Tensor]:
    """Return a model and its input; `width` is that of the MLP."""
    if model == "transformer":
        return Transformer(), torch.randint(0, 20_000, (2, 64))
    layers = [module for _ in range(LAYERS) for module in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(BATCH, width)


def bare(net: nn.Module, x: Tensor) -> None:
    net.zero_grad()
    net(x).sum().backward()


def one_pass(net: nn.Module) -> None:
    for parameter in net.parameters():
        data = parameter.detach()
        data.mean().item(), data.std().item(), data.norm().item(), data.min().item(), data.max().item()


def full(net: nn.Module, x: Tensor, uses: bool) -> None:
    net.zero_grad()
    found = paraminspect.inspect(net, x, uses=uses)
    if found.errors:
        raise SystemExit(found.errors)


def peers(net: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the summarisers that are installed; each prints the parameters of the same model, none its gradients."""
    ways: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("torchinfo"):
        from torchinfo import summary

        ways["torchinfo.summary, no forward"] = lambda: str(summary(net, depth=99, verbose=0))
    if importlib.util.find_spec("pytorch_lightning"):
        from pytorch_lightning import LightningModule
        from pytorch_lightning.utilities.model_summary import ModelSummary

        wrapped = LightningModule()
        wrapped.net = net
        ways["Lightning ModelSummary"] = lambda: str(ModelSummary(wrapped, max_depth=-1))
    if importlib.util.find_spec("fvcore"):
        from fvcore.nn import parameter_count_table

        ways["fvcore parameter_count_table"] = lambda: parameter_count_table(net, max_depth=99)
    return ways


def peak() -> int:
    """Return the peak of resident memory of this process, in bytes; Linux lets `ru_maxrss` begin with the parent's."""
    if STATUS.exists():
        return int(STATUS.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory(model: str, width: int, way: str) -> int:
    """Return the peak of a process that does one thing with one model; what is imported for it is there before."""
    code = (
        "import torch; from tests.benchmarks import modules as m;"
        "m.full(torch.nn.Linear(2, 2), torch.ones(1, 2), True);"
        f"net, x = m.build({model!r}, {width});"
        f"m.bare(net, x) if {way!r} == 'bare' else m.full(net, x, {way!r} == 'ledger'); print(m.peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def compare(model: str, width: int, rounds: int) -> None:
    net, x = build(model, width)
    size = sum(p.numel() for p in net.parameters())
    print(f"{model}: {size:,} parameters, input {tuple(x.shape)}")
    ways: dict[str, Callable[[], object]] = {
        BARE: lambda: bare(net, x),
        MEASURED: lambda: (bare(net, x), one_pass(net)),
        FULL: lambda: full(net, x, uses=False),
        LEDGER: lambda: full(net, x, uses=True),
    }
    report(in_turn(ways, rounds), BARE, {FULL: 2, LEDGER: 3})
    static = "inspect, no forward, no statistics"
    others = {static: lambda: str(paraminspect.inspect(net, forward=False, statistics=False)), **peers(net, x)}
    report(in_turn(others, rounds), static, {})
    largest = max(p.numel() * p.element_size() for p in net.parameters())
    base = memory(model, width, "bare")
    for way, allowed in (("full", largest), ("ledger", 2 * largest)):
        extra = memory(model, width, way) - base
        print(f"memory beyond the bare pass, {way}: {extra / 2**20:.1f} MiB (at most {allowed / 2**20:.1f} MiB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["mlp", "transformer"], action="append")
    parser.add_argument("--width", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for model in options.model or ["mlp", "transformer"]:
        for width in options.width if model == "mlp" else [0]:
            compare(model, width, options.rounds)


if __name__ == "__main__":
    main()
