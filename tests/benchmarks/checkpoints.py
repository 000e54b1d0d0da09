"""Whole processes that list checkpoints against importing torch, and values in files against the loop over load_file.

    python -m tests.benchmarks.checkpoints [--rounds N] [--gib G]

The files are written into a temporary folder; one of values has so many GiB and is in the page cache when it is read.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.sources.checkpoint.listing import list_checkpoint
from tests.benchmarks.timing import in_turn, process, report

TOOL = (sys.executable, "-m", "paraminspect", "show")


def write_headers(path: Path, names: list[str]) -> None:
    """Write a safetensors file of small tensors with these names, its data a hole in the file."""
    header = {
        name: {"dtype": "BF16", "shape": [2, 4], "data_offsets": [16 * at, 16 * at + 16]}
        for at, name in enumerate(names)
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 16 * len(names))


def experts(count: int) -> list[str]:
    """Return names as those of a mixture of experts in 61 layers."""
    kinds = ("gate", "up", "down")
    return [f"model.layers.{at % 61}.mlp.experts.{at // 183}.{kinds[at // 61 % 3]}_proj.weight" for at in range(count)]


def write_shards(folder: Path, names: list[str], count: int) -> Path:
    """Write the names into so many shards, and their index."""
    folder.mkdir()
    shards = {}
    for number in range(count):
        shard, part = f"m-{number + 1:05}-of-{count:05}.safetensors", names[number::count]
        write_headers(folder / shard, part)
        shards |= dict.fromkeys(part, shard)
    index = folder / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 16 * len(names)}, "weight_map": shards}), encoding="utf-8")
    return index


def loop(path: Path) -> None:
    """Compute by hand what --stats computes."""
    for one in load_file(path).values():
        plain = one.float()
        plain.mean(), plain.std(), plain.min(), plain.max(), (one == 0).sum(), one.isnan().sum()


def seconds(call: object, *args: object) -> float:
    start = time.perf_counter()
    call(*args)  # type: ignore[operator]
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gib", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_headers(folder / "one.safetensors", experts(100_000))
        index = write_shards(folder / "many", experts(92_000), 163)
        ways = {
            "import torch": process(sys.executable, "-c", "import torch"),
            "100,000 tensors in a file": process(*TOOL, str(folder / "one.safetensors")),
            "92,000 tensors in 163 shards": process(*TOOL, str(index)),
        }
        bars = {"100,000 tensors in a file": 0.6, "92,000 tensors in 163 shards": 1.0}
        report(in_turn(ways, options.rounds), "import torch", bars)
        for dtype in (torch.float32, torch.bfloat16):
            count = max(1, int(options.gib * 2**30 / dtype.itemsize / 2**23))
            path = folder / "values.safetensors"
            save_file({f"layers.{at}.weight": torch.randn(4096, 2048).to(dtype) for at in range(count)}, path)
            found = list_checkpoint(str(path))
            ours, by_hand = (
                min(seconds(*call) for _ in range(2)) for call in ((measure_checkpoint, found, ()), (loop, path))
            )
            added = seconds(lambda path=path: [one.sum() for one in load_file(path).values()])
            print(
                f"{dtype}, {path.stat().st_size / 2**30:.2f} GiB: --stats {ours:.2f} s, the loop {by_hand:.2f} s",
                end="",
            )
            print(f" ({by_hand / ours:.1f} x), torch.sum {added:.2f} s")


if __name__ == "__main__":
    main()
