"""Normals cut at two standard deviations, ours and torch's, and LSUV, against the plain fill or forward.

python -m tests.benchmarks.schemes
"""

from __future__ import annotations

import torch
from torch import nn

from paraminspect.init.calibration import calibrate
from paraminspect.init.schemes.registry import bind
from tests.benchmarks.timing import in_turn, report

DEPTH, WIDTH = 50, 512


def fills() -> None:
    weight = torch.empty(2048, 2048)
    lecun, half = bind("lecun_normal", {}), torch.empty(2048, 2048, dtype=torch.bfloat16)
    ways = {
        "normal_": lambda: nn.init.normal_(weight),
        "lecun_normal, cut": lambda: lecun.apply(weight),
        "lecun_normal, cut, bfloat16": lambda: lecun.apply(half),
        "torch's trunc_normal_": lambda: nn.init.trunc_normal_(weight),
    }
    bounds = {"lecun_normal, cut": 3.0, "lecun_normal, cut, bfloat16": 3.0}
    report(in_turn(ways, rounds=7), "normal_", bounds)


def lsuv() -> None:
    net = nn.Sequential(*(layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())))
    x, scheme = torch.randn(256, WIDTH), bind("lsuv", {})
    names = [name for name, _ in net.named_parameters() if name.endswith("weight")]

    def scaled() -> None:
        with torch.no_grad():
            for name in names:
                net.get_parameter(name).mul_(2.0)
        calibrate(net, (x,), {}, [(name, net.get_parameter(name), scheme) for name in names])

    def forward() -> None:
        with torch.no_grad():
            net(x)

    report(in_turn({"forward": forward, "lsuv": scaled}, rounds=5), "forward", {"lsuv": 5.0})


if __name__ == "__main__":
    fills()
    lsuv()
