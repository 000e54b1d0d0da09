"""A table of 100,000 rows in every format, beyond building the report.

python -m tests.benchmarks.tables [--rows N]
"""

from __future__ import annotations

import argparse
import time

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
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


if __name__ == "__main__":
    main()
