"""Sets of bytes, counted from shapes and strides, against the addresses of every element, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from paraminspect.analysis.sharing import byte_sets, relations
from paraminspect.analysis.sharing.byte_sets import Layout, ListedBytes, StridedBytes, common, held_twice, layout_of
from paraminspect.analysis.sharing.relations import DisjointSets, candidates, relation
from paraminspect.analysis.sharing.tensor_memory import memory_of
from tests.cases import each

BASE = 1600  # bytes
BUFFER = np.zeros(BASE, np.uint8)
View = tuple[int, int, tuple[int, ...], tuple[int, ...]]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Draw item size, offset, shape and strides of a view that fits into the base."""
    itemsize = draw(st.sampled_from([1, 2, 4, 8]))
    dims = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 12)), max_size=3))
    span = 1 + sum((count - 1) * step for count, step in dims)
    offset = draw(st.integers(0, BASE // itemsize - span))
    return itemsize, offset, tuple(count for count, _ in dims), tuple(step for _, step in dims)


def addresses(itemsize: int, offset: int, shape: Sequence[int], steps: Sequence[int]) -> set[int]:
    """List the bytes of every element: the definition itself."""
    found = set()
    for index in itertools.product(*map(range, shape)):
        element = offset + sum(at * step for at, step in zip(index, steps, strict=True))
        found |= set(range(element * itemsize, (element + 1) * itemsize))
    return found


def made(view: View) -> Layout:
    itemsize, offset, shape, steps = view
    found = layout_of(offset * itemsize, itemsize, shape, steps)
    assert found is not None
    return found


@settings(max_examples=200)
@given(views())
def test_a_layout_is_the_set_of_its_addresses(view: View) -> None:
    found, bytes_ = made(view), addresses(*view)
    runs = [span for part in found.between(found.start, found.stop) for span in zip(*part, strict=True)]
    assert {byte for start, stop in runs for byte in range(start, stop)} == bytes_
    assert len(runs) == found.runs
    assert (found.size, found.start, found.stop) == (len(bytes_), min(bytes_), max(bytes_) + 1)
    positions = np.arange(-3, BASE + 3)
    assert found.below(positions).tolist() == np.searchsorted(sorted(bytes_), positions).tolist()


@settings(max_examples=200)
@given(views(), views())
def test_what_two_have_in_common_is_what_their_addresses_have(one: View, other: View) -> None:
    shared = len(addresses(*one) & addresses(*other))
    assert common(made(one), made(other)) == common(made(other), made(one)) == shared


@settings(max_examples=100)
@given(st.lists(views(), min_size=2, max_size=5))
def test_bytes_held_twice(many: list[View]) -> None:
    sets = [addresses(*view) for view in many]
    assert held_twice([made(view) for view in many]) == sum(sum(at in one for one in sets) > 1 for at in range(BASE))


@settings(max_examples=100)
@given(st.lists(views(), min_size=2, max_size=8), st.sampled_from([0, relations.PAIRS_EACH]))
def test_what_overlaps_is_connected(many: list[View], pairs_each: int) -> None:
    """By all pairs or by a sweep over the runs: the components are those of all pairs compared."""
    layouts, sets = [made(view) for view in many], [addresses(*view) for view in many]
    found, wanted = DisjointSets(len(many)), DisjointSets(len(many))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relations, "PAIRS_EACH", pairs_each)
        listed = candidates(layouts)
    assert listed.undecided == ()
    for one, other in listed.pairs:
        if common(layouts[one], layouts[other]):
            found.join(one, other)
    for one, other in itertools.combinations(range(len(many)), 2):
        if sets[one] & sets[other]:
            wanted.join(one, other)
    assert found.groups() == wanted.groups()


DTYPES = {1: torch.int8, 2: torch.bfloat16, 4: torch.float32, 8: torch.float64}


@settings(max_examples=200)
@given(views(), views())
def test_every_pair_of_views_has_its_kind(one: View, other: View) -> None:
    """The kind follows from the addresses, and numpy agrees on whether memory is shared at all."""
    storage = torch.zeros(BASE, dtype=torch.uint8).untyped_storage()
    first, second = (
        torch.empty(0, dtype=DTYPES[itemsize]).set_(storage, offset, shape, steps)
        for itemsize, offset, shape, steps in (one, other)
    )
    mine, its = addresses(*one), addresses(*other)
    if mine == its:
        looks = [
            (view[:3], tuple(step * (count > 1) for count, step in zip(*view[2:], strict=True)))
            for view in (one, other)
        ]
        wanted = "same-view" if looks[0] == looks[1] else "same-bytes-other-view"
    elif mine < its or its < mine:
        wanted = "nested"
    else:
        wanted = "partial-overlap" if mine & its else "same-storage-disjoint"
    memories = memory_of(first), memory_of(second)
    assert memories[0] is not None and memories[1] is not None
    assert relation(*memories) == relation(*reversed(memories)) == wanted
    assert (wanted != "same-storage-disjoint") == np.shares_memory(*(in_numpy(view) for view in (one, other)))


def in_numpy(view: View) -> np.ndarray:
    """Lay the bytes of a view over one buffer, for numpy to judge."""
    itemsize, offset, shape, steps = view
    return np.ndarray(
        (*shape, itemsize), np.uint8, BUFFER, offset * itemsize, (*(step * itemsize for step in steps), 1)
    )


@each(
    ("shape", "steps", "dims"),
    [
        ((3, 4), (4, 1), ((48, 1),)),
        ((4, 3), (1, 4), ((48, 1),)),
        ((1, 3), (0, 1), ((12, 1),)),
        ((1000, 3), (0, 1), ((12, 1),)),
        ((7, 3), (1, 1), ((36, 1),)),
        ((), (), ((4, 1),)),
        ((3, 2), (10, 1), ((3, 40), (8, 1))),
        ((3, 2, 2), (10, 2, 1), ((3, 40), (16, 1))),
        ((4,), (2,), ((4, 8), (4, 1))),
        ((2, 4), (8, 2), ((8, 8), (4, 1))),
        ((2, 4), (4, 2), ((6, 8), (4, 1))),
    ],
)
def test_the_fewest_dimensions(
    shape: tuple[int, ...], steps: tuple[int, ...], dims: tuple[tuple[int, int], ...]
) -> None:
    assert layout_of(8, 4, shape, steps) == StridedBytes(8, dims)


def test_no_elements_no_bytes() -> None:
    assert layout_of(0, 4, (3, 0, 2), (2, 2, 1)) is None


def test_rows_that_interleave_are_listed_as_long_as_they_are_few() -> None:
    few = layout_of(0, 4, (2, 3), (3, 2))
    assert isinstance(few, ListedBytes)
    assert few.starts is not None and few.starts.tolist() == [0, 8, 28]
    many = layout_of(0, 4, (10**4, 10**4), (10**5, 2 * 10**4 + 1))
    assert isinstance(many, ListedBytes)
    assert (many.size, many.runs) == (None, None)


def test_what_would_take_too_long_to_count_is_unknown_never_wrong() -> None:
    """Every second and every third element of a gigabyte: they meet, but 2**27 runs are not counted."""
    second, third = layout_of(0, 4, (2**28,), (2,)), layout_of(0, 4, (2**28,), (3,))
    assert second is not None and third is not None
    assert common(second, third) is None
    assert held_twice([second, third, second]) is None
    assert candidates([second, third]).pairs == ((1, 0),)


def test_columns_of_any_length_are_told_apart_without_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_sets, "MOST_LISTED", 1)
    real, imaginary = layout_of(0, 4, (2**40,), (2,)), layout_of(4, 4, (2**40,), (2,))
    both, left = layout_of(0, 4, (2**40, 3), (10, 1)), layout_of(4, 4, (2**40, 4), (10, 1))
    assert real is not None and imaginary is not None and both is not None and left is not None
    assert common(real, imaginary) == 0
    assert common(both, left) == 2**40 * 8


def test_very_many_pairs_are_not_all_compared() -> None:
    """A thousand slices that all overlap each other would be half a million pairs."""
    slices = [layout_of(4 * start, 4, (2000,), (1,)) for start in range(1000)]
    found = candidates([one for one in slices if one])
    assert found.undecided == ()
    assert len(found.pairs) == 999


def test_clusters_of_too_many_runs_are_left_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_sets, "MOST_LISTED", 100)
    monkeypatch.setattr(relations, "PAIRS_EACH", 0)
    columns = [layout_of(4 * column, 4, (100,), (3,)) for column in range(3)]
    found = candidates([one for one in columns if one])
    assert (found.pairs, found.undecided) == ((), ((0, 1, 2),))
