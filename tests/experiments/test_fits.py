"""The largest batch that fits: found for any function that grows, and from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies

from paraminspect.experiments.fits import largest_that_fits
from paraminspect.text.numbers import parse_bytes
from tests.cases import each
from tests.conftest import Ran

_LINE = strategies.tuples(strategies.integers(0, 10**9), strategies.integers(1, 10**7))


@given(lines=strategies.lists(_LINE, min_size=1, max_size=4), limit=strategies.integers(1, 10**11))
def test_the_largest_is_found_where_one_line_after_the_other_is_the_highest(lines, limit: int) -> None:
    def needs(size: int) -> int:
        calls.append(size)
        return max(base + slope * size for base, slope in lines)

    for start in (1, 2, 1000):
        calls: list[int] = []
        found = largest_that_fits(needs, limit, start)
        assert found == max(0, min((limit - base) // slope for base, slope in lines))
        assert len(calls) == len(set(calls)) < 80


def test_what_cannot_run_does_not_fit() -> None:
    assert largest_that_fits(lambda size: None if size < 2 else 100 * size, 150, 4) == 0
    assert largest_that_fits(lambda size: None if size < 2 else 100 * size, 350, 8) == 3


@each(
    ("text", "size"),
    [("80GiB", 80 * 2**30), ("24GB", 24 * 10**9), ("16e9", 16 * 10**9), ("1.5 kib", 1536), ("80G", 80 * 10**9)]
    + [(text, None) for text in ("", "0", "GiB", "-1GB", "80 GoB", "1e-9GB", "80iB", "nan", "1,5GB", "8GB8")],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int | None) -> None:
    assert parse_bytes(text) == size


_NET = """
import torch
from torch import nn

def net(width=256):
    return nn.Sequential(nn.Linear(64, width), nn.GELU(), nn.Linear(width, 8))

class Asks(nn.Linear):
    def forward(self, x):
        places = torch.arange(x.shape[1], device=x.device)
        if (places.diff() != 1).any() or not places.flip(0).tolist() or places.nonzero().shape[0] > 9:
            raise RuntimeError("never: this is known without values")
        return super().forward(x) if x.sum() > 0 else x

def asks(): return Asks(8, 8)

class Places(Asks):
    def forward(self, x):
        return super().forward(x) if not torch.arange(3, device=x.device).sub_(3).any() else nn.Linear.forward(self, x)

def places(): return Places(8, 8)
"""


@pytest.mark.parametrize("how", [(), ("--eval",), ("--optimizer", "sgd", "--no-backward")])
def test_the_batch_that_fits_is_the_largest(run: Callable[..., Ran], tmp_path: Path, how: tuple[str, ...]) -> None:
    file = tmp_path / "net.py"
    file.write_text(_NET)
    found = run("summary", f"{file}:net", "--input", "4,64", "--fits", "3MB", "--json", *how)
    assert found.code == 0
    fits = found.report["fits"]
    sizes = []
    for batch in (fits["batch"], fits["batch"] + 1):
        one = run("summary", f"{file}:net", "--input", f"{batch},64", "--device", "meta", "--json", *how).report
        peak = one["memory"]["inference" if (how and "sgd" not in how) or "--no-backward" in how else "step"]
        sizes.append(peak["total"])
    assert sizes[0] == fits["bytes"] <= 3_000_000 < sizes[1]
    assert found.report["memory"]["inputs"] == fits["batch"] * 64 * 4


def test_the_words_and_exit_codes(run: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(_NET)
    found = run("summary", f"{file}:net", "--input", "4,64", "--fits", "1MiB", "-q")
    assert (found.code, "fits      batch " in found.out) == (0, True)
    found = run("summary", f"{file}:net", "--input", "4,64", "--fits", "9kB", "-q")
    assert (found.code, "fits      no batch: a training step does not fit into 9,000 bytes (8.8 KiB)" in found.out) == (
        1,
        True,
    )
    found = run("summary", f"{file}:net", "--input", "4,64", "--fits", "many")
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines()[0] == "error: --fits: 'many' is no size in bytes"
    found = run("summary", f"{file}:net", "--input", "4,64", "--fits", "1GB", "--device", "cpu")
    assert (found.code, found.out) == (2, "")


def test_a_value_that_comes_from_the_input_is_asked_for_in_vain(run: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(_NET)
    found = run("summary", f"{file}:asks", "--input", "2,8", "--device", "meta", "--json")
    assert found.code == 2
    message = found.report["errors"][0]["message"]
    assert "_local_scalar_dense needs values, and tensors on the meta device hold none: run it on a real" in message
    assert "never" not in message
    found = run("summary", f"{file}:places", "--input", "2,8", "--device", "meta", "--json")
    assert (found.code, found.report["totals"]["macs"]) == (0, 2 * 8 * 8)
