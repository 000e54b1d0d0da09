"""`show` with gradients of a 5,000-layer MLP against torchinfo.summary of the same model plus one forward and backward.

pip install torchinfo; python -m tests.benchmarks.deep [--layers N]
"""

from __future__ import annotations

import argparse
import contextlib
import io

import torch
from torch import nn

from paraminspect.cli.app import main as command
from tests.benchmarks.timing import in_turn, report

WIDTH, BATCH = 64, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from torchinfo import summary

    spec = (
        f'{{"layers": [{{"Repeat": {{"times": {options.layers // 2}, "layers": '
        f'[{{"Linear": [{WIDTH}, {WIDTH}]}}, "Tanh"]}}}}], "input": [{BATCH}, {WIDTH}]}}'
    )

    def theirs() -> None:
        net = nn.Sequential(*[m for _ in range(options.layers // 2) for m in (nn.Linear(WIDTH, WIDTH), nn.Tanh())])
        str(summary(net, input_size=(BATCH, WIDTH), verbose=0))
        net(torch.rand(BATCH, WIDTH)).sum().backward()

    def ours() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            if command(["show", path, "-q", "-f", "plain"]) != 0:
                raise SystemExit("show failed")

    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(spec)
        file.flush()
        path = file.name
        ways = {"torchinfo.summary + forward + backward": theirs, "show, statistics and gradients": ours}
        medians = in_turn(ways, options.rounds)
    report(medians, "torchinfo.summary + forward + backward", {"show, statistics and gradients": 1.5})


if __name__ == "__main__":
    main()
