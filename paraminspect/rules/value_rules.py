"""PI2xx: what the values are, before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.report import Parameter, Report, Verdict
from paraminspect.rules.rule import CheckRule, Limits, Problem, Threshold, of_model
from paraminspect.rules.wording import by_number, is_whole, names_of
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import figure, percent, plural

RULES: Final = (
    CheckRule(
        "PI201",
        "nonfinite-value",
        "error",
        "A parameter, or the running statistics of a norm, with NaN or infinite values, or a buffer with NaN, before "
        "anything was run.",
        "One NaN in a weight makes the whole output NaN. Infinite values in another buffer may be a mask, and are not "
        "found.",
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
        "PI204",
        "constant-weight",
        "warning",
        "A trained weight of a layer that mixes inputs, or of an embedding, whose elements are all one number, not 0.",
        "Its units start as copies of one another: they differ only as far as what follows tells them apart. Gains of "
        "norms, depthwise filters and zeros, as of a branch that starts at nothing, are not found.",
        "nn.init.constant_(layer.weight, 0.1)",
        "Initialise it at random.",
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
    CheckRule(
        "PI207",
        "subnormal-values",
        "warning",
        "A parameter with many subnormal elements: smaller than the smallest number that its dtype holds with all of "
        "its digits (float32: 1.2e-38, float16: 6.1e-5).",
        "They have fewer digits the smaller they are, and a CPU computes with them many times slower.",
        "nn.init.normal_(layer.half().weight, std=1e-5)",
        "A wider dtype, larger values; torch.set_flush_denormal(True) where they are leftovers of weight decay.",
        Threshold(0.1, "the share of the elements from which on it is found"),
    ),
    CheckRule(
        "PI208",
        "mixed-dtypes",
        "warning",
        "A weight and a bias of one module in two dtypes, or a few float64 parameters in a model of narrower ones.",
        "An operation on two dtypes fails, or goes on in the wider: one float64 tensor turns all that follows into "
        "float64. Norms in float32 beside bfloat16 and quantised weights are not found.",
        "self.scale = nn.Parameter(torch.from_numpy(np.ones(8)))",
        "model.to(dtype), or torch.from_numpy(...).float().",
    ),
    CheckRule(
        "PI209",
        "too-large-for-half",
        "note",
        "A tensor with values that are infinite in float16, whose largest number is 65,504.",
        "model.half() turns them into inf, without an error.",
        "self.register_buffer('mask', torch.full((8, 8), -1e9))",
        "Keep it in float32 or bfloat16, or use torch.finfo(dtype).min for a mask.",
        Threshold(65504.0, "the largest magnitude that the narrower dtype holds"),
        on=False,
    ),
)

_LARGEST, _SMALLEST = 1e10, 1e-30  # magnitudes that weights have, with orders of magnitude to spare


def nonfinite_values(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield tensors with NaN or infinities in them before anything ran; an infinite buffer may be a mask."""
    names = []
    for row in report.parameters:
        may_be_mask = row.kind in ("buffer", "constant") and row.name.rpartition(".")[2] not in _RUNNING
        if row.values and (row.values.nan or (row.values.inf and not may_be_mask)):
            names.append(row.name)
    if names:
        hint = "look at what initialised or loaded them"
        yield Problem("PI201", "error", "nonfinite", tuple(names), _not_finite, hint)


_RUNNING = ("running_mean", "running_var")


def _not_finite(names: Sequence[str]) -> str:
    have = by_number(len(names), "has", "have")
    return f"{names_of(names)} {have} NaN or infinite values, before anything was run"


def of_no_weights(report: Report) -> Iterator[tuple[str, float]]:
    """Yield the name and the largest magnitude of each parameter in which that is of a size that no weights have."""
    for row in report.parameters:
        known = row.values
        if row.kind == "parameter" and known and known.min is not None and known.max is not None:
            largest = max(-known.min, known.max)
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


# --- constants -------------------------------------------------------------------------------------------------

_MIXES = re.compile(r"Linear|Conv|Embedding|Bilinear|RNN|LSTM|GRU|MultiheadAttention")
_WEIGHT = re.compile(r"weight|in_proj_weight|weight_[ih]h_l\d+(_reverse)?")


