"""Which scheme is the steadiest, and why, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from paraminspect.experiments.comparison.trial_figures import directions
from paraminspect.report import Course, Trial

_PREFERRED = {"critical": 0, "default": 1}


@dataclass(frozen=True)
class _Standing:
    """A scheme with its trials, one for each width or depth; all of them carry a signal both ways."""

    scheme: str
    trials: tuple[Trial, ...]

    @cached_property
    def faults(self) -> int:
        """Count the directions that are not steady."""
        return sum(course.verdict != "steady" for trial in self.trials for course in _courses(trial))

    @cached_property
    def unsteadiness(self) -> float:
        return fmean(trial.unsteadiness or 0.0 for trial in self.trials)

    @cached_property
    def worst(self) -> Trial:
        return max(self.trials, key=lambda trial: trial.unsteadiness or 0.0)

    @cached_property
    def tolerance(self) -> float:
        """Return how far apart two schemes have to be, in a net of these widths, not to be alike by chance."""
        highs = [[course.high or 1.0 for course in _courses(trial)] for trial in self.trials]
        return fmean(sum(map(math.log, high)) for high in highs)


def steadiest(trials: Sequence[Trial]) -> tuple[str | None, str | None]:
    """Return the scheme that keeps the signal best at every size, and the reason; None where none carries one.

    Fewer directions that vanish or explode come first, then the smaller unsteadiness. Of schemes that the measurement
    cannot tell apart it is ``critical``, which is solved for the activation at hand, else the model as it is built.
    """
    standings = sorted(_standings(trials), key=lambda one: (one.faults, one.unsteadiness))
    if not standings:
        return None, None
    if all(course.verdict == "unknown" for one in standings for trial in one.trials for course in _courses(trial)):
        return None, "too few layers to tell: a trend takes three"
    first = standings[0]
    alike = [one for one in standings if one.faults == first.faults and _near(one, first)]
    best = min(alike, key=lambda one: _PREFERRED.get(one.scheme.partition(":")[0], len(_PREFERRED)))
    return best.scheme, _reason(best, [one for one in alike if one is not best], standings[len(alike) :])


def _near(one: _Standing, best: _Standing) -> bool:
    return one.unsteadiness - best.unsteadiness <= best.tolerance


def _standings(trials: Iterable[Trial]) -> list[_Standing]:
    by_scheme: dict[str, list[Trial]] = {}
    for trial in trials:
        by_scheme.setdefault(trial.scheme, []).append(trial)
    return [
        _Standing(scheme, tuple(found))
        for scheme, found in by_scheme.items()
        if all(trial.unsteadiness is not None for trial in found)
    ]


def _reason(best: _Standing, alike: Sequence[_Standing], others: Sequence[_Standing]) -> str:
    parts = [_told(best)]
    if best.faults:
        parts = [f"none is steady both ways, and it strays least: {_told(best)}"]
    if alike:
        names = _listed([one.scheme for one in alike])
        parts.append(f"{names} {'is' if len(alike) == 1 else 'are'} as good within the tolerance")
    if others:
        parts.append(f"next is {others[0].scheme}, {_told(others[0])}")
    return "; ".join(parts)


def _told(standing: _Standing) -> str:
    trial = standing.worst
    sizes = (("width", trial.width), ("depth", trial.depth))
    at = "".join(f" at {what} {size}" for what, size in sizes if size is not None and len(standing.trials) > 1)
    signal = trial.signal
    assert signal is not None
    return " and ".join(f"{_how(course)} {about}" for about, course in directions(signal)) + at


def _how(course: Course) -> str:
    law = ", a power law in depth" if course.law == "power law" else ""
    return f"{course.verdict} ({course.factor:.3g} per layer{law})"


def _courses(trial: Trial) -> tuple[Course, ...]:
    return () if trial.signal is None else (trial.signal.forward, trial.signal.backward)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
