"""What can be wrong with the signal's way through the layers, and with gradients that come to 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paraminspect.page.problems import Found, is_whole, modules_of, names_of, typed
from paraminspect.page.several import ROUNDING, in_a_word
from paraminspect.report import Course, Parameter, Report, SignalLayer
from paraminspect.text.escape import code
from paraminspect.text.numbers import figure, percent, plural

_MOST = 0.95  # share of units, or of elements, from which a layer passes nothing on that is worth the name
_SIGNAL = {"forward": "activations", "backward": "gradients"}
_FIGURE = {"forward": "rms", "backward": "gradient norm"}
_VERBS = {"vanishing": "vanish", "exploding": "explode"}
_BROKEN = {"dead": "exactly 0", "nonfinite": "NaN or infinite"}


def signal(report: Report) -> Iterator[Found]:
    """Yield that activations or gradients vanish or explode with the depth, both in one where both do."""
    if report.signal is None:
        yield from _without_signal(report)
        return
    courses = {"forward": report.signal.forward, "backward": report.signal.backward}
    for verdict in ("nonfinite", "dead", "vanishing", "exploding"):
        those = {about: course for about, course in courses.items() if course.verdict == verdict}
        if those:
            hint = _ALIVE if verdict == "dead" else _steadier(report)
            yield Found("error", verdict, _of_courses(verdict, those, report), hint)


_FEW, _FAR = 5, 1e5  # layers that make a trend; how far gradients of healthy nets never come from end to end


def _without_signal(report: Report) -> Iterator[Found]:
    """Yield that the gradient changes its size beyond all measure from the last layers with weights to the first.

    A BatchNorm in eval mode that has seen no batch does not normalise: nothing is said of a network that has one.
    """
    if any("BatchNorm" in layer.type for layer in report.layers):
        return
    rows = [row for row in report.parameters if len(row.shape) > 1 and row.gradient and row.gradient.status == "ok"]
    modules = {row.module for row in rows}
    sizes = [layer.grad.rms for layer in report.layers if layer.module in modules and layer.grad.rms is not None]
    quarter = len(sizes) // 4
    early, late = (max(part, default=0.0) for part in (sizes[:quarter], sizes[-quarter:] if quarter else ()))
    if len(sizes) >= _FEW and early and late and not 1 / _FAR < late / early < _FAR:
        verdict = "vanishing" if late > early else "exploding"
        text = (
            f"gradients {_VERBS[verdict]} from the last layers to the first: rms {figure(late, 2)} → {figure(early, 2)}"
        )
        yield Found("error", verdict, text, f"{code(typed('grad', report))} shows at which layer")


def _of_courses(verdict: str, those: dict[str, Course], report: Report) -> str:
    who = " and ".join(_SIGNAL[about] for about in those)
    if verdict in _BROKEN:
        leaves = next(iter(those.values())).leaves
        layers = report.signal.layers if report.signal else ()
        where = next((code(layer.module) for layer in layers if layer.depth == leaves and leaves is not None), "")
        return f"{who} become {_BROKEN[verdict]} on their way through the layers{where and ', at layer '}{where}"
    ways = [f"{_FIGURE[about]} {_way(one)}" for about, one in those.items() if _far(one)]
    return f"{who} {_VERBS[verdict]} on their way through the layers{': ' if ways else ''}{', '.join(ways)}"


def _far(course: Course) -> bool:
    """Tell whether the ends show it: activations that vanished may have left those of the biases."""
    return bool(course.first and course.last) and not 0.2 < (course.last or 0.0) / (course.first or 1.0) < 5


def _way(course: Course) -> str:
    return f"{figure(course.first, 2)} → {figure(course.last, 2)}"


def _steadier(report: Report) -> str:
    return f"{code(typed('compare', report))} finds a steadier initialisation; or add norms or skip connections"


def units(report: Report) -> Iterator[Found]:
    """Yield layers whose units are copies of one another; of those that every path runs through, off or flat ones.

    The gates of a side path (squeeze and excitation) are often all off or all flat at first, and learn.
    """
    layers = report.signal.layers if report.signal else ()
    same = [layer for layer in layers if layer.symmetric]
    if same:
        count = sum(layer.symmetric or 0 for layer in same)
        text = f"{plural(count, 'unit')} in {names_of([one.module for one in same])} have the weights of another unit"
        yield Found("error", "symmetric", f"{text}, and will learn the same", "initialise the weights at random")
    deep = [layer for layer in layers if layer.depth is not None]
    dead = [layer for layer in deep if (layer.dead or 0) >= _MOST]
    if dead:
        yield Found("warning", "dead", _layers("units are 0 for every sample", dead, dead[0].dead), _ALIVE)
    flat = [layer for layer in deep if (layer.saturated or 0) >= _MOST]
    if flat:
        what = "activations lie where the slope is next to 0"
        yield Found("warning", "saturated", _layers(what, flat, flat[0].saturated), _SMALLER)


_ALIVE = "another initialisation, larger biases, or LeakyReLU or GELU in the place of ReLU"
_SMALLER = "smaller weights, or a normalisation layer before the activation"


def _layers(what: str, layers: Sequence[SignalLayer], share: float | None) -> str:
    more = "" if len(layers) == 1 else f", and as many in {plural(len(layers) - 1, 'more layer')}"
    return f"{percent(share or 0)} of the {what} in {code(layers[0].module) or 'the model itself'}{more}"


# --- gradients of 0 ----------------------------------------------------------------------------------------------


def all_zero(report: Report) -> Iterator[Found]:
    """Yield that the weights are all 0, so that none of them gets a gradient: not where one of them does."""
    weights = _weights(report)
    if (
        weights
        and is_whole(report)
        and all(_is_zero(row) and row.gradient and row.gradient.status == "zero" for row in weights)
    ):
        yield Found("error", "zero", "all weights are 0, so none of them gets a gradient", "initialise them at random")


def zeros(report: Report) -> Iterator[Found]:
    """Yield weights whose gradient is exactly 0, but for what a weight of 0 explains, then that only rounding is left.

    A bias, a gain or a row may well get none; a layer begun as 0 stops the gradient of what is before it.
    """
    weights = _weights(report)
    exact = [row for row in weights if row.gradient and in_a_word(row.gradient) == "zero"]
    begun_as_zero = any(map(_is_zero, (row for row in report.parameters if row.kind == "parameter")))
    if exact and not begun_as_zero:
        names = [row.name for row in exact]
        text = f"the gradient of {modules_of(names, report)} is exactly 0"
        yield Found("warning", "zero", text, "look for activations or masks that are 0 everywhere, or --loss random")
    elif weights and is_whole(report) and all(row.gradient and in_a_word(row.gradient) == ROUNDING for row in weights):
        text = "the loss is the same whatever the parameters are: no weight gets a gradient but for rounding"
        yield Found("note", "zero", text, "--loss random (the sum of a softmax or of a LayerNorm is constant)")


def _weights(report: Report) -> list[Parameter]:
    """Return the parameters of two and more dimensions that a gradient came to."""
    rows = [row for row in report.parameters if row.gradient and row.gradient.status in ("ok", "zero")]
    return [row for row in rows if len(row.shape) > 1]


def _is_zero(row: Parameter) -> bool:
    """Tell whether a weight, not a bias, holds nothing but 0."""
    is_bias = "bias" in row.name.rpartition(".")[2]
    return not is_bias and row.values is not None and row.numel is not None and 0 < row.numel == row.values.zeros
