"""Whole processes that check against those that show, and ten files with and without --jobs.

    python -m tests.benchmarks.check [--rounds N] [--mib M]

CPU seconds (user and system) for what one process does, with one thread, as waiting ones spin; the least of the rounds,
as other work on the machine only adds to them. Wall seconds for what several processes share, medians. The files are
written into a temporary folder, and are in the page cache when they are read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.benchmarks.timing import in_turn, process, report

TOOL = (sys.executable, "-m", "paraminspect")
MODELS = ("mlp", "cnn", "deep-relu", "transformer")


def cpu_seconds(*words: str) -> float:
    """Return the CPU seconds of a process, and of those it starts and waits for."""
    before = os.times()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*TOOL, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{words} ended with {done.returncode}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def pair(name: str, base: tuple[str, ...], other: tuple[str, ...], rounds: int, bound: float) -> None:
    """Print what `other` takes of the CPU time of `base`."""
    times: dict[tuple[str, ...], list[float]] = {base: [], other: []}
    for round_ in range(rounds + 1):
        for words in (base, other):
            seconds = cpu_seconds(*words)
            if round_:
                times[words].append(seconds)
    one, two = (min(times[words]) for words in (base, other))
    print(f"{name:<44}{one:8.3f} s {two:8.3f} s  {two / one:6.2f} x  (at most {bound:g})")


def write_files(folder: Path, count: int, mib: int) -> list[str]:
    """Write files of one float32 tensor each, of random values."""
    paths = []
    for number in range(count):
        path = folder / f"m{number}.safetensors"
        save_file({"w": torch.randn(mib, 1 << 18, generator=torch.Generator().manual_seed(number))}, path)
        paths.append(str(path))
    return paths


def main() -> None:
    """Print ratios in one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=256)
    given = parser.parse_args()
    for model in MODELS:
        pair(f"check {model} / show {model}", ("show", model), ("check", model), given.rounds, 1.25)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), 10, given.mib)
        values = ("show", files[0], "--stats")
        pair(f"check / show --stats, {given.mib} MiB", values, ("check", files[0]), given.rounds, 1.05)
        ways = {
            f"ten files, --jobs {jobs}": process(*TOOL, "check", *files, "--jobs", str(jobs), code=0) for jobs in (1, 2)
        }
        medians = in_turn(ways, max(given.rounds // 2, 1))
        report(medians, "ten files, --jobs 1", {})
        models = [f"{model}" for model in ("cnn", "deep-relu") for _ in range(5)]
        ways = {
            f"ten models, --jobs {jobs}": process(*TOOL, "check", *models, "--jobs", str(jobs), code=1)
            for jobs in (1, 2)
        }
        report(in_turn(ways, max(given.rounds // 2, 1)), "ten models, --jobs 1", {})


if __name__ == "__main__":
    main()
