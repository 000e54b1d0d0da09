"""PI5xx: what becomes of the signal on its way through the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.report import Cause, Course, Layer, Report, Signal, SignalLayer
from paraminspect.rules.gradient_rules import first_nonfinite, first_off
from paraminspect.rules.rule import CheckRule, Limits, Problem, Threshold, of_model
from paraminspect.rules.wording import DIFFERENTIABLE, lost_at, names_of, typed
from paraminspect.text.escape import code
from paraminspect.text.numbers import figure, percent, plural

RULES: Final = (
    CheckRule(
        "PI205",
        "identical-units",
        "error",
        "Units of a layer that have the weights and the bias of another unit of it, and get the same gradient. A layer "
        "all of whose units begin with the same weights, whatever follows, is a warning.",
        "They compute the same, and where nothing tells them apart stay the same for ever: the layer is as wide as its "
        "different units.",
        "nn.init.constant_(layer.weight, 0.1)",
        "Initialise the weights at random.",
    ),
    CheckRule(
        "PI501",
        "vanishing-signal",
        "error",
        "Activations or gradients that become smaller with every layer, more than the widths explain.",
        "The first layers get a gradient next to 0, or the last ones an input next to 0: they do not learn.",
        "fifty layers of nn.Linear(64, 64) and nn.Tanh with weights of std 0.05",
        "paraminspect compare finds a steadier initialisation; or add norms or skip connections.",
    ),
    CheckRule(
        "PI502",
        "exploding-signal",
        "error",
        "Activations or gradients that become larger with every layer, more than the widths explain.",
        "Outputs or steps are far too large, and end as NaN.",
        "fifty layers of nn.Linear(64, 64) and nn.ReLU with weights of std 1",
        "paraminspect compare finds a steadier initialisation; or add norms or skip connections.",
    ),
    CheckRule(
        "PI503",
        "dead-units",
        "warning",
        "A layer on every path through the model, of which most units are 0 for every sample of the batch.",
        "A unit that is off everywhere gets no gradient and stays off.",
        "nn.init.constant_(layer.bias, -100.0) before a nn.ReLU",
        "Another initialisation, larger biases, or LeakyReLU or GELU in the place of ReLU.",
        Threshold(0.95, "the share of units from which a layer passes nothing on that is worth the name", most=1.0),
    ),
    CheckRule(
        "PI504",
        "saturated-units",
        "warning",
        "A layer on every path through the model, most of whose activations lie where the slope is next to 0.",
        "Next to no gradient comes through.",
        "nn.init.normal_(layer.weight, std=10.0) before a nn.Tanh",
        "Smaller weights, or a normalisation layer before the activation.",
        Threshold(0.95, "the share of elements from which a layer passes nothing on that is worth the name", most=1.0),
    ),
    CheckRule(
        "PI505",
        "deeper-than-scale",
        "warning",
        "More layers than the depth over which theory lets one input be told from another.",
        "How alike two signals are forgets their inputs as exp(-depth/xi_c), and what is deeper than some 6 xi_c does "
        "not train (Schoenholz et al. 2017). PI501 and PI502 measure what comes of it, and need no theory.",
        "forty layers of nn.Linear and nn.Tanh with nn.init.xavier_normal_(weight, gain=0.7)",
        "paraminspect theory finds the critical line, where xi_c is infinite; or add norms or skip connections.",
        Threshold(6.0, "how many depth scales deep a network may be"),
        on=False,
    ),
    CheckRule(
        "PI506",
        "broken-signal",
        "error",
        "Activations or gradients that are exactly 0, or NaN or infinite, from some layer on.",
        "What is behind it gets nothing at all.",
        "x = x.clamp(max=0).relu()",
        "Look at the layer that is named.",
    ),
)

_SIGNAL = {"forward": "activations", "backward": "gradients"}
_FIGURE = {"forward": "rms", "backward": "gradient norm"}
_VERBS = {"vanishing": "vanish", "exploding": "explode"}
_RULE_OF = {"vanishing": "PI501", "exploding": "PI502", "dead": "PI506", "nonfinite": "PI506"}
BREAKS: Final = {"dead": "exactly 0", "nonfinite": "NaN or infinite"}
"""What a signal that breaks off becomes, by its verdict."""


def signal(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield that activations or gradients vanish or explode with the depth, both in one where both do."""
    found = report.signal
    if found is None:
        yield from _without_signal(report)
        return
    courses = {"forward": found.forward, "backward": found.backward}
    for verdict in ("nonfinite", "dead", "vanishing", "exploding"):
        those = {about: course for about, course in courses.items() if course.verdict == verdict}
        if those:
            text, hint = _of_courses(verdict, those, report), _steadier(report)
            if verdict == "dead" and (cause := _cause_of_zeros(found, report)):
                text, hint = f"{text}, {lost_at(cause)}", DIFFERENTIABLE
            elif verdict == "dead":
                hint = _why_off(found, those, report, limits)
            elif verdict == "nonfinite" and not _grew(found):
                hint = _why_nonfinite(found, those, report)
            yield of_model(_RULE_OF[verdict], "error", verdict, text, hint)


