"""What every command does around its own work: load the spec, bring torch in, hand the Report to a renderer.

Nothing heavy is imported before a command runs: help and usage errors need none of it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paraminspect import output
from paraminspect.cli.options import Format, Notes, Output, Passes, Rules, Setting
from paraminspect.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from paraminspect.init.rules import BoundRule
    from paraminspect.render.view import View
    from paraminspect.report import Report
    from paraminspect.spec.model import Input, Spec

DONE, FOUND, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Prepared:
    """A spec that is known to be right, the command line's choices made in it, and all the rules."""

    spec: Spec
    rules: tuple[BoundRule, ...]


def prepare(
    source: str | None,
    rules: Rules,
    setting: Setting,
    notes: Notes,
    passes: Passes | None = None,
    backward: bool = True,
) -> Prepared:
    """Check everything that can be checked without torch, so that a typo fails at once; then import torch.

    `passes` is None for a command that runs no forward. Raises UserError for whatever the user can put right.
    """
    from paraminspect.init.rules import bind_rules, option_rules
    from paraminspect.sources.locate import DEFAULT, load_spec
    from paraminspect.spec.dtypes import check_device
    from paraminspect.spec.footprint import check_memory
    from paraminspect.spec.model import LOSSES
    from paraminspect.spec.names import resolve_references

    if source is None and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    spec = load_spec(DEFAULT if source is None else source)
    passes = passes or Passes()
    wanted = _input(passes.input or [])
    loss = _known("--loss", passes.loss, LOSSES)
    device = None if setting.device is None else check_device(setting.device, "--device")
    seed = spec.seed if setting.seed is None else _seed(setting.seed)
    spec = replace(
        spec,
        seed=seed,
        input=wanted or spec.input,
        loss=loss or spec.loss,
        device=device or spec.device,
    )
    check_memory(spec, backward)
    resolve_references(spec)
    named = option_rules(rules.scheme, rules.bias, rules.rule or ())  # a function named here is named by the user
    bound = (*bind_rules(spec.init, rules.allow_code), *bind_rules(named, allow_code=True))
    import_torch()
    return Prepared(spec, bound)


def _input(given: list[str]) -> Input | None:
    from paraminspect.spec.inputs import parse_input

    if not given:
        return None
    parsed = [parse_input(text) for text in given]
    if len(parsed) > 1:
        message = f"the network of a spec takes one input, got {len(parsed)}"
        raise UserError(message, where="--input", hint=f"give it once: --input {given[0]}", code="bad-option")
    if parsed[0].name is not None:
        shape = given[0].partition("=")[2]
        message = f"the input of a spec's network has no name, got {parsed[0].name!r}"
        raise UserError(message, where="--input", hint=f"leave the name out: --input {shape}", code="bad-option")
    return parsed[0]


def _known(option: str, word: str | None, known: tuple[str, ...]) -> str | None:
    if word is None or word in known:
        return word
    hint = did_you_mean(word, known) or f"known: {', '.join(known)}"
    raise UserError(f"unknown value {word!r}", where=option, hint=hint, code="bad-option")


def _seed(seed: int) -> int:
    from paraminspect.spec.limits import SEEDS

    if 0 <= seed < SEEDS:
        return seed
    raise UserError("a seed is from 0 to 2**64 - 1", where="--seed", hint="for example: --seed 0", code="bad-option")


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, what lives as long as the command does.

    Importing torch makes a million such objects, a report of 5,000 layers as many: a quarter of the time of either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def import_torch() -> None:
    """Import torch, and keep what that makes out of every later collection.

    Raises UserError when torch is missing or broken.
    """
    if "torch" in sys.modules:
        return
    try:
        with collector_at_rest():
            importlib.import_module("torch")
            gc.freeze()
    except (ImportError, OSError) as error:
        hint = "install it anew: https://pytorch.org/get-started/locally/"
        raise UserError(f"torch cannot be imported: {error}", hint=hint, code="no-torch") from error


def finish(report: Report, printing: Output, notes: Notes, values: bool = False) -> int:
    """Print the report in the form asked for, then what went wrong; return the exit code."""
    chosen = Format.json if printing.json else printing.format
    render: Callable[[Report, View], Iterator[str]] = importlib.import_module(
        f"paraminspect.render.{chosen.value}"
    ).render
    output.emit(render(report, replace(output.view(not printing.no_color), values=values)))
    if not notes.quiet:
        for text in report.notes:
            output.note(text)
    for failure in report.errors:
        output.error(f"{failure.where}: {failure.message}" if failure.where else failure.message)
    return FAILED if report.errors else DONE
