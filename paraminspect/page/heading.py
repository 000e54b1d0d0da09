"""The head of every page: what was inspected and what was run, in words. What is not known is never printed as 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from paraminspect.page.parts import Entries, Page, Part
from paraminspect.report import Environment, Forward, Report, TensorInfo
from paraminspect.rules.headline import COMMANDS, headline
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import figure, plural, seeds, size


def page_of(report: Report, view: View, parts: Sequence[Part]) -> Page:
    """Return the page with its head and its first line; where no stderr is beside it, errors and notes end it."""
    if view.on_paper:
        ends = [("error", ": ".join(map(code, filter(None, (one.where, one.message))))) for one in report.errors]
        ends += [("note", code(note)) for note in report.notes]
        parts = [*parts, Entries(ends)] if ends else parts
    first = [headline(report)] if report.command in COMMANDS else []
    return Page(code(report.source.name), totals(report, view), experiment(report, view), [*first, *parts])


# --- how large it is ---------------------------------------------------------------------------------------------


def totals(report: Report, view: View) -> str:
    """Say what kind of model it is, and how many parameters it has."""
    known, tensors = report.totals, plural(sum(row.kind == "parameter" for row in report.parameters), "tensor")
    others = sum(row.numel is None for row in report.parameters if row.kind != "parameter")
    partial = known.unknown > others
    least = "at least " if partial else ""
    if partial and known.parameters == 0:
        counts = ["an unknown number of parameters"]
    else:
        counts = [f"{least}{plural(known.parameters, 'parameter')}", f"{least}{size(known.bytes)}"]
    if known.shown != known.parameters:
        taken = f" ({counts[1]})" if view.on_paper and counts[1:] else ""
        shown = [f"{known.shown:,} of {counts[0]}{taken} shown, in {tensors}"]
    else:
        shown = [f"{counts[0]} in {tensors}", *counts[1:]]
    if counts[1:] and known.frozen:
        known_ones = "of the known ones " if partial else ""
        shown.append(f"{known_ones}{known.trainable:,} trainable, {known.frozen:,} frozen")
    if counts[1:] and known.as_named != known.parameters:
        shown.append(f"{least}{known.as_named:,} counting every name")
    frozen = [row for row in report.parameters if row.kind == "graph-constant"]
    if frozen:
        shown = shown if known.parameters else ["nothing in parameters()"]
        held = plural(sum(row.numel or 0 for row in frozen), "weight")
        shown.append(
            f"{held} in {plural(len(frozen), 'tensor')} of its graph, {size(sum(row.bytes or 0 for row in frozen))}"
        )
    if known.unknown:
        shown.append(f"{plural(known.unknown, 'tensor')} of unknown size")
    return ", ".join([*([code(report.model.type)] if report.model and report.model.type else []), *shown])


# --- what was run ------------------------------------------------------------------------------------------------


def experiment(report: Report, view: View) -> list[str]:
    """Say in a few parts what was run: seed, input, loss, device, version."""
    environment = report.environment
    parts = [_seeds(environment)]
    if report.forward:
        parts += _forward(report.forward)
    elif report.command != "init":
        parts.append("no forward")
    parts += [_mode(report), f"weights {code(report.environment.weights)}" if report.environment.weights else ""]
    parts.append(_devices(report))
    parts.append(f"torch {word(environment.torch)}" if environment.torch else "")
    parts.append(f"paraminspect {word(environment.paraminspect)}" if view.on_paper else "")
    return list(filter(None, parts))


def _seeds(environment: Environment) -> str:
    return "" if environment.seed is None else seeds(environment.seed, environment.seeds or 1)


def _mode(report: Report) -> str:
    """Say in which mode the forward ran, and how many modules differ; without a forward only a mode that was set."""
    known = report.environment
    if known.mode is None or (report.forward is None and known.mode_origin == "as given"):
        return ""
    asked = "" if known.mode_origin in (None, "as given") else f" ({known.mode_origin})"
    if known.mode != "mixed":
        return f"{word(known.mode)} mode{asked}"
    counts = (known.modules_training or 0, known.modules_eval or 0)
    return f"{counts[1]:,} of {plural(sum(counts), 'module')} in eval mode{asked or ', as given'}"


def _devices(report: Report) -> str:
    """Return the device of the parameters; where they are on several, how many tensors are on each."""
    counts = Counter(row.device for row in report.parameters if row.kind == "parameter")
    if len(counts) < 2:
        return word(report.environment.device)
    return ", ".join(f"{plural(count, 'tensor')} on {word(device)}" for device, count in counts.items())


def _forward(forward: Forward) -> list[str]:
    parts = [f"input {', '.join(map(_drawn, forward.input))}{_chosen(forward)}"]
    error = forward.error
    if forward.loss_name is not None and (error is None or forward.loss is not None):
        parts.append(f"loss {word(forward.loss_name)} = {figure(forward.loss, 6)}")
    if error is not None:
        where = f" in '{code(error.module)}'" if error.phase == "forward" and error.module else ""
        parts.append(f"the {word(error.phase)} failed{where}")
    return parts


def _drawn(info: TensorInfo) -> str:
    """Return an input's name, shape, dtype and how it was drawn, as far as it has them."""
    return code(" ".join(filter(None, (info.name, str(info.shape), info.dtype, info.sample))))


def _chosen(forward: Forward) -> str:
    """Say who chose the input, unless it was the user or the spec."""
    origin = forward.origin
    if origin in (None, "", "--input", "given"):
        return ""
    return ", inferred" if origin == "inferred" else f", from {word(origin or '')}"
