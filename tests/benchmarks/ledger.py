"""A whole inspection of a deep MLP against one forward and backward, with and without a pass of torch over the weights.

python -m tests.benchmarks.ledger [--layers N] [--width N …]
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.forward_backward import run_passes
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.modules.subject import Batch, Given, Loss, Subject
from paraminspect.report import Source
from tests.benchmarks.timing import in_turn, report

BATCH = 32
BASE, MEASURED = "forward, backward", "forward, backward, mean/std/min/max/norm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=1000)
    parser.add_argument("--width", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for width in options.width:
        net = nn.Sequential(*[m for _ in range(options.layers // 2) for m in (nn.Linear(width, width), nn.ReLU())])
        print(f"{options.layers:,} layers of width {width}, batch {BATCH}")
        compare(net, torch.rand(BATCH, width), options.rounds)


def compare(net: nn.Sequential, x: Tensor, rounds: int) -> None:
    batch = Batch((Given(x),))
    subject = Subject(net, Source("module", "mlp"), None, lambda: batch)

    def bare() -> None:
        net.zero_grad()
        net(x).sum().backward()

    def measured() -> None:
        bare()
        for parameter in net.parameters():
            weight = parameter.detach()
            _ = weight.mean(), weight.std(), weight.min(), weight.max(), weight.norm()

    def passes(follow: tuple[Tensor, ...]) -> None:
        net.zero_grad()
        run_passes(net, batch, Loss(), follow=follow)

    ways = {
        BASE: bare,
        MEASURED: measured,
        "passes, nothing followed": lambda: passes(()),
        "passes, every use followed": lambda: passes(tuple(net.parameters())),
        "inspection": lambda: show(subject, Request("show")),
        "inspection, every use followed": lambda: show(subject, Request("grad", all_uses=True)),
    }
    report(in_turn(ways, rounds), BASE, {"inspection": 2.0, "inspection, every use followed": 3.0})


if __name__ == "__main__":
    main()
