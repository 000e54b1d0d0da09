"""Whole processes: `show` against the chapter's hand-written script; help, version and a typo against importing torch.

python -m tests.benchmarks.process [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.timing import in_turn, process, report

BY_HAND = """
import torch
from torch import nn
torch.manual_seed(1)
net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
X = torch.rand(2, 4)
Y = net(X).sum()
Y.backward()
print(net)
print(*[(name, p.shape) for name, p in net.named_parameters()])
for name, p in net.named_parameters():
    print(name, p.data, p.grad)
print(Y)
"""
TOOL = (sys.executable, "-m", "paraminspect")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        typo = Path(folder, "typo.yaml")
        typo.write_text("layers:\n  - Lineer: [4, 3]\n")
        ways = {
            "the chapter's script by hand": process(sys.executable, "-c", BY_HAND),
            "show configs/mlp.yaml": process(*TOOL, "show", "configs/mlp.yaml"),
        }
        report(in_turn(ways, rounds), "the chapter's script by hand", {"show configs/mlp.yaml": 0.95})
        print()
        ways = {
            "import torch": process(sys.executable, "-c", "import torch"),
            "--help": process(*TOOL, "--help"),
            "--version": process(*TOOL, "--version"),
            "show --help": process(*TOOL, "show", "--help"),
            "a spec with a typo": process(*TOOL, "show", str(typo), code=2),
        }
        bounds = {**dict.fromkeys([*ways][1:], 0.09), "a spec with a typo": 0.14}
        report(in_turn(ways, rounds), "import torch", bounds)


if __name__ == "__main__":
    main()
