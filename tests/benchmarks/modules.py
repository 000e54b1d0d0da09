"""A full inspection of a module against one bare forward and backward plus one pass over the weights, and the peers.

python -m tests.benchmarks.modules [--model mlp|transformer] [--rounds N]

Where they are installed (torchinfo, pytorch-lightning, fvcore), the summarisers do their own job beside ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import paraminspect
from tests.benchmarks.timing import in_turn, report

LAYERS, WIDTH, BATCH = 1_000, 256, 32
BARE, FULL, LEDGER = "forward, backward, one pass over the weights", "inspect", "inspect, every use followed"


class Transformer(nn.Module):
    """A hundred million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20_000, 768)
        layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.embedding(ids))


def mlp() -> tuple[nn.Module, Tensor]:
    layers = [module for _ in range(LAYERS) for module in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(BATCH, WIDTH)


def transformer() -> tuple[nn.Module, Tensor]:
    return Transformer(), torch.randint(0, 20_000, (2, 64))


MODELS = {"mlp": mlp, "transformer": transformer}


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


def memory(model: str, way: str) -> int:
    """Return the peak of resident memory, in bytes, of a process that does one thing with one model."""
    code = (
        f"from tests.benchmarks import modules as m; net, x = m.MODELS[{model!r}]();"
        f"m.bare(net, x) if {way!r} == 'bare' else m.full(net, x, {way!r} == 'ledger');"
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.model or MODELS:
        net, x = MODELS[name]()
        size = sum(p.numel() for p in net.parameters())
        print(f"{name}: {size:,} parameters, input {tuple(x.shape)}")
        ways = {
            BARE: lambda net=net, x=x: (bare(net, x), one_pass(net)),
            FULL: lambda net=net, x=x: full(net, x, uses=False),
            LEDGER: lambda net=net, x=x: full(net, x, uses=True),
        }
        report(in_turn(ways, options.rounds), BARE, {FULL: 2, LEDGER: 4})
        static = "inspect, no forward, no statistics"
        others = {
            static: lambda net=net: str(paraminspect.inspect(net, forward=False, statistics=False)),
            **peers(net, x),
        }
        report(in_turn(others, options.rounds), static, {})
        largest = max(p.numel() * p.element_size() for p in net.parameters())
        base = memory(name, "bare")
        for way, allowed in (("full", largest), ("ledger", 2 * largest)):
            extra = memory(name, way) - base
            print(f"memory beyond the bare pass, {way}: {extra / 2**20:.0f} MiB (at most {allowed / 2**20:.0f} MiB)")


if __name__ == "__main__":
    main()
