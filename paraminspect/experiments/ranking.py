"""A trial in a few figures, and which scheme is the steadiest, and why, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from statistics import fmean

from paraminspect.frozen import dataclass
from paraminspect.report import Course, Signal, SignalLayer, Trial, Verdict


def trial_of(
    scheme: str,
    width: int | None,
    depth: int | None,
    signal: Signal,
    losses: Sequence[float | None],
    classes: int | None,
) -> Trial:
    """Return the trial of a scheme whose signal was followed; `losses` are those of its seeds.

    `classes` is their number where the loss is that of a classifier: small logits then lose ln C.
    """
    last = next((layer for layer in reversed(signal.layers) if layer.depth is not None), None)
    known = [loss for loss in losses if loss is not None]
    return Trial(
        scheme=scheme,
        width=width,
        depth=depth,
        signal=signal,
        q_last=None if last is None or last.pre.rms is None else last.pre.rms**2,
        gradient_ratio=_ratio(signal.layers),
        dead=_share(signal.layers, lambda layer: layer.dead),
        expected_dead=_expected_dead(signal.layers),
        saturated=_share(signal.layers, lambda layer: layer.saturated),
        loss=sum(known) / len(known) if known else None,
        expected_loss=None if classes is None else math.log(classes),
        unsteadiness=_unsteadiness(signal),
    )


def _ratio(layers: Iterable[SignalLayer]) -> float | None:
    """Return the norm of the gradient at the first depth over that at the last."""
    found = [layer.grad_norm for layer in layers if layer.depth is not None]
    return found[0] / found[-1] if found and found[0] is not None and found[-1] else None


def _share(layers: Iterable[SignalLayer], pick: Callable[[SignalLayer], float | None]) -> float | None:
    """Return the share over all units: every layer counts by its width."""
    found = [(share, layer.width or 1) for layer in layers if (share := pick(layer)) is not None]
    whole = sum(width for _, width in found)
    return sum(share * width for share, width in found) / whole if whole else None


def _expected_dead(layers: Sequence[SignalLayer]) -> float | None:
    """Return the share that theory expects, where it reaches every layer that has one."""
    able = [layer for layer in layers if layer.dead is not None]
    if any(layer.expected.dead is None for layer in able):
        return None
    return _share(able, lambda layer: layer.expected.dead)


def _unsteadiness(signal: Signal) -> float | None:
    strays = [_distance(signal.forward), _distance(signal.backward)]
    known = [stray for stray in strays if stray is not None]
    return sum(known) if len(known) == len(strays) else None


def _distance(course: Course) -> float | None:
    """Return |ln factor|: 0 where the signal keeps its size, None where there is none left to judge."""
    factor = course.factor
    return abs(math.log(factor)) if factor is not None and 0 < factor < math.inf else None


def verdicts_of(trial: Trial) -> tuple[Verdict, ...]:
    """Return the verdict on each direction of a trial that stands, with its factor per layer."""
    signal, where = trial.signal, _named(trial)
    if signal is None:
        return ()
    return tuple(_verdict(about, course, where) for about, course in _directions(signal))


def _directions(signal: Signal) -> tuple[tuple[str, Course], tuple[str, Course]]:
    """Return both courses of a signal with their names."""
    return ("forward", signal.forward), ("backward", signal.backward)


def _verdict(about: str, course: Course, where: str) -> Verdict:
    tolerance = None if course.high is None else course.high - 1.0
    return Verdict(about, course.verdict, course.factor, course.expected, tolerance, where, "factor")


def _named(trial: Trial) -> str:
    """Return the scheme of a trial, and its width or depth where there are several."""
    sizes = (("width", trial.width), ("depth", trial.depth))
    return ", ".join([trial.scheme, *(f"{what} {size}" for what, size in sizes if size is not None)])


# --- the ranking -----------------------------------------------------------------------------------------------


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

    Fewer directions that vanish or explode come first, then the smaller unsteadiness. None also where the measurement
    cannot tell any two of them apart.
    """
    standings = sorted(_standings(trials), key=lambda one: (one.faults, one.unsteadiness))
    if not standings:
        return None, None
    courses = [course for one in standings for trial in one.trials for course in _courses(trial)]
    if all(course.verdict == "unknown" for course in courses):
        return None, next((course.reason for course in courses if course.reason), "the signal cannot be judged")
    first = standings[0]
    alike = [one for one in standings if one.faults == first.faults and _near(one, first)]
    if len(alike) == len(standings) > 1:
        return None, _no_difference(alike)
    return first.scheme, _reason(first, alike[1:], [one for one in standings if one not in alike])


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
    parts = [_summary(best)]
    if best.faults:
        parts = [f"none is steady both ways, and it strays least: {_summary(best)}"]
    if alike:
        names = _listed([one.scheme for one in alike])
        parts.append(f"{names} {'is' if len(alike) == 1 else 'are'} as good within the tolerance")
    if others:
        parts.append(f"next is {others[0].scheme}, {_summary(others[0])}")
    return "; ".join(parts)


def _no_difference(alike: Sequence[_Standing]) -> str:
    """Return who cannot be told apart, the nearest to 1 with its factors."""
    names = _listed([one.scheme for one in alike])
    unsteady = "none is steady both ways, and there is " if alike[0].faults else ""
    return f"{unsteady}no difference beyond the tolerance between {names}; nearest to 1: {_summary(alike[0])}"


def _summary(standing: _Standing) -> str:
    trial = standing.worst
    sizes = (("width", trial.width), ("depth", trial.depth))
    at = "".join(f" at {what} {size}" for what, size in sizes if size is not None and len(standing.trials) > 1)
    signal = trial.signal
    assert signal is not None
    return " and ".join(f"{_how(course)} {about}" for about, course in _directions(signal)) + at


def _how(course: Course) -> str:
    law = ", a power law in depth" if course.law == "power law" else ""
    return f"{course.verdict} ({course.factor:.3g} per layer{law})"


def _courses(trial: Trial) -> tuple[Course, ...]:
    return () if trial.signal is None else (trial.signal.forward, trial.signal.backward)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
