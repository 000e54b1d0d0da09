"""Which sets of bytes may overlap: sweeps in order of position, so that few pairs are left to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paraminspect.analysis.sharing.layout import Layout, list_runs
from paraminspect.analysis.sharing.sets import Sets

PAIRS_EACH = 64  # all pairs are compared as long as there are at most so many for each set


@dataclass(frozen=True)
class Candidates:
    """Pairs of indices to compare, and groups that would take too much work to look at.

    Whoever overlaps is connected by pairs. All pairs are there, unless a cluster has more than PAIRS_EACH for each of
    its sets: then as many as connect it.
    """

    pairs: tuple[tuple[int, int], ...]
    undecided: tuple[tuple[int, ...], ...]


def candidates(layouts: Sequence[Layout]) -> Candidates:
    """Return the pairs of sets of one space that may overlap."""
    pairs: list[tuple[int, int]] = []
    undecided = []
    for cluster in _clusters(layouts):
        found = _all_pairs(layouts, cluster)
        if found is None:
            found = _connecting_pairs(layouts, cluster)
        if found is None:
            undecided.append(tuple(cluster))
        else:
            pairs += found
    return Candidates(tuple(pairs), tuple(undecided))


def _clusters(layouts: Sequence[Layout]) -> Iterator[list[int]]:
    """Yield the groups whose extents hang together, in order of their start.

    The end that counts is the furthest so far, not the last one's: a slice at the end of a base lies behind others.
    """
    cluster: list[int] = []
    furthest = 0
    for index in sorted(range(len(layouts)), key=lambda index: (layouts[index].start, -layouts[index].stop)):
        if cluster and layouts[index].start >= furthest:
            if len(cluster) > 1:
                yield cluster
            cluster = []
        furthest = max(furthest, layouts[index].stop) if cluster else layouts[index].stop
        cluster.append(index)
    if len(cluster) > 1:
        yield cluster


def _all_pairs(layouts: Sequence[Layout], cluster: list[int]) -> list[tuple[int, int]] | None:
    """Return all pairs whose extents cross; None where there are too many."""
    starts, stops = ([getattr(layouts[index], end) for index in cluster] for end in ("start", "stop"))
    reach = np.searchsorted(np.array(starts), np.array(stops))
    if (reach - np.arange(1, len(cluster) + 1)).sum() > PAIRS_EACH * len(cluster):
        return None
    return [(cluster[i], cluster[j]) for i in range(len(cluster)) for j in range(i + 1, int(reach[i]))]


def _connecting_pairs(layouts: Sequence[Layout], cluster: list[int]) -> list[tuple[int, int]] | None:
    """Sweep over the runs instead: a run that starts before the furthest end so far overlaps the run that ends there.

    None where there are too many runs.
    """
    listed = list_runs([layouts[index] for index in cluster])
    if listed is None:
        return None
    starts, stops, owners = listed
    order = np.argsort(starts, kind="stable")
    starts, stops, owners = starts[order], stops[order], owners[order]
    furthest = np.maximum.accumulate(stops)
    is_further = np.concatenate([[True], stops[1:] > furthest[:-1]])
    holder = np.maximum.accumulate(np.where(is_further, np.arange(len(stops)), 0))
    meeting = np.flatnonzero(starts[1:] < furthest[:-1])
    met = np.unique(np.stack([owners[holder[meeting]], owners[meeting + 1]]), axis=1)
    sets = Sets(len(cluster))
    return [(cluster[i], cluster[j]) for i, j in met.T.tolist() if sets.join(i, j)]
