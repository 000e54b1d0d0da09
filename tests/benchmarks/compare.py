"""`compare` of 6 schemes × 5 seeds against the 30 runs it stands for: build, initialise, forward, backward, by hand.

python -m tests.benchmarks.compare [--layers N] [--width N] [--batch N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from paraminspect.experiments.compare import compare
from paraminspect.experiments.contenders import Contender, Size
from paraminspect.init.rules import bind_rules, option_rules
from paraminspect.sources.sequential import load
from paraminspect.spec.parse import parse_spec
from tests.benchmarks.timing import in_turn, report

BASE = "30 bare runs"
BY_HAND: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_normal:nonlinearity=relu": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "kaiming_uniform:nonlinearity=relu": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "normal:std=0.01": partial(nn.init.normal_, std=0.01),
    "normal:std=1": nn.init.normal_,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    layers, width, batch, seeds = options.layers, options.width, options.batch, options.seeds
    sizes = [width] * (layers + 1)
    spec = parse_spec(
        f"{{layers: [MLP: {{sizes: {sizes}}}], input: {{shape: [{batch}, {width}], sample: normal}}}}", "s.yaml"
    )

    def ours() -> None:
        contenders = [
            Contender(name, bind_rules(option_rules(name if function else None, None, ()), allow_code=False))
            for name, function in BY_HAND.items()
        ]
        found = compare(contenders, [Size(lambda later: load(replace(spec, seed=later)))], seeds)
        if found.errors:
            raise SystemExit(f"compare failed: {found.errors[0].message}")

    def bare() -> None:
        for function in BY_HAND.values():
            for seed in range(seeds):
                run_by_hand(function, seed, layers, width, batch)

    report(in_turn({BASE: bare, "compare": ours}, options.rounds), BASE, {"compare": 1.5})


def run_by_hand(function: Callable[[Tensor], Tensor] | None, seed: int, layers: int, width: int, batch: int) -> None:
    torch.manual_seed(seed)
    modules = [module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())]
    net = nn.Sequential(*modules[:-1])
    x = torch.randn(batch, width)
    for module in net.modules():
        if function is not None and isinstance(module, nn.Linear):
            function(module.weight)
    net(x).sum().backward()


if __name__ == "__main__":
    main()
