"""`diff` of two equal files against cmp, and of two that differ everywhere against the same in torch.

python -m tests.benchmarks.diff [--gib N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.timing import in_turn, process, report

BOUNDS = {"diff, equal": 1.5}
SCRIPT = """
import sys
from safetensors.torch import load_file
a, b = map(load_file, sys.argv[1:])
for name, one in a.items():
    one, other = one.double(), b[name].double()
    change = other - one
    (change != 0).sum(), change.abs().max(), change.norm() / one.norm()
    (one * other).sum() / one.norm() / other.norm()
"""


def write(path: Path, size: int, tensors: int, seed: int) -> None:
    """Write a file of so many tensors, block by block."""
    each = size // tensors // 4 * 4
    header = {
        f"layers.{at}.weight": {"dtype": "F32", "shape": [each // 4], "data_offsets": [at * each, (at + 1) * each]}
        for at in range(tensors)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = np.random.default_rng(seed).standard_normal(2**20).astype(np.float32).tobytes()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for left in range(each * tensors, 0, -len(block)):
            file.write(block[:left])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        one, twin, other, small, same = (Path(folder, f"{name}.safetensors") for name in ("a", "b", "c", "d", "e"))
        write(one, int(given.gib * 2**30), 64, 0)
        write(other, int(given.gib * 2**30), 64, 1)
        write(small, 2**22, 20_000, 0)
        shutil.copy(one, twin)
        shutil.copy(small, same)
        tool = (sys.executable, "-m", "paraminspect", "diff")
        equal = {
            "cmp": process("cmp", str(one), str(twin)),
            "diff, equal": process(*tool, str(one), str(twin), "-q"),
            "diff, 20,000 small tensors": process(*tool, str(small), str(same), "-q"),
        }
        report(in_turn(equal, given.rounds), "cmp", BOUNDS)
        moved = {
            "the same in torch": process(sys.executable, "-c", SCRIPT, str(one), str(other)),
            "diff, all differ": process(*tool, str(one), str(other), "-q", code=1),
        }
        report(in_turn(moved, 1), "the same in torch", {"diff, all differ": 1.0})
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"largest process: {peak / 1024:.0f} MiB, the script in torch among them")


if __name__ == "__main__":
    main()
