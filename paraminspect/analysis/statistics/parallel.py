"""Share the blocks of a large tensor among threads; numpy lets them run at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from paraminspect.analysis.statistics.strides import Index

T = TypeVar("T")
Draw = Iterator[tuple[int, Index]]

_MOST_THREADS = 4  # each takes up to 12 MB, and the calls between long numpy operations hold the interpreter lock
_FEWEST_BLOCKS = 4  # for each thread: starting one takes as long as measuring a block


def share(blocks: list[Index], worker: Callable[[Draw], T]) -> list[T]:
    """Call `worker` in as many threads as torch itself may use; each draws numbered blocks until none is left."""
    left = deque(enumerate(blocks))
    threads = min(_MOST_THREADS, torch.get_num_threads(), len(blocks) // _FEWEST_BLOCKS)
    if threads < 2:
        return [worker(_draw(left))]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(worker, _draw(left)) for _ in range(threads - 1)]
        try:
            return [worker(_draw(left)), *(other.result() for other in others)]
        finally:
            left.clear()  # an interrupt in this thread ends the others too


def _draw(left: deque[tuple[int, Index]]) -> Draw:
    while True:
        try:
            yield left.popleft()
        except IndexError:
            return