def constants(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield weights that are one number throughout; of units that get one gradient too, PI205 tells."""
    told = {layer.parameter for layer in (report.signal.layers if report.signal else ()) if layer.symmetric}
    rows = [row for row in report.parameters if row.requires_grad and _is_constant(row) and row.name not in told]
    if rows:
        number = {row.name: figure(row.values.max) for row in rows if row.values}

        def say(names: Sequence[str]) -> str:
            are = by_number(len(names), "is", "are")
            return f"{names_of(names)} {are} {number[names[0]]} throughout: every unit starts as a copy of the others"

        names = tuple(row.name for row in rows)
        yield Problem("PI204", "warning", "symmetric", names, say, "initialise the weights at random")


def identical_units(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield weights whose rows are all the same, but no constant; of units that get one gradient the signal tells."""
    told = {layer.parameter for layer in (report.signal.layers if report.signal else ()) if layer.symmetric}
    counts = {one.where: one.measured or 0.0 for one in report.verdicts if one.about == "units"}
    rows = [row for row in report.parameters if row.name in counts and row.requires_grad and row.name not in told]
    names = tuple(row.name for row in rows if _mixes(row) and "Transpose" not in row.module_type)
    if names:

        def say(names: Sequence[str]) -> str:
            units = plural(int(sum(counts[name] for name in names)), "unit")
            return f"all {units} of {names_of(names)} have the same weights: they begin as one"

        yield Problem("PI205", "warning", "symmetric", names, say, "initialise the weights at random")


def _mixes(row: Parameter) -> bool:
    """Tell whether a row is the weights of a unit, of inputs that others read too."""
    return bool(_MIXES.search(row.module_type) and _WEIGHT.fullmatch(row.name.rpartition(".")[2]))


def _is_constant(row: Parameter) -> bool:
    """Tell whether units of a layer that mixes inputs are alike for their weights are one number.

    Not a row of one unit or of one input, as a depthwise convolution has: its units see different inputs.
    """
    known = row.values
    if known is None or known.min is None or not (known.min == known.max != 0):  # as in most
        return False
    if row.kind not in ("parameter", "unregistered") or known.nan or known.inf:
        return False
    several = len(row.shape) > 1 and row.shape[0] > 1 and row.shape[1] > 1
    return several and _mixes(row)


# --- dtypes ----------------------------------------------------------------------------------------------------

_WIDTHS: Final = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def subnormals(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield parameters of which many elements are subnormal; where none is larger, it is memory, as PI202 says."""
    many = [one for one in report.verdicts if one.figure == "subnormals" and (one.measured or 0.0) >= limits["PI207"]]
    memory = {name for name, _ in of_no_weights(report)} if many else set()
    share = {one.where or "": one.measured or 0.0 for one in many if one.where not in memory}
    if share:

        def say(names: Sequence[str]) -> str:
            more = "" if len(names) == 1 else f", and many in {plural(len(names) - 1, 'more tensor')}"
            return f"{percent(share[names[0]])} of {code(names[0])} is subnormal, of few digits and slow{more}"

        hint = "a wider dtype, or torch.set_flush_denormal(True)"
        yield Problem("PI207", "warning", "subnormal", tuple(share), say, hint)


def dtypes(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield weights and biases that differ in dtype, then the float64 parameters of a model of narrower ones."""
    rows = [row for row in report.parameters if row.kind == "parameter" and row.dtype in _WIDTHS]
    if len({row.dtype for row in rows}) < 2:  # as in most models
        return
    weights = {row.module: row for row in rows if row.name.rpartition(".")[2] == "weight"}
    apart = []
    for row in rows:
        weight = weights.get(row.module)
        if weight and row.name.rpartition(".")[2] == "bias" and row.dtype != weight.dtype:
            apart.append((weight, row))
    if apart:
        words = {weight.name: f"{weight.dtype}, its bias {bias.dtype}" for weight, bias in apart}

        def say(names: Sequence[str]) -> str:
            more = "" if len(names) == 1 else f"; so {plural(len(names) - 1, 'more module')}"
            return f"{code(names[0])} is {words[names[0]]}{more}"

        yield Problem("PI208", "warning", "dtype", tuple(words), say, "model.to(dtype)")
    wide = [row for row in rows if row.dtype == "float64"]
    if wide and 2 * len(wide) < len(rows):
        others = ", ".join(sorted({row.dtype for row in rows} - {"float64"}))

        def doubles(names: Sequence[str]) -> str:
            return f"{names_of(names)} {by_number(len(names), 'is', 'are')} float64 in a model of {others}"

        yield Problem("PI208", "warning", "dtype", tuple(row.name for row in wide), doubles, "model.to(dtype)")


def overflow(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield tensors with finite values that float16 does not hold."""
    largest: dict[str, float] = {}
    for row in report.parameters:
        known = row.values
        if known is not None and row.dtype in _WIDTHS and known.min is not None and known.max is not None:
            most = max(-known.min, known.max)
            if most > limits["PI209"]:
                largest[row.name] = most
    if largest:

        def say(names: Sequence[str]) -> str:
            hold = by_number(len(names), "holds", "hold")
            return f"{names_of(names)} {hold} up to {figure(max(largest[name] for name in names))}: inf in float16"

        yield Problem("PI209", "note", "overflow", tuple(largest), say, "keep them in float32 or bfloat16")


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
