"""What the signal's way through depth comes to, in words: steady or not, why, and which layer is where it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.page.parts import Line
from paraminspect.page.signal_layers import digits, strays
from paraminspect.report import Course, Signal, SignalLayer
from paraminspect.rules.signal_rules import BREAKS
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import percent, plural, some_of

_MOST = 8
_RANKED = 64  # samples that an effective rank is taken of
_LAWS = {"exponential": " exponentially", "power law": " as a power law", "constant": ", levelling off"}
_REGIMES = {
    "ordered": "gradients shrink with depth, samples grow alike",
    "critical": "gradients keep their size",
    "chaotic": "gradients grow with depth, samples drift apart",
}


def conditions(signal: Signal) -> str:
    """Say what went through the layers, forward and backward, and how often."""
    rms = "" if signal.input_rms is None else f" of rms {digits(signal.input_rms)}"
    samples = "the input" if signal.samples is None else plural(signal.samples, "sample")
    return f"forward: {samples}{rms}; backward: a random output gradient of norm 1; {plural(signal.seeds, 'seed')}"


def signal_lines(signal: Signal, theory: bool = True) -> Iterator[Line]:
    """Yield the verdicts, forward and backward, and what stands out in the layers; with `theory` what that says."""
    yield "forward", _course(signal.forward, signal, backward=False)
    yield "backward", _course(signal.backward, signal, backward=True)
    yield from _regime(signal) if theory else ()
    yield from _shares(signal)
    yield from _samples(signal.layers, signal.samples)
    yield from _symmetric(signal.layers)
    yield from _nonfinite(signal.layers)
    yield from _strays(signal.layers)
    yield from _notes(signal, theory)


# --- the verdicts ------------------------------------------------------------------------------------------


def _course(course: Course, signal: Signal, backward: bool) -> str:
    power = "" if course.exponent is None else f" (depth^{digits(course.exponent)})"
    verdict = f"{word(course.verdict)}{law_of(course)}{power}"
    parts = (_factor(course), _leaves(course, signal.layers, backward), _step(course, backward), course.reason)
    details = "; ".join(filter(None, parts))
    return f"{verdict}: {details}" if details else verdict


def law_of(course: Course) -> str:
    """Return how the signal goes where the verdict says; that what is steady stays level needs no word."""
    return "" if (course.verdict, course.law) == ("steady", "constant") else _LAWS.get(course.law or "", "")


def _factor(course: Course) -> str:
    if course.factor is None:
        return ""
    beside = []
    if course.expected is not None:
        beside.append(f"expected {digits(course.expected)}")
    by_factor = course.verdict != "steady" or law_of(course) not in (_LAWS["power law"], _LAWS["constant"])
    if by_factor and not course.reason and course.low is not None and course.high is not None:
        beside.append(f"steady is {digits(course.low)} to {digits(course.high)}")
    brackets = f" ({', '.join(beside)})" if beside else ""
    between = "" if course.depths is None else f" from depth {course.depths[0]:,} to {course.depths[1]:,}"
    return f"factor {digits(course.factor)} per layer{between}{brackets}"


def _step(course: Course, backward: bool) -> str:
    """Name the one step that is unlike the others: the factor per layer does not go by it."""
    if course.step is None or course.step_at is None:
        return ""
    to = course.step_at + (-1 if backward else 1)
    return f"unlike the rest the step from depth {course.step_at:,} to {to:,}, {digits(course.step)}"


def _leaves(course: Course, layers: Sequence[SignalLayer], backward: bool) -> str:
    """Say at which layer the signal became exactly 0, stopped being a number, or left what it began with far behind."""
    if course.leaves is None:
        return ""
    beyond = "below 1e-3 of" if shrinks(course) else "above 1e3 times"
    what = BREAKS.get(course.verdict, f"{beyond} {_start(layers, backward)}")
    if course.extrapolated:
        return f"{what} in a net of depth {course.leaves:,}"
    layer = next((one for one in layers if one.depth == course.leaves), None)
    where = f"depth {course.leaves:,}" if layer is None else _at(layer)
    return f"{what} from {where} {'down' if backward else 'on'}"


def _start(layers: Sequence[SignalLayer], backward: bool) -> str:
    """Say what the course is measured by: its first depth, of the gradient the last, without the readout."""
    depths = [layer for layer in layers if layer.depth is not None]
    if not backward:
        return "what it began with"
    last = depths[-2] if len(depths) > 2 and depths[-1].activation is None and depths[-1].type != "sum" else depths[-1]
    return f"what it was at depth {last.depth:,}"


def shrinks(course: Course) -> bool:
    """Tell whether the signal grows smaller on its way."""
    return course.factor is not None and course.factor < 1


def _at(layer: SignalLayer) -> str:
    name = f"layer {code(layer.module)}" if layer.module else "the model itself"
    return name if layer.depth is None else f"depth {layer.depth:,} ({name})"


def _regime(signal: Signal) -> Iterator[Line]:
    """Yield what theory says of these weights: the regime, its depth scales, and how much one net of a seed strays."""
    scales = (("ξ_q", signal.xi_q), ("ξ_c", signal.xi_c))
    known = [f"{name} = {digits(value)}" for name, value in scales if value is not None]
    parts = [
        "" if signal.regime is None else f"{word(signal.regime)}: {_REGIMES.get(signal.regime, '')}".rstrip(": "),
        "" if signal.chi1 is None else f"χ₁ = {digits(signal.chi1)}",
        f"{'depth scale' if len(known) == 1 else 'depth scales'} {', '.join(known)} layers" if known else "",
        "" if signal.fluctuation is None else f"width to depth Σ 1/n = {digits(signal.fluctuation)}",
    ]
    if any(parts):
        yield "regime" if signal.regime else "theory", "; ".join(filter(None, parts))


# --- the layers --------------------------------------------------------------------------------------------


def _shares(signal: Signal) -> Iterator[Line]:
    """Yield how many units are off for the whole batch, and how many elements lie where the activation is flat."""
    dead = [(layer, layer.dead, layer.expected.dead) for layer in signal.layers]
    flat = [(layer, layer.saturated, layer.expected.saturated) for layer in signal.layers]
    yield from _share("dead", "of the units are off for the whole batch", dead)
    yield from _share("saturated", "of the elements lie where the activation is flat", flat)


def _share(head: str, what: str, found: Sequence[tuple[SignalLayer, float | None, float | None]]) -> Iterator[Line]:
    measured = [(layer, share) for layer, share, _ in found if share is not None]
    if not measured:
        return
    expected = [(layer, share) for layer, own, share in found if share is not None and own is not None]
    wanted = f" (expected {percent(_mean(expected))})" if len(expected) == len(measured) else ""
    worst, most = max(measured, key=lambda pair: pair[1])
    average = _mean(measured)
    peak = f"; most at {_at(worst)}: {percent(most)}" if most > average else ""
    yield head, f"{percent(average)} {what}{wanted}{peak}"


def _mean(shares: Sequence[tuple[SignalLayer, float]]) -> float:
    """Return the share over all layers, a wide one counting for more."""
    widths = [layer.width or 1 for layer, _ in shares]
    return sum(width * share for width, (_, share) in zip(widths, shares, strict=True)) / sum(widths)


def _samples(layers: Sequence[SignalLayer], samples: int | None) -> Iterator[Line]:
    """Yield how alike the samples are in the first and in the last layer where that is known."""
    known = [layer for layer in layers if layer.cosine is not None]
    if len(known) < 2:
        return
    first, last = known[0], known[-1]
    expected = "" if last.expected.cosine is None else f" (expected {last.expected.cosine:.3f})"
    text = f"mean cosine between two {first.cosine:.3f} → {last.cosine:.3f}{expected}"
    if first.rank is not None and last.rank is not None:
        of = "" if samples is None else f" of {min(samples, _RANKED):,}"
        ranks = " → ".join(digits(rank) for rank in (first.rank, last.rank))
        text += f", effective rank {ranks}{of}"
    yield "samples", f"first to last layer: {text}"


def _symmetric(layers: Sequence[SignalLayer]) -> Iterator[Line]:
    found = [(layer, layer.symmetric) for layer in layers if layer.symmetric]
    if found:
        count = sum(units for _, units in found)
        have = "has" if count == 1 else "have"
        where = some_of([f"{units:,} in {code(layer.module)}" for layer, units in found], _MOST)
        yield "symmetric", f"{plural(count, 'unit')} {have} the weights of another and will learn the same: {where}"


def _nonfinite(layers: Sequence[SignalLayer]) -> Iterator[Line]:
    found = [layer for layer in layers if layer.nonfinite]
    if found:
        count = sum(layer.nonfinite for layer in found)
        yield "nonfinite", f"{plural(count, 'value')}, NaN or infinite, the first at {_at(found[0])}"


def _strays(layers: Sequence[SignalLayer]) -> Iterator[Line]:
    """Yield the factors that are not what theory gives, the first ones by name."""
    found = []
    for layer in layers:
        factors = (layer.forward, layer.expected.forward), (layer.backward, layer.expected.backward)
        for head, off, pair in zip(("forward", "backward"), strays(layer), factors, strict=True):
            if off:
                measured, expected = (digits(one) for one in pair)
                found.append(f"{head} {measured} at {_at(layer)}, expected {expected}")
    if found:
        yield "off", f"factors that chance does not explain: {some_of(found, _MOST, '; ')}"


def _notes(signal: Signal, theory: bool) -> Iterator[Line]:
    """Yield what could not be followed; with `theory` also where that does not reach, and what it then goes by."""
    for note in signal.notes:
        if theory or "theory" not in note:
            yield "note", code(note)
    layers: dict[str, list[str]] = {}
    for layer in signal.layers:
        if layer.note:
            layers.setdefault(layer.note, []).append(code(layer.module) or "the model itself")
    for note in list(layers)[:_MOST]:
        yield "note", f"{some_of(layers[note], 4)}: {code(note)}"
    left = sum(map(len, list(layers.values())[_MOST:]))
    if left:
        yield "note", f"on {plural(left, 'more layer')}"
