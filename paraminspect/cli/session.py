"""What every command does around its own work: load the spec, bring torch in, hand the Report to a renderer.

Nothing heavy is imported before a command runs: help and usage errors need none of it.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from paraminspect import output
from paraminspect.cli.options import Call, Format, Notes, Output, Passes, Rows, Rules, Setting
from paraminspect.errors import UserError, did_you_mean
from paraminspect.isolation.process import collector_at_rest
from paraminspect.isolation.user_code import forget

if TYPE_CHECKING:
    from paraminspect.experiments.run import Request
    from paraminspect.init.rules import BoundRule
    from paraminspect.modules.subject import Loss, Subject
    from paraminspect.report import Report
    from paraminspect.sources.locate import Reference
    from paraminspect.spec.model import Input, Rule, Spec

DONE, FOUND, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Prepared:
    """What to inspect: a spec that is known to be right, or Python code; the command line's choices; all the rules."""

    source: Spec | Reference
    rules: tuple[BoundRule, ...]
    loss: Loss
    inputs: tuple[Input, ...] = ()
    seed: int = 0
    device: str | None = None

    def subject(self, later: int = 0) -> Subject:
        """Build the module from the seed, or from one that is so much `later`.

        A spec has the command line's choices in it already.
        """
        from paraminspect.sources import mlp, module
        from paraminspect.sources.locate import Reference
        from paraminspect.spec.dtypes import SEEDS

        if isinstance(self.source, Reference):
            return module.load(self.source, (self.seed + later) % SEEDS, self.device, self.inputs, self.loss)
        spec = replace(self.source, seed=(self.source.seed + later) % SEEDS)
        return replace(mlp.load(spec), loss=self.loss)


def prepare(
    source: str | None,
    call: Call,
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
    from paraminspect.isolation.importing import is_reference
    from paraminspect.sources.locate import DEFAULT, Reference, find
    from paraminspect.spec.inputs import parse_inputs, parse_keywords

    forget()
    if source is None and not notes.quiet:
        output.note(f"no SOURCE given: using the built-in spec {DEFAULT!r}")
    found = find(DEFAULT if source is None else source)
    passes = passes or Passes()
    seed = None if setting.seed is None else _seed(setting.seed)
    loss = _loss(passes.loss)
    inputs = parse_inputs(passes.input or ())
    named = option_rules(rules.scheme, rules.bias, rules.rule or ())
    keywords = parse_keywords(call.arg or ())
    own: tuple[Rule, ...] = ()
    apart = rules.seed_per_parameter
    if isinstance(found, Reference):
        found = replace(found, args=keywords)
        bind_rules((rule for rule in named if not is_reference(rule.scheme)), allow_code=False)
        _begin(seed or 0, setting.device)
    else:
        _refuse_keywords(keywords)
        found = _settled(found, seed, setting.device, inputs, passes.input or [], loss, backward)
        own, loss, apart = found.init, found.loss, apart or found.seed_per_parameter
    bound = bind_rules(own, rules.allow_code, apart)
    bound += bind_rules(named, allow_code=True, seed_per_parameter=apart)  # what is named here may run
    function = _function(loss)
    import_torch()
    from paraminspect.modules.subject import Loss

    return Prepared(found, bound, Loss(loss or "sum", function), inputs, seed or 0, setting.device)


def _begin(seed: int, device: str | None) -> None:
    """Seed torch before any code of the user's is imported: a module may be built while it is."""
    from paraminspect.spec.dtypes import check_device

    if device is not None:
        check_device(device, "--device")
    import_torch()
    sys.modules["torch"].manual_seed(seed)


def _refuse_keywords(keywords: dict[str, Any]) -> None:
    if keywords:
        hint = "it is for a model in Python: file.py:attr or pkg.mod:attr"
        raise UserError("a spec takes no arguments", where="--arg", hint=hint, code="bad-option")


def _loss(name: str | None) -> str | None:
    """Return a loss that is known by name, or one of the user's that is there to be loaded."""
    from paraminspect.isolation.importing import check_target, is_reference
    from paraminspect.spec.model import LOSSES

    if name is not None and is_reference(name):
        check_target(name)
        return name
    return _known("--loss", name, LOSSES)


def _function(loss: str | None) -> Callable[[Any], Any] | None:
    """Import the user's loss; None for one of torch's."""
    from paraminspect.isolation.importing import is_reference, load_attribute

    if loss is None or not is_reference(loss):
        return None
    found = load_attribute(loss)
    if callable(found):
        function: Callable[[Any], Any] = found
        return function
    message = f"{loss} is an object of type {type(found).__name__}, not a function"
    hint = "write it as def loss(output): return output.square().mean()"
    raise UserError(message, where="--loss", hint=hint, code="bad-loss")


def _settled(
    spec: Spec,
    seed: int | None,
    device: str | None,
    inputs: tuple[Input, ...],
    given: list[str],
    loss: str | None,
    backward: bool,
) -> Spec:
    """Return the spec with the command line's choices in it, checked against the memory there is."""
    from paraminspect.spec.dtypes import check_device
    from paraminspect.spec.footprint import check_memory
    from paraminspect.spec.model import resolve_references

    spec = replace(
        spec,
        seed=spec.seed if seed is None else seed,
        input=_input(inputs, given) or spec.input,
        loss=loss or spec.loss,
        device=spec.device if device is None else check_device(device, "--device"),
    )
    check_memory(spec, backward)
    resolve_references(spec)
    return spec


def _input(parsed: tuple[Input, ...], given: list[str]) -> Input | None:
    """Return the one input that the network of a spec takes; `given` is how it was written."""
    if not parsed:
        return None
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
    from paraminspect.spec.dtypes import SEEDS

    if 0 <= seed < SEEDS:
        return seed
    raise UserError("a seed is from 0 to 2**64 - 1", where="--seed", hint="for example: --seed 0", code="bad-option")


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


def request(command: str, rows: Rows, **options: Any) -> Request:
    """Return what the command is asked to show; call it when torch has been imported."""
    from paraminspect.experiments.run import Request

    sort = None if rows.sort is None else rows.sort.value
    return Request(command, tuple(rows.params or ()), rows.layer, sort=sort, top=rows.top, **options)


def finish(
    report: Report,
    rows: Rows,
    printing: Output,
    notes: Notes,
    values: bool = False,
    histograms: bool = False,
) -> int:
    """Print the report in the form asked for, then what went wrong; return the exit code."""
    from paraminspect.render import render

    chosen = Format.json if printing.json else printing.format
    view = replace(
        output.view(not printing.no_color),
        values=values,
        histograms=histograms,
        depth=rows.depth,
        fold=not rows.no_fold,
    )
    output.emit(render(report, chosen.value, view))
    if not notes.quiet:
        for text in report.notes:
            output.note(text)
    for failure in report.errors:
        output.error(f"{failure.where}: {failure.message}" if failure.where else failure.message)
    return FAILED if report.errors else DONE
