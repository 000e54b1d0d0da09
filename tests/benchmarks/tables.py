"""A table of 100,000 rows in every format: beyond building the report, and as a part of the whole.

    python -m tests.benchmarks.tables [--rows N]

The whole is building a model of so many tensors, inspecting it and drawing the report, in processor time, against
building it and three reductions of each tensor, as a script does it: with Python's collector on.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from torch import nn

import paraminspect
from paraminspect.render import render
from paraminspect.report import Environment, Gradient, Init, Parameter, Report, Source, Totals, Values
from paraminspect.text.escape import View

BOUNDS = {"plain": 3.0, "csv": 3.0, "json": 3.0, "table": 5.0, "table, not folded": 5.0, "markdown": None}


def literal(rows: int) -> Report:
    """Return a report of many rows with all figures filled in."""
    values = [
        Values(0.001 * i, 0.02, 0.02, -0.1 - i, 0.1 + i, 3.5, 0, 0, 0, (1, 3, 8, 20, 30, 20, 8, 3) * 2)
        for i in range(97)
    ]
    parameters = tuple(
        Parameter(
            name=f"layers.{i // 2}.{'bias' if i % 2 else 'weight'}",
            aliases=(),
            module=f"layers.{i // 2}",
            module_type="Linear",
            kind="parameter",
            shape=(16, 16),
            dtype="float32",
            numel=256,
            bytes=1024,
            device="cpu",
            requires_grad=True,
            identity=i + 1,
            storage=i + 1,
            values=values[i % 97],
            gradient=Gradient("ok", 0.1, 0.2, 0.22, -1.0, 1.0, 3.0, 0, 0, 0),
            init=Init("normal", {"mean": 0.0, "std": 0.02}, 0.0, 0.02, rule="*.weight=normal"),
        )
        for i in range(rows)
    )
    total = Totals(
        parameters=256 * rows, trainable=256 * rows, as_named=256 * rows, bytes=1024 * rows, shown=256 * rows
    )
    environment = Environment("0", "2.13.0", "3.11", "cpu", "float32", 0)
    return Report("show", Source("spec", "wide"), environment, parameters=parameters, totals=total)


def processor_time(call: Callable[[], object], collecting: bool = False) -> float:
    """Return the least of three runs, in seconds; the collector is at rest, as it is in a command, unless wanted."""
    best = float("inf")
    for _ in range(3):
        gc.collect()
        if not collecting:
            gc.disable()
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
        gc.enable()
    return best


def against_reductions(rows: int) -> None:
    """Print the ratio of the whole for every format."""

    def build() -> nn.Module:
        return nn.Sequential(*(nn.Linear(4, 4) for _ in range(rows // 2)))

    def by_hand() -> None:
        for parameter in build().parameters():
            data = parameter.detach()
            data.mean().item(), data.std().item(), data.norm().item()

    base, building, net = processor_time(by_hand, collecting=True), processor_time(build), build()
    inspecting = processor_time(lambda: paraminspect.inspect(net, forward=False))
    report = paraminspect.inspect(net, forward=False)
    print(f"\nof building and three reductions each: building {building / base:.2f}, inspect {inspecting / base:.2f}")
    for form in ("table", "plain", "csv", "json", "markdown"):
        view = View(width=120 if form == "table" else None)
        drawing = processor_time(lambda form=form, view=view: sum(map(len, render(report, form, view))))
        whole = (building + inspecting + drawing) / base
        print(f"{form:<18}{drawing / base:6.2f}  all of it {whole:6.2f} x  (at most 2)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    report = literal(rows)
    for name, bound in BOUNDS.items():
        form, _, unfolded = name.partition(", ")
        view = View(width=120 if form == "table" else None, colour=form == "table", fold=not unfolded)
        start = time.perf_counter()
        size = sum(len(piece) for piece in render(report, form, view))
        seconds = time.perf_counter() - start
        limit = f"  (at most {bound:g} s for 100,000)" if bound else ""
        print(f"{name:<18}{seconds:6.2f} s  {size / 1e6:8.1f} MB  {rows / seconds:12,.0f} rows/s{limit}")
    against_reductions(rows)


if __name__ == "__main__":
    main()