def too_deep(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield that a network is deeper than its depth scale, where theory has it all: why signals vanish or explode."""
    found = report.signal
    if found is None or found.xi_c is None or found.xi_c <= 0:
        return
    depth = max((layer.depth or 0 for layer in found.layers), default=0)
    if depth > limits["PI505"] * found.xi_c:
        text = (
            f"{depth:,} layers are more than {figure(limits['PI505'])} times the depth scale "
            f"{figure(found.xi_c, 2)} over which inputs are told apart"
        )
        yield of_model("PI505", "warning", "depth", text, _steadier(report))


_FEW, _FAR = 5, 1e5  # layers that make a trend; how far gradients of healthy nets never come from end to end


def _without_signal(report: Report) -> Iterator[Problem]:
    """Yield that the gradient changes its size beyond all measure from the last layers with weights to the first.

    A BatchNorm in eval mode that has seen no batch does not normalise: nothing is said of a network that has one.
    """
    if not report.layers or any("BatchNorm" in layer.type for layer in report.layers):
        return
    rows = [row for row in report.parameters if len(row.shape) > 1 and row.gradient and row.gradient.status == "ok"]
    modules = {row.module for row in rows}
    layers = [layer for layer in report.layers if isinstance(layer, Layer) and layer.module in modules]
    sizes = [layer.grad.rms for layer in layers if layer.grad.rms is not None]
    quarter = len(sizes) // 4
    early, late = (max(part, default=0.0) for part in (sizes[:quarter], sizes[-quarter:] if quarter else ()))
    if len(sizes) >= _FEW and early and late and not 1 / _FAR < late / early < _FAR:
        verdict = "vanishing" if late > early else "exploding"
        text = (
            f"gradients {_VERBS[verdict]} from the last layers to the first: rms {figure(late, 2)} → {figure(early, 2)}"
        )
        hint = f"{code(typed('grad', report))} shows at which layer"
        yield of_model(_RULE_OF[verdict], "error", verdict, text, hint)


def _of_courses(verdict: str, those: dict[str, Course], report: Report) -> str:
    who = " and ".join(_SIGNAL[about] for about in those)
    if verdict in BREAKS:
        leaves = next(iter(those.values())).leaves
        layers = report.signal.layers if report.signal else ()
        where = next((code(layer.module) for layer in layers if layer.depth == leaves and leaves is not None), "")
        return f"{who} become {BREAKS[verdict]} on their way through the layers{where and ', at layer '}{where}"
    ways = [f"{_FIGURE[about]} {_way(one)}" for about, one in those.items() if _far(one)]
    return f"{who} {_VERBS[verdict]} on their way through the layers{': ' if ways else ''}{', '.join(ways)}"


def _far(course: Course) -> bool:
    """Tell whether the ends show it: activations that vanished may have left those of the biases."""
    return bool(course.first and course.last) and not 0.2 < (course.last or 0.0) / (course.first or 1.0) < 5


def _way(course: Course) -> str:
    return f"{figure(course.first, 2)} → {figure(course.last, 2)}"


def _steadier(report: Report) -> str:
    return f"{code(typed('compare', report))} finds a steadier initialisation; or add norms or skip connections"


# --- why a signal breaks off -------------------------------------------------------------------------------------


def _cause_of_zeros(found: Signal, report: Report) -> Cause | None:
    """Return what the last layer that a gradient does not reach lost it at, where that is known."""
    layer = next((one for one in found.layers if one.depth is not None and one.depth == found.backward.leaves), None)
    rows = [row for row in report.parameters if layer is not None and row.module == layer.module and row.gradient]
    return next((row.gradient.cause for row in rows if row.gradient and row.gradient.status == "zero"), None)


def _why_off(found: Signal, those: dict[str, Course], report: Report, limits: Limits) -> str:
    """Say what to do where a rectifier is off, or an activation flat; else where to look for what is 0 everywhere."""
    deep = [layer for layer in found.layers if layer.depth is not None]
    if any((layer.dead or 0) >= limits["PI503"] for layer in deep):
        return _ALIVE
    if flat := [layer for layer in deep if (layer.saturated or 0) >= limits["PI504"]]:
        return _not_flat(flat)
    course = those.get("forward")
    cancelled = next((one for one in deep if course and one.depth == course.leaves and one.type == "sum"), None)
    if cancelled is not None:
        return f"look at the sum in {_named(cancelled)}: what it adds up is 0, or cancels"
    nothing = "a mask, a dropout or a clamp that lets nothing through"
    return first_off(report.layers) or f"look for {nothing}{_between(those, deep)}"


def _why_nonfinite(found: Signal, those: dict[str, Course], report: Report) -> str:
    """Say where to look for an operation that has no finite value, or slope, of what it is given."""
    deep = [layer for layer in found.layers if layer.depth is not None]
    where = "" if "forward" in those else _between(those, deep)
    return first_nonfinite(report.layers, where)


_LARGE = 1e3  # times what a signal began with: what has grown so far may grow beyond all numbers


def _grew(found: Signal) -> bool:
    """Tell whether the activations, or the gradient that has norm 1 at first, became large before they broke off."""
    start = found.input_rms or 1.0
    sizes = ((layer.pre.rms or 0.0, layer.grad_norm or 0.0) for layer in found.layers)
    return any(rms > _LARGE * start or norm > _LARGE for rms, norm in sizes)


def _between(those: dict[str, Course], deep: Sequence[SignalLayer]) -> str:
    """Return between which layers a signal breaks off, to go on with; nothing where that is not known."""
    (about, course), *_ = those.items()
    depths = {layer.depth or 0: _named(layer) for layer in reversed(deep)}
    if course.leaves not in depths:
        return ""
    ends = ["the input", *(depths[depth] for depth in sorted(depths)), "the output"]
    after = sorted(depths).index(course.leaves) + (2 if about == "backward" else 1)
    return f" between {ends[after - 1]} and {ends[after]}"


def _named(layer: SignalLayer) -> str:
    return code(layer.module) or "the model itself"


# --- units -------------------------------------------------------------------------------------------------------


def units(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield layers whose units are copies of one another; of those that every path runs through, off or flat ones.

    The gates of a side path (squeeze and excitation) are often all off or all flat at first, and learn.
    """
    layers = report.signal.layers if report.signal else ()
    same = {layer.module: layer.symmetric or 0 for layer in layers if layer.symmetric}
    if same:

        def copies(names: Sequence[str]) -> str:
            count = sum(same[name] for name in names)
            who = f"{plural(count, 'unit')} in {names_of(names)}"
            return f"{who} have the weights of another unit, and will learn the same"

        yield Problem("PI205", "error", "symmetric", tuple(same), copies, "initialise the weights at random")
    deep = [layer for layer in layers if layer.depth is not None]
    dead = {layer.module: layer.dead for layer in deep if (layer.dead or 0) >= limits["PI503"]}
    if dead:

        def off(names: Sequence[str]) -> str:
            return _layers("units are 0 for every sample", names, dead[names[0]])

        yield Problem("PI503", "warning", "dead", tuple(dead), off, _ALIVE)
    flat = {layer.module: layer.saturated for layer in deep if (layer.saturated or 0) >= limits["PI504"]}
    if flat:

        def saturated(names: Sequence[str]) -> str:
            return _layers("activations lie where the slope is next to 0", names, flat[names[0]])

        hint = _not_flat([layer for layer in deep if layer.module in flat])
        yield Problem("PI504", "warning", "saturated", tuple(flat), saturated, hint)


_ALIVE = "another initialisation, larger biases, or LeakyReLU or GELU in the place of ReLU"
_SMALLER = "smaller weights, or a normalisation layer before the activation"
_WITHIN = "limits that hold most of what comes in, or another scale of it"


def _not_flat(layers: Sequence[SignalLayer]) -> str:
    """Say what to do about flat activations: what is clamped may lie on one side of limits that do not hold 0."""
    return _WITHIN if all((layer.activation or "").startswith("hardtanh") for layer in layers) else _SMALLER


def _layers(what: str, names: Sequence[str], share: float | None) -> str:
    more = "" if len(names) == 1 else f", and as many in {plural(len(names) - 1, 'more layer')}"
    return f"{percent(share or 0)} of the {what} in {code(names[0]) or 'the model itself'}{more}"
