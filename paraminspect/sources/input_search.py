"""Find an input that a forward takes: what the model says of it, then its first layer, each put right where it fails.

No more than some trials are made, and none once they have taken a while; each leaves everything as it was.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from paraminspect.analysis.inventory import take_inventory
from paraminspect.isolation.phases import enter
from paraminspect.modules.layer_input import device_of, dtype_of
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.modules.subject import Batch, InputFound
from paraminspect.report import NO_INPUT_HELPS, Attempt, TensorInfo
from paraminspect.sources.argument_guess import ArgumentGuess
from paraminspect.sources.first_guess import Needs
from paraminspect.sources.input_trial import Misfit, misfit_of
from paraminspect.sources.second_guess import broader, closer, sized
from paraminspect.text.numbers import plural

_FIRST, _CLOSER, _SIZED, _BROADER = range(4)
_MOST_TRIALS = 28
_MOST_SECONDS = 20.0
_MOST_ALIKE = 10
_MOST_ELEMENTS = 2**26
"""Of one argument: what is larger is no smallest input."""

Own = tuple[str, Callable[[], Batch]]
"""An input that the model brings along, and the attribute that has it."""


@dataclass
class FoundBefore:
    """What was found for a model that is built again from other seeds: it needs no other trial."""

    own: str | None = None
    guess: ArgumentGuess | None = None

    def forget(self) -> None:
        """Forget what the forward did not take after all."""
        self.own = self.guess = None


def likeliest_input(module: nn.Module, needs: Needs, own: Iterable[Own], memory: FoundBefore) -> InputFound | None:
    """Return what draws the input that `find_input` would try first; None where it knows one already, or of none."""
    if memory.own is not None or memory.guess is not None:
        return None
    for origin, make in own:
        memory.own = origin
        return InputFound(make)
    guess = next((one for one in needs.guesses() if _elements(one) <= _MOST_ELEMENTS), None)
    if guess is None:
        return None
    memory.guess = guess
    dtype, device = dtype_of(module), str(device_of(module))
    return InputFound(lambda: guess.drawn(dtype, device))


def find_input(
    module: nn.Module, needs: Needs, own: Iterable[Own], what_to_pass: str, foreign: bool, memory: FoundBefore
) -> InputFound:
    """Return what draws an input that the forward takes; without one, what was tried and what to pass."""
    search = _Search(module, foreign, memory)
    enter("looking for an input")
    for origin, make in own:
        if memory.own == origin:
            return InputFound(make)
        with torch.inference_mode(False):
            batch = make()
        if search.runs(batch, origin, _described(batch)) is None:
            memory.own = origin
            return InputFound(make, attempts=tuple(search.attempts))
    found = memory.guess or search.best(needs)
    if found is None:
        return InputFound(None, search.why_not(what_to_pass), tuple(search.attempts))
    memory.guess = found
    dtype, device = dtype_of(module), str(device_of(module))
    return InputFound(lambda: found.drawn(dtype, device), attempts=tuple(search.attempts))


def _described(batch: Batch) -> tuple[TensorInfo, ...]:
    given = ((tensor, one) for one in batch.given for tensor in tensors_in(one.value))
    return tuple(
        TensorInfo(one.name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), str(tensor.device), None)
        for tensor, one in given
    )


class _Search:
    """The trials of one model."""

    def __init__(self, module: nn.Module, foreign: bool, memory: FoundBefore) -> None:
        self.module, self.foreign, self.memory = module, foreign, memory
        self.inventory = take_inventory(module)
        self.dtype, self.device = dtype_of(module), str(device_of(module))
        self.attempts: list[Attempt] = []
        self.end = time.monotonic() + _MOST_SECONDS
        self.errors: Counter[str] = Counter()

    def runs(self, batch: Batch, origin: str, described: tuple[TensorInfo, ...]) -> Misfit | None:
        """Try a batch; keep what it was, and why it does not fit."""
        misfit = misfit_of(self.module, batch, self.inventory, self.foreign)
        if misfit is not None:
            self.attempts.append(Attempt(origin, described, misfit.error))
            self.errors[misfit.text] += 1
        return misfit

    def best(self, needs: Needs) -> ArgumentGuess | None:
        """Try the guesses, the likeliest first; what a failure tells comes before what is only usual."""
        order = itertools.count()
        queue: list[tuple[int, int, ArgumentGuess]] = [(_FIRST, next(order), guess) for guess in needs.guesses()]
        seen: set[str] = set()
        while queue and self._may_go_on():
            rank, _, guess = heapq.heappop(queue)
            if guess.key in seen or _elements(guess) > _MOST_ELEMENTS:
                continue
            seen.add(guess.key)
            misfit = self._try(guess)
            if misfit is None:
                return guess
            if misfit.exits:
                return guess  # which no other input will change: the run in earnest says so
            if misfit.hopeless:
                return None
            for other in closer(guess, misfit, needs):
                heapq.heappush(queue, (_CLOSER, next(order), other))
            if rank > _CLOSER:
                continue
            for other in sized(guess, misfit):
                heapq.heappush(queue, (_SIZED, next(order), other))
            for other in broader(guess, needs):
                heapq.heappush(queue, (_BROADER, next(order), other))
        return None

    def _try(self, guess: ArgumentGuess) -> Misfit | None:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            batch = guess.drawn(self.dtype, self.device)
        return self.runs(batch, guess.origin, tuple(guess.described()))

    def _may_go_on(self) -> bool:
        alike = max(self.errors.values(), default=0)
        return len(self.attempts) < _MOST_TRIALS and alike < _MOST_ALIKE and time.monotonic() < self.end

    def why_not(self, what_to_pass: str) -> str:
        """Say in one line what was tried, how the first of it failed, and what to pass."""
        if not self.attempts:
            return f"no forward: {what_to_pass}"
        first, tried = self.attempts[0], len(self.attempts)
        shown = ", ".join(_written(info) for info in first.input)
        where = f" in layer {first.error.module!r}" if first.error.module else ""
        what = "the input that was tried" if tried == 1 else f"the first of {plural(tried, 'input')} that were tried"
        other = "" if first.error.about in NO_INPUT_HELPS else f"; {what_to_pass}"
        return f"no forward: {what}, {shown}, fails{where}: {first.error.message}{other}"


def _written(info: TensorInfo) -> str:
    return " ".join(filter(None, (info.name, str(info.shape), info.dtype, info.sample)))


def _elements(guess: ArgumentGuess) -> int:
    return max((math.prod(info.shape) for info in guess.described()), default=0)
