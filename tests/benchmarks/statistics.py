"""Time `measure` against the torch calls a reader would write, and weigh the memory it takes.

    python -m tests.benchmarks.statistics --elements 268435456

It exits with 1 when memory
beyond the tensor exceeds 64 MB; times are printed, not judged.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from paraminspect.analysis.statistics.tensor_values import measure

MEMORY_LIMIT = 64_000_000
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int32, torch.int8, torch.float8_e4m3fn)


def six_calls(x: torch.Tensor) -> None:
    """What `measure` replaces."""
    x.mean(), x.std(), x.min(), x.max(), (x == 0).sum(), x.isnan().sum()


def seconds(call: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def resident() -> int:
    """Return the bytes resident now; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def extra_memory(x: torch.Tensor) -> int:
    """Return how far the peak of resident memory during `measure` lies above what was resident before."""
    before = resident()
    measure(x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def bench_large(elements: int, repeats: int) -> bool:
    x = torch.empty(elements).normal_()
    extra = extra_memory(x)
    ours, theirs = seconds(lambda: measure(x), repeats), seconds(lambda: six_calls(x), repeats)
    gigabytes = x.nbytes / 1e9
    print(f"float32, {elements:,} elements, {torch.get_num_threads()} threads, best of {repeats}")
    print(f"  measure     {ours:8.3f} s  {gigabytes / ours:6.2f} GB/s")
    print(f"  six calls   {theirs:8.3f} s  {gigabytes / theirs:6.2f} GB/s")
    print(f"  ratio       {theirs / ours:8.1f}")
    print(f"  extra peak  {extra / 1e6:8.1f} MB, limit {MEMORY_LIMIT / 1e6:.0f} MB")
    return extra < MEMORY_LIMIT


def bench_types(elements: int, repeats: int) -> None:
    print(f"\nother types, {elements:,} elements, best of {repeats}")
    for dtype in TYPES:
        x = torch.empty(elements).normal_().mul_(50).to(dtype)
        ours = seconds(lambda x=x: measure(x), repeats)
        print(f"  {str(dtype).removeprefix('torch.'):<14}{elements / ours / 1e9:6.2f} Gelements/s")


def bench_tiny(calls: int, repeats: int) -> None:
    print(f"\ntiny float32 parameters, best of {repeats} means over {calls} calls")
    for elements in (3, 30, 300, 1000):
        x = torch.nn.Parameter(torch.empty(elements).normal_())

        def loop(x: torch.Tensor = x) -> None:
            for _ in range(calls):
                measure(x)

        print(f"  {elements:>5} elements {seconds(loop, repeats) / calls * 1e6:6.1f} µs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=256 * 2**20, help="of the large tensor (default: 256 Mi)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    within = bench_large(options.elements, options.repeats)
    bench_types(min(options.elements, 2**24), options.repeats)
    bench_tiny(50, 200)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
