"""Time several ways of doing one thing in turn, so that a noisy machine disturbs them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable


def in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way over `rounds` rounds, one of each per round, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def process(*command: str, code: int = 0) -> Callable[[], None]:
    """Return a way that runs a whole process and checks its exit code."""

    def way() -> None:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != code:
            raise SystemExit(f"{command} ended with {done.returncode}")

    return way


def report(medians: dict[str, float], base: str, bounds: dict[str, float]) -> None:
    """Print every median and its ratio to `base`, beside the bound it should keep."""
    for name, seconds in medians.items():
        bound = f"  (at most {bounds[name]:g})" if name in bounds else ""
        print(f"{name:<44}{seconds:8.3f} s  {seconds / medians[base]:6.2f} x{bound}")
