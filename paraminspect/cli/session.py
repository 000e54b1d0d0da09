"""What every command does around its own work: load the spec, bring torch in, hand the Report to a renderer."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paraminspect import output
from paraminspect.cli.options import Experiment, Format, Output, Rows, Rules
from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.render.view import View
from paraminspect.report import Report
from paraminspect.sources.locate import DEFAULT, load_spec
from paraminspect.spec.footprint import check_memory
from paraminspect.spec.inputs import parse_input
from paraminspect.spec.model import LOSSES, Input, Spec
from paraminspect.spec.names import resolve_references
from paraminspect.spec.sizes import DEVICES

if TYPE_CHECKING:
    from paraminspect.experiment.run import Request

DONE, FOUND, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Prepared:
    """A spec that is known to be right, its rules with the command line's, and the command line's choices."""

    spec: Spec
    rules: tuple[BoundRule, ...]
    input: Input | None
    loss: str | None
    device: str | None
    seed: int | None


def prepare(
    source: str | None, rules: Rules, experiment: Experiment, printing: Output, backward: bool = True
) -> Prepared:
    """Check everything that can be checked without torch, so that a typo fails at once; then import torch.

    Raises UserError for whatever the user can put right.
    """
    if source is None and not printing.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    spec = load_spec(DEFAULT if source is None else source)
    wanted = _input(experiment)
    loss = _known("--loss", experiment.loss, LOSSES)
    device = _known("--device", experiment.device, DEVICES)
    seed = spec.seed if experiment.seed is None else experiment.seed
    check_memory(spec, wanted or spec.input, device or spec.device, backward)
    resolve_references(spec)
    bound = bind_rules((*spec.init, *option_rules(rules.scheme, rules.bias, rules.rule or ())), rules.allow_code)
    import_torch()
    return Prepared(replace(spec, seed=seed), bound, wanted, loss, device, seed)


def _input(experiment: Experiment) -> Input | None:
    if not experiment.input:
        return None
    if len(experiment.input) > 1 or "=" in experiment.input[0]:
        where = " ".join(f"--input {text}" for text in experiment.input)
        raise UserError("a spec's network takes one input, without a name", where=where, code="bad-option")
    return parse_input(experiment.input[0])


def _known(option: str, word: str | None, known: tuple[str, ...]) -> str | None:
    base = (word or "").partition(":")[0]
    if word is None or base in known:
        return word
    hint = did_you_mean(word, known) or f"known: {', '.join(known)}"
    raise UserError(f"unknown value {word!r}", where=option, hint=hint, code="bad-option")


def import_torch() -> None:
    """Import torch with the garbage collector at rest: it would walk a million new objects, and none of them dies.

    Saves a quarter of the import, and the objects stay out of every later collection.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("torch")
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def request(command: str, prepared: Prepared, rows: Rows) -> Request:
    """Write down what the user asked to see."""
    from paraminspect.experiment.run import Request

    return Request(
        command=command,
        params=tuple(rows.params or ()),
        layer=rows.layer,
        values=rows.values,
        seed=prepared.seed,
        input=prepared.input,
        loss=prepared.loss,
        device=prepared.device,
    )


def finish(report: Report, printing: Output, values: bool = False) -> int:
    """Print the report in the form asked for, then what went wrong; return the exit code."""
    chosen = Format.json if printing.json else printing.format
    render: Callable[[Report, View], Iterator[str]] = importlib.import_module(
        f"paraminspect.render.{chosen.value}"
    ).render
    output.emit(render(report, replace(output.view(not printing.no_color), values=values)))
    if not printing.quiet:
        for text in report.notes:
            output.note(text)
    for failure in report.errors:
        output.complain(f"error: {failure.where}: {failure.message}")
    return FAILED if report.errors else DONE
