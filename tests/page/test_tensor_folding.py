"""Rows of a checkpoint: folded names expand to exactly the tensors they stand for, and the counts add up."""

from __future__ import annotations

import subprocess
from collections import Counter

from hypothesis import given, settings, strategies as st

from paraminspect.page.tensor_folding import tensor_rows
from paraminspect.report import TensorHeader, TensorRows
from paraminspect.text.escape import View, spell

PARTS = st.sampled_from(
    ["a", "b0", "w", "0", "1", "2", "10", "007", "é", "x y", "{1,2}", "", "h\n1", "\x001", "99999999999999999999"]
)
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=4).map(".".join), min_size=10, max_size=40, unique=True)


def header(name: str, width: int) -> TensorHeader:
    return TensorHeader(name, "float32", (width,), 4 * width, 0, 0, None, name, 4 * width)


def expanded(shown: list[str]) -> list[list[str]]:
    """Return what bash makes of each pattern."""
    script = "".join(f"printf '%s\\0' {name}; printf '\\1'\n" for name in shown)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return [part.decode().split("\0")[:-1] for part in done.stdout.split(b"\1")[:-1]]


@settings(max_examples=60, deadline=None)
@given(NAMES, st.lists(st.sampled_from([2, 3]), min_size=40, max_size=40))
def test_a_pattern_expands_to_the_tensors_it_stands_for(names: list[str], widths: list[int]) -> None:
    tensors = [header(name, width) for name, width in zip(names, widths, strict=False)]
    rows = tensor_rows(TensorRows(tensors, {}), View())
    assert sum(row.numel for row in rows) == sum(tensor.numel for tensor in tensors)
    assert sum(row.times for row in rows) == len(tensors)
    plain = [spell(row.name, lambda _, marked: marked) for row in rows]
    alone = [name for name, row in zip(plain, rows, strict=True) if row.times == 1]
    folded = [(name.rpartition(" ×")[0], row) for name, row in zip(plain, rows, strict=True) if row.times > 1]
    of = dict(zip(names, widths, strict=False))
    found = expanded([name for name, _ in folded]) if folded else []
    for members, (_, row) in zip(found, folded, strict=True):
        assert len(members) == row.times and {f"({of[member]},)" for member in members} == {row.shape}
    every = Counter([*(name for members in found for name in members), *alone])
    assert every == Counter(names)


def test_a_depth_sums_up_and_aliases_fold_with_their_names() -> None:
    tensors = [header(f"{part}.{number}.w", 2) for part in ("a", "b") for number in range(8)]
    rows = TensorRows(tensors, {}, {place: (f"ema.{place}.w",) for place in range(8)})
    first, second = tensor_rows(rows, View())
    bare = [spell(text, lambda _, marked: marked) for text in (first.name, *first.aliases, second.name)]
    assert bare == ["a.{0..7}.w ×8", "ema.{0..7}.w", "b.{0..7}.w ×8"]
    assert [(row.tensors, row.shape, row.numel, row.bytes) for row in tensor_rows(rows, View(depth=1))] == [
        (8, "8 tensors", 16, 64)
    ] * 2
