"""PI3xx: what gradient reaches the parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from paraminspect.report import RETURNED_ASIDE, UNDER_NO_GRAD, Layer, Parameter, Report, TreeLayer
from paraminspect.rules.rule import CheckRule, Limits, Problem, of_model
from paraminspect.rules.value_rules import is_zero, weights_with_gradient
from paraminspect.rules.wording import (
    DIFFERENTIABLE,
    ROUNDING,
    by_number,
    in_a_word,
    is_whole,
    lost_at,
    modules_of,
    names_of,
    outermost,
)
from paraminspect.text.escape import code, word

RULES: Final = (
    CheckRule(
        "PI301",
        "unused-parameter",
        "warning",
        "A parameter that the forward never reads. Where that is often meant, it is PI308.",
        "Its grad stays None, the optimizer skips it, and DistributedDataParallel waits for it for ever.",
        "self.extra = nn.Linear(8, 8), and no self.extra(x) in forward",
        "Use it in forward, give the input that it is for, or leave it out of the model.",
    ),
    CheckRule(
        "PI302",
        "disconnected-parameter",
        "error",
        "A parameter that the forward reads, but that the loss does not depend on. Where others get a gradient in eval "
        "mode, as of a detector, and where it is the last of a part that returns several tensors, it is PI308.",
        "No gradient reaches it: something on the way cuts the graph, such as detach, argmax, round or numpy.",
        "return self.head(self.body(x).detach())",
        "Keep what leads from it to the loss differentiable.",
    ),
    CheckRule(
        "PI303",
        "zero-gradient",
        "warning",
        "A weight whose gradient is exactly 0, though no weight of the model is 0. In eval mode, and where others of "
        "the same list get one (a detector picks levels), it is PI308; a branch dropped by chance is neither.",
        "What is behind it is off for the whole batch, or masked: a step does not change it.",
        "return self.head(self.body(x).clamp(max=0).relu())",
        "Look for activations or masks that are 0 everywhere, or another --loss: random.",
    ),
    CheckRule(
        "PI304",
        "nonfinite-gradient",
        "error",
        "A gradient or a loss with NaN or infinite values.",
        "One step with it makes the weights NaN.",
        "return (x - x.mean()).sqrt()",
        "Look at the first module that returned such a value; torch.autograd.set_detect_anomaly(True) names the "
        "operation.",
    ),
    CheckRule(
        "PI305",
        "bias-left-frozen",
        "note",
        "A layer whose weight trains while its bias is frozen.",
        "A mask of names that should have frozen all of it, or none, missed one. Frozen weights beside biases that "
        "train, adapters (LoRA), norms and positions are common, and are not found.",
        "layer.bias.requires_grad_(False)",
        "layer.requires_grad_(True), or bias=False.",
    ),
    CheckRule(
        "PI306",
        "constant-loss",
        "note",
        "A loss that is the same whatever the parameters are: every gradient is 0 but for rounding.",
        "The sum of a softmax is 1 and that of a LayerNorm 0: such a loss says nothing about the model.",
        "model(x).softmax(-1).sum()",
        "--loss random, or the loss that the model is trained with.",
    ),
    CheckRule(
        "PI307",
        "nothing-trains",
        "note",
        "Every parameter is frozen: requires_grad is False.",
        "Nothing would train. For inference that is meant.",
        "model.requires_grad_(False)",
        "Unfreeze what is to be trained.",
    ),
    CheckRule(
        "PI308",
        "not-reached-here",
        "note",
        "A parameter without a gradient where that is often meant: in eval mode, where others of the same list got one "
        "instead (a router, LayerDrop, the levels of a detector), and where the class names it in its code, as for "
        "another input; or where a part of the model returns it beside other tensors, and nothing reads it.",
        "It tells what this run did not try. Healthy networks have such parts: select the rule to see them.",
        "if self.training: return self.body(x), self.auxiliary(x)",
        "--train, or --input with what the part is for.",
        on=False,
    ),
)

_ASIDE: Final = "PI308"


# --- NaN and infinity --------------------------------------------------------------------------------------------


def nonfinite_passes(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield gradients and a loss that are NaN or infinite, with the first layer that returned such a value."""
    rows = [row.name for row in report.parameters if row.gradient and row.gradient.status == "nonfinite"]
    if rows:
        yield Problem("PI304", "error", "nonfinite", tuple(rows), _not_finite, first_nonfinite(report.layers))
    elif (forward := report.forward) and forward.loss_finite is False and not forward.error:
        finite = any(row.gradient and row.gradient.status == "ok" for row in report.parameters)
        value = "NaN" if forward.loss is None or math.isnan(forward.loss) else "infinite"
        severity = "note" if finite and value == "infinite" else "error"
        yield of_model("PI304", severity, "nonfinite", f"the loss is {value}", first_nonfinite(report.layers))


