"""Is `show` linear in the depth, and in the number of rows? Seconds a layer must not grow with the number of layers.

python -m tests.benchmarks.scaling
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time

from paraminspect.cli.app import main as command

SIZES = (1_000, 5_000, 25_000)


def seconds(layers: int) -> float:
    """Time `show` of that many Linear layers, forward, backward and table included."""
    spec = f'{{"layers": [{{"Repeat": {{"times": {layers}, "layers": [{{"Linear": [4, 4]}}]}}}}], "input": [2, 4]}}'
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, contextlib.redirect_stdout(io.StringIO()):
        file.write(spec)
        file.flush()
        start = time.perf_counter()
        if command(["show", file.name, "-q"]) != 0:
            raise SystemExit("show failed")
        return time.perf_counter() - start


def main() -> None:
    seconds(100)
    base = 0.0
    for layers in SIZES:
        each = seconds(layers) / layers
        base = base or each
        print(f"{layers:>8,} layers  {1e6 * each:8.1f} µs a layer  {each / base:5.2f} x that of {SIZES[0]:,}")


if __name__ == "__main__":
    main()
