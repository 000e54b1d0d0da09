"""Reading specs: a typical one, and the largest texts that are let in, against importing torch.

python -m tests.benchmarks.specs
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from paraminspect.errors import UserError
from paraminspect.spec.syntax import parse
from tests.benchmarks.timing import in_turn, process

TEXTS = {
    "configs/residual.yaml": Path("configs/residual.yaml").read_text(encoding="utf-8"),
    "a million open brackets": "[" * 1_000_000,
    "half a million nested dashes": "- " * 500_000,
    "a quarter of a million items": "- >\n" * 250_000,
    "one escaped text of a megabyte": '"' + "\\n" * 499_999 + '"',
}


def main() -> None:
    torch = in_turn({"torch": process(sys.executable, "-c", "import torch")}, 3)["torch"]
    print(f"{'import torch':<34}{torch:8.3f} s")
    for name, text in TEXTS.items():
        start = time.perf_counter()
        with contextlib.suppress(UserError):
            parse(text, "s", "yaml")
        seconds = time.perf_counter() - start
        print(f"{name:<34}{seconds:8.3f} s  {seconds / torch:6.3f} x")


if __name__ == "__main__":
    main()