def _not_finite(names: Sequence[str]) -> str:
    return f"the gradient of {names_of(names)} has NaN or infinite elements"


def first_nonfinite(layers: Iterable[Layer | TreeLayer], where: str = "") -> str:
    """Say which layer returned NaN or infinities first; if none did, how to find it, `where` being known of it."""
    for layer in layers:
        if isinstance(layer, Layer) and (layer.out.nan or layer.out.inf):
            return f"look at {_called(layer)}, the first module to return NaN or infinite values"
    return f"torch.autograd.set_detect_anomaly(True) names the operation{where} whose backward makes it"


def first_off(layers: Iterable[Layer | TreeLayer]) -> str:
    """Say which layer returned nothing but 0 first; nothing where none did."""
    layer = next((layer for layer in layers if isinstance(layer, Layer) and _is_off(layer)), None)
    return "" if layer is None else f"look at {_called(layer)}, the first module to return 0 everywhere"


def _called(layer: Layer) -> str:
    return f"{code(layer.module) or 'the model itself'} ({word(layer.type)})"


# --- no gradient -------------------------------------------------------------------------------------------------


def unreached(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield parameters that the loss does not depend on, then those that the forward never read."""
    rows = [row for row in report.parameters if row.gradient and row.gradient.status not in ("frozen", "not-run")]
    gone = [row for row in rows if row.gradient and row.gradient.status == "disconnected"]
    lost = [row for row in gone if not _handed_on(row)]
    unused = [row for row in rows if row.gradient and row.gradient.status == "unused"]
    skipped, unread = _skipped(unused, rows)
    everything = len(gone) + len(unused) if is_whole(report) and len(gone) + len(unused) == len(rows) else None
    if lost:
        yield _disconnected(lost, everything, report)
    elsewhere = {verdict.where for verdict in report.verdicts if verdict.about == "reach"}
    never = [name for name in unread if name not in elsewhere]
    if never:
        yield _unused(never, everything, report)
    if other := [name for name in unread if name in elsewhere]:
        hint = "give the input that it is for, or --train"

        def not_here(names: Sequence[str]) -> str:
            them = by_number(len(outermost(names, report)), "it", "them")
            return f"no gradient reaches {modules_of(names, report)}: this forward does not read {them}, its code may"

        yield Problem(_ASIDE, "note", "unused", tuple(other), not_here, hint)
    if aside := [row.name for row in gone if _handed_on(row)]:

        def left(names: Sequence[str]) -> str:
            what = by_number(len(outermost(names, report)), "what it returned", "what they returned")
            return f"no gradient reaches {modules_of(names, report)}: {what} is handed on, and nothing reads it"

        yield Problem(_ASIDE, "note", "disconnected", tuple(aside), left, "leave it out, where it is not meant")
    if skipped:
        hint = "where a router or LayerDrop picks, that is meant; else use every one in forward"

        def say(names: Sequence[str]) -> str:
            return f"no gradient reached {modules_of(names, report)}: the forward read only others of the same list"

        yield Problem(_ASIDE, "note", "unused", tuple(skipped), say, hint)


def _handed_on(row: Parameter) -> bool:
    """Tell whether a module above returned its result among others, which the caller may take or leave."""
    cause = row.gradient.cause if row.gradient else None
    return cause is not None and cause.reason == RETURNED_ASIDE


def _disconnected(lost: Sequence[Parameter], everything: int | None, report: Report) -> Problem:
    cause = next((row.gradient.cause for row in lost if row.gradient and row.gradient.cause), None)
    those = [row.name for row in lost if cause is None or (row.gradient and row.gradient.cause == cause)]
    why = f"it is {lost_at(cause)}" if cause else ""
    hint = DIFFERENTIABLE if cause else "another --loss"
    if cause and cause.reason == UNDER_NO_GRAD:
        hint = f"{hint}; where that is meant (a teacher, an average), requires_grad_(False) says so"
    in_part = everything is None and report.environment.mode in ("eval", "mixed")
    rule, severity = (_ASIDE, "note") if in_part else ("PI302", "error")
    hint = "--train, where that is meant for inference" if in_part else hint

    def say(names: Sequence[str]) -> str:
        who = _without_gradient(names, everything is not None and len(names) == len(those), report)
        return f"{who}: {why or 'the loss does not depend on what reads them'}"

    return Problem(rule, severity, "disconnected", tuple(those), say, hint)


def _without_gradient(names: Sequence[str], everything: bool, report: Report) -> str:
    return "no parameter gets a gradient" if everything else f"no gradient reaches {modules_of(names, report)}"


def _unused(unread: Sequence[str], everything: int | None, report: Report) -> Problem:
    mode = report.environment.mode
    eval_mode = f" in {mode} mode" if mode in ("eval", "mixed") else ""

    def say(names: Sequence[str]) -> str:
        every = everything is not None and len(names) == len(unread)
        them = "them" if every else by_number(len(outermost(names, report)), "it", "them")
        return f"{_without_gradient(names, every, report)}: the forward never reads {them}{eval_mode}"

    if eval_mode:
        hint = "--train, where that is meant for training alone"
        return Problem(_ASIDE, "note", "unused", tuple(unread), say, hint)
    hint = "use it in forward, give the input that it is for, or leave it out of the model"
    many = "use them in forward, give the input that they are for, or leave them out of the model"
    hint = by_number(len(outermost(unread, report)), hint, many)
    return Problem("PI301", "warning", "unused", tuple(unread), say, hint)


def _skipped(unused: Sequence[Parameter], rows: Sequence[Parameter]) -> tuple[list[str], list[str]]:
    """Tell those that others of the same list were read beside, as with experts, from those that nothing reads."""
    if not unused:  # as in most models
        return [], []
    read = {alike for row in rows if row.gradient and row.gradient.status != "unused" for alike in _alike(row.name)}
    skipped: list[str] = []
    unread: list[str] = []
    for row in unused:
        (unread if read.isdisjoint(_alike(row.name)) else skipped).append(row.name)
    return skipped, unread


def _alike(name: str) -> Iterator[str]:
    """Yield a name with one of its numbers left open, for each of them."""
    for number in re.finditer(r"(?<![^.])\d+(?![^.])", name):
        yield f"{name[: number.start()]}*{name[number.end() :]}"


def uncalled_modules(report: Report) -> list[TreeLayer]:
    """Return the outermost modules that the forward did not call, apart from those whose parameters another reads."""
    if report.forward is None or report.forward.error:
        return []
    rows = [layer for layer in report.layers if isinstance(layer, TreeLayer) and layer.calls == 0]
    rows = [row for row in rows if not row.called_below and not row.used_elsewhere]
    names = {row.module for row in rows}
    return [row for row in rows if row.parent not in names]


def uncalled(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield the modules with parameters that the forward did not call and nothing else read: that may be meant."""
    rows = uncalled_modules(report)
    if report.forward and report.forward.backward and rows:
        names = tuple(row.module for row in rows if row.parameters)
        if names:
            hint = "where it is for training alone: --train" if report.environment.mode in ("eval", "mixed") else ""
            yield Problem(_ASIDE, "note", "unused", names, _never_called, hint)


def _never_called(names: Sequence[str]) -> str:
    return f"the forward never called {names_of(names)}"


def nothing_trains(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that every parameter is frozen: that may be meant."""
    rows = [row for row in report.parameters if row.gradient]
    if rows and is_whole(report) and all(row.gradient and row.gradient.status == "frozen" for row in rows):
        text = "every parameter is frozen (requires_grad=False): nothing would train"
        yield of_model("PI307", "note", "frozen", text)


def frozen_beside_trained(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield biases that are frozen beside a weight that trains; not those of norms, of which some do without."""
    rows = [row for row in report.parameters if row.kind == "parameter" and "Norm" not in row.module_type]
    train = {row.module for row in rows if row.requires_grad and row.name.rpartition(".")[2] == "weight"}
    frozen = [row for row in rows if not row.requires_grad and row.name.rpartition(".")[2] == "bias"]
    names = tuple(row.name for row in frozen if row.module in train)
    if names:
        yield Problem("PI305", "note", "frozen", names, _bias_frozen, "requires_grad_(True), or bias=False")


def _bias_frozen(names: Sequence[str]) -> str:
    are, its = by_number(len(names), "is", "are"), by_number(len(names), "its weight trains", "their weights train")
    return f"{names_of(names)} {are} frozen, though {its}"


# --- gradients of 0 ----------------------------------------------------------------------------------------------


def zeros(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield weights whose gradient is exactly 0, but for what a weight of 0 explains, then that only rounding is left.

    A bias, a gain or a row may well get none; a layer begun as 0 stops the gradient of what is before it. A stochastic
    depth that has dropped a branch for the whole batch explains it. In eval mode, and where others of the same list get
    a gradient (a detector picks levels, a router experts), it is a note.
    """
    weights = weights_with_gradient(report)
    exact = tuple(row.name for row in weights if row.gradient and in_a_word(row.gradient) == "zero")
    begun_as_zero = bool(exact) and any(is_zero(row) for row in report.parameters if row.kind == "parameter")
    constant = is_whole(report) and _is_rounding(weights)
    is_random = report.forward is not None and report.forward.loss_name == "random"
    another_loss = "" if is_random else ", or --loss random"
    if exact and not begun_as_zero and not constant and not _drops_branches(report):
        hint = "look for activations or masks that are 0 everywhere" + another_loss
        causes = {row.name: row.gradient.cause for row in weights if row.gradient and row.gradient.cause}
        if causes.keys() >= set(exact):
            hint = DIFFERENTIABLE

        def say(names: Sequence[str]) -> str:
            why = {causes.get(name) for name in names}
            lost = "".join(f", {lost_at(cause)}" for cause in why if cause and len(why) == 1)
            return f"the gradient of {modules_of(names, report)} is exactly 0{lost}"

        at_once = _of_first_step(exact, weights)
        if at_once:
            yield Problem("PI303", "warning", "zero", tuple(at_once), _from_h0, _OTHER_END)
        picked, rest = _beside([name for name in exact if name not in at_once], weights)
        eval_mode = report.environment.mode in ("eval", "mixed")
        if rest:
            yield Problem(*((_ASIDE, "note") if eval_mode else ("PI303", "warning")), "zero", tuple(rest), say, hint)
        if picked:
            yield Problem(_ASIDE, "note", "zero", tuple(picked), say, hint)
    elif constant:
        text = "the loss is the same whatever the parameters are: no weight gets a gradient but for rounding"
        hint = "" if is_random else "--loss random (the sum of a softmax or of a LayerNorm is constant)"
        yield of_model("PI306", "note", "zero", text, hint)


_REVERSE_HIDDEN: Final = re.compile(r"(.*)weight_hh_(l\d+)_reverse")
_OTHER_END: Final = "read h_n, or what the reverse direction returned at the first position"


def _of_first_step(exact: Sequence[str], weights: Sequence[Parameter]) -> list[str]:
    """Return the hidden weights of reverse directions of which only the last position is read: their first step.

    Their input weights get a gradient then, and so do the hidden weights of the other direction, if it has two steps.
    """
    fine = {row.name for row in weights if row.gradient and row.gradient.status == "ok"}
    recurrent = [row.name for row in weights if row.module_type in ("RNN", "LSTM", "GRU") and row.name in exact]
    reverse = [found for name in recurrent if (found := _REVERSE_HIDDEN.fullmatch(name))]
    return [
        one[0]
        for one in reverse
        if fine.issuperset((f"{one[1]}weight_ih_{one[2]}_reverse", f"{one[1]}weight_hh_{one[2]}"))
    ]


def _from_h0(names: Sequence[str]) -> str:
    return (
        f"the gradient of {names_of(names)} is exactly 0: of the reverse direction only the last position is read, "
        "which is its first step, and the hidden state before that, h0, is 0"
    )


def _is_rounding(weights: Sequence[Parameter]) -> bool:
    """Tell whether rounding is all that the gradients are; some of it is 0 by chance."""
    words = {in_a_word(row.gradient) for row in weights if row.gradient}
    return ROUNDING in words and words <= {ROUNDING, "zero"}


def _drops_branches(report: Report) -> bool:
    """Tell whether a module that drops branches at random has dropped one: what it returned is 0 throughout."""
    layers = (layer for layer in report.layers if isinstance(layer, Layer))
    return any("drop" in layer.type.lower() or "stochastic" in layer.type.lower() for layer in layers if _is_off(layer))


def _is_off(layer: Layer) -> bool:
    return layer.out.rms == 0


def _beside(exact: Sequence[str], weights: Sequence[Parameter]) -> tuple[list[str], list[str]]:
    """Tell those that others of the same list get a gradient beside from the rest."""
    reached = {alike for row in weights if row.name not in exact for alike in _alike(row.name)}
    found: tuple[list[str], list[str]] = ([], [])
    for name in exact:
        found[reached.isdisjoint(_alike(name))].append(name)
    return found
