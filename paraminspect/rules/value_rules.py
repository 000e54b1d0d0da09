"""PI2xx: what the values are, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.report import Parameter, Report, Verdict
from paraminspect.rules.rule import CheckRule, Limits, Problem, Threshold, of_model
from paraminspect.rules.wording import by_number, is_whole, names_of
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import figure, plural

RULES: Final = (
    CheckRule(
        "PI201",
        "nonfinite-value",
        "error",
        "A parameter with NaN or infinite values, or a buffer with NaN, before anything was run.",
        "One NaN in a weight makes the whole output NaN. Infinite values in a buffer may be a mask, and are not found.",
        "nn.init.constant_(layer.weight, float('nan'))",
        "Look at what initialised or loaded the tensor.",
    ),
    CheckRule(
        "PI202",
        "uninitialised-memory",
        "error",
        "A parameter whose largest magnitude is above 1e10 or below 1e-30.",
        "No weights are of such a size: it is memory as it was, as after torch.empty or to_empty.",
        "self.weight = nn.Parameter(torch.empty(8, 8))",
        "Initialise it: nn.init.kaiming_uniform_(self.weight), or --scheme.",
    ),
    CheckRule(
        "PI203",
        "zero-weights",
        "error",
        "All weights of the model are 0, so that none of them gets a gradient.",
        "The gradient of each weight is a product with the others: the model is at a saddle, and stays there.",
        "for p in model.parameters(): nn.init.zeros_(p)",
        "Initialise the weights at random.",
    ),
    CheckRule(
        "PI206",
        "off-scheme",
        "warning",
        "Values whose mean, std or bounds are not what the scheme that was applied gives.",
        "Something changed them after it, or the scheme does other than its name says.",
        "nn.init.normal_(w, std=0.01); w.data.mul_(10)",
        "Look at what runs after the initialisation; paraminspect init shows before and after.",
        Threshold(1.0, "how many tolerances a figure may be off, of those that the size of the tensor allows", 1.0),
    ),
)

_LARGEST, _SMALLEST = 1e10, 1e-30  # magnitudes that weights have, with orders of magnitude to spare


def nonfinite_values(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield tensors with NaN or infinities in them before anything ran; an infinite buffer may be a mask."""
    names = []
    for row in report.parameters:
        if row.values and (row.values.nan or (row.values.inf and row.kind not in ("buffer", "constant"))):
            names.append(row.name)
    if names:
        hint = "look at what initialised or loaded them"
        yield Problem("PI201", "error", "nonfinite", tuple(names), _not_finite, hint)


def _not_finite(names: Sequence[str]) -> str:
    have = by_number(len(names), "has", "have")
    return f"{names_of(names)} {have} NaN or infinite values, before anything was run"


def of_no_weights(report: Report) -> Iterator[tuple[str, float]]:
    """Yield the name and the largest magnitude of each parameter in which that is of a size that no weights have."""
    for row in report.parameters:
        if row.kind == "parameter" and row.values and row.values.min is not None and row.values.max is not None:
            largest = max(-row.values.min, row.values.max)
            if largest > _LARGEST or 0 < largest < _SMALLEST:
                yield row.name, largest


def uninitialised(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield parameters with values of a size that no weights have."""
    names = tuple(name for name, _ in of_no_weights(report))
    if names:
        hint = "initialise what torch.empty or to_empty left, e.g. --scheme"
        yield Problem("PI202", "error", "uninitialised", names, _of_no_size, hint)


def _of_no_size(names: Sequence[str]) -> str:
    hold = by_number(len(names), "holds", "hold")
    return f"{names_of(names)} {hold} values of a size that no weights have, as memory that nothing initialised"


def all_zero(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the weights are all 0, so that none of them gets a gradient: not where one of them does."""
    weights = weights_with_gradient(report)
    if (
        weights
        and is_whole(report)
        and all(is_zero(row) and row.gradient and row.gradient.status == "zero" for row in weights)
    ):
        text = "all weights are 0, so none of them gets a gradient"
        yield of_model("PI203", "error", "zero", text, "initialise them at random")


def weights_with_gradient(report: Report) -> list[Parameter]:
    """Return the parameters of two and more dimensions that a gradient came to."""
    rows = [row for row in report.parameters if row.gradient and row.gradient.status in ("ok", "zero")]
    return [row for row in rows if len(row.shape) > 1]


def is_zero(row: Parameter) -> bool:
    """Tell whether a weight, not a bias, holds nothing but 0."""
    is_bias = "bias" in row.name.rpartition(".")[2]
    return not is_bias and row.values is not None and row.numel is not None and 0 < row.numel == row.values.zeros


# --- against the scheme ------------------------------------------------------------------------------------------

BOUNDS: Final = "bounds"


def is_off(verdict: Verdict) -> bool:
    """Tell whether a verdict found something wrong."""
    return verdict.verdict == f"{verdict.figure} off"


def schemes(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield values that are not what their scheme should give."""
    most = limits["PI206"]
    off = [verdict for verdict in report.verdicts if is_off(verdict) and (most <= 1.0 or _by(verdict) > most)]
    if off:

        def say(names: Sequence[str]) -> str:
            first = next(verdict for verdict in off if (verdict.where or "") in names)
            more = "" if len(names) == 1 else f"; so are {plural(len(names) - 1, 'more tensor')}"
            return f"values are not what their initialisation should give: {strayed(first)}{more}"

        names = tuple(dict.fromkeys(verdict.where or "" for verdict in off))
        hint = "look at what changed them after it, or at the scheme itself"
        yield Problem("PI206", "warning", "scheme", names, say, hint)


def _by(verdict: Verdict) -> float:
    """Return how many tolerances a figure is off; a bound that is broken is off altogether."""
    if verdict.measured is None or verdict.expected is None or not verdict.tolerance:
        return float("inf")
    return abs(verdict.measured - verdict.expected) / verdict.tolerance


def strayed(verdict: Verdict) -> str:
    """Say which figure is off, what it is and what its scheme should give."""
    if verdict.figure == BOUNDS and verdict.expected is not None and verdict.measured is not None:
        limit = "at least" if verdict.measured < verdict.expected else "at most"
        ends = [figure(number) for number in (verdict.measured, verdict.expected)]
        return f"{code(verdict.where or '')}: a value is {ends[0]}, its scheme should give {limit} {ends[1]}"
    what = f"{code(verdict.where or '')}: {word(verdict.figure or '')}"
    wanted = figure(verdict.expected)
    if verdict.tolerance is not None:
        wanted += f", give or take {figure(verdict.tolerance)}"
    return f"{what} is {figure(verdict.measured)}, its scheme should give {wanted}"
