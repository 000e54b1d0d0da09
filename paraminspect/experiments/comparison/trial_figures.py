"""One trial in a few figures, taken from the signal through its layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from paraminspect.report import Course, Signal, SignalLayer, Trial, Verdict


def summed_up(
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
    """Return the norm of the gradient at the first depth over that at the last: the rms depends on the width."""
    found = [(layer.grad_rms, layer.width or 1) for layer in layers if layer.depth is not None]
    if not found:
        return None
    (first, wide), (last, narrow) = found[0], found[-1]
    return first / last * math.sqrt(wide / narrow) if first is not None and last else None


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
    strays = [strayed(signal.forward), strayed(signal.backward)]
    known = [stray for stray in strays if stray is not None]
    return sum(known) if len(known) == len(strays) else None


def strayed(course: Course) -> float | None:
    """Return |ln factor|: 0 where the signal keeps its size, None where there is none left to judge."""
    factor = course.factor
    return abs(math.log(factor)) if factor is not None and 0 < factor < math.inf else None


def verdicts_of(trial: Trial) -> tuple[Verdict, ...]:
    """Return the verdict on each direction of a trial that stands, with its factor per layer."""
    signal, where = trial.signal, named(trial)
    if signal is None:
        return ()
    return tuple(_verdict(about, course, where) for about, course in directions(signal))


def directions(signal: Signal) -> tuple[tuple[str, Course], tuple[str, Course]]:
    """Return both courses of a signal with their names."""
    return ("forward", signal.forward), ("backward", signal.backward)


def _verdict(about: str, course: Course, where: str) -> Verdict:
    tolerance = None if course.high is None else course.high - 1.0
    return Verdict(about, course.verdict, course.factor, course.expected, tolerance, where, "factor")


def named(trial: Trial) -> str:
    """Return the scheme of a trial, and its width or depth where there are several."""
    sizes = (("width", trial.width), ("depth", trial.depth))
    return ", ".join([trial.scheme, *(f"{what} {size}" for what, size in sizes if size is not None)])
