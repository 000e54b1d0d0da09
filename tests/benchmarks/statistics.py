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

from paraminspect.analysis.statistics.batched import measure_all
from paraminspect.analysis.statistics.tensor_values import measure

MEMORY_LIMIT = 64_000_000
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int32, torch.int8, torch.float8_e4m3fn)


def six_calls(x: torch.Tensor) -> None:
    """What `measure` replaces."""
    x.mean(), x.std(), x.min(), x.max(), (x == 0).sum(), x.isnan().sum()


def seconds(call: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    best = float("inf")
    for _ in range(times):
        start = clock()
        call()
        best = min(best, clock() - start)
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


def bench_small(calls: int, repeats: int) -> None:
    print(f"\nsmall float32 parameters of which there are {calls}, µs of processor time for each, best of {repeats}")
    for elements in (3, 64, 1000, 4096):
        tensors = [torch.nn.Parameter(torch.empty(elements).normal_()) for _ in range(calls)]
        alone = seconds(lambda tensors=tensors: [measure(x) for x in tensors], repeats, time.process_time)
        together = seconds(lambda tensors=tensors: measure_all(tensors), repeats, time.process_time)
        print(f"  {elements:>5} elements  alone {alone / calls * 1e6:6.1f}  together {together / calls * 1e6:6.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=256 * 2**20, help="of the large tensor (default: 256 Mi)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    within = bench_large(options.elements, options.repeats)
    bench_types(min(options.elements, 2**24), options.repeats)
    bench_small(1000, 10)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
