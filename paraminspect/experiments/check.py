"""What the rules find in a source: of a model after one forward and backward, of a file after all of it was read."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field, replace
from typing import Any, NamedTuple

from paraminspect import __version__, output
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.importing import is_reference
from paraminspect.report import NO_INPUT_HELPS, Environment, Failure, Headline, Report, Source
from paraminspect.rules.baseline import Known
from paraminspect.rules.catalogue import RULES, problems_of
from paraminspect.rules.expectation_rules import Expectations, TensorDigest, unmet
from paraminspect.rules.gradient_rules import unreached
from paraminspect.rules.headline import finding_of
from paraminspect.rules.rule_selection import EVERYTHING, Selection, wanted
from paraminspect.sources.checkpoint_name import is_checkpoint
from paraminspect.text.numbers import plural

NO_INPUT = "no-input"
LOSS = "random"
"""The loss of a model that says none itself: a sum would be blind to whatever ends in a softmax or a LayerNorm."""

_FOR_CODE = ("arg",)
_NO_FORWARD = "no forward: "

Reading = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given how many bytes a file has, returns where it is to be told how many were read more."""


@contextmanager
def unread(_: int) -> Iterator[Callable[[int], None]]:
    """Tell nobody how much was read."""
    yield lambda _: None


@dataclass(frozen=True)
class CheckRequest:
    """What is checked: by which rules, on which rows, and how a model is made and run.

    `options` are those of `paraminspect.sources.setup.prepare`. Of several sources, an exception that is nobody's
    fault but ours is a failure of the one; `debug` prints where it was raised. `baseline` has what is known of each
    source. Digests of all tensors are taken where they are expected, or `takes_digests`. All of it can be pickled.
    """

    selection: Selection = EVERYTHING
    params: tuple[str, ...] = ()
    layer: str | None = None
    forward: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    debug: bool = False
    expected: Expectations = field(default_factory=Expectations)
    takes_digests: bool = False
    baseline: Mapping[str, Known] = field(default_factory=dict)


class Checked(NamedTuple):
    """The Report of one source, the digests of its tensors if asked for, and what was warned of while it was made."""

    report: Report
    digests: Mapping[str, TensorDigest] = {}  # nobody changes it
    warnings: tuple[str, ...] = ()


def check(source: str, request: CheckRequest, reading: Reading = unread) -> Checked:
    """Return what the rules find in one source. Raises UserError for what can be put right.

    A file that is damaged is found so; only what cannot be read as any format raises. A model for which no input is
    found could not be checked: that is in `errors`, beside what its values tell.
    """
    known = request.baseline.get(source, {})
    selection = replace(request.selection, known=known)
    made = _of_file if is_checkpoint(source) else _of_model
    report, digests, _ = made(source, request, selection, reading)
    problems = wanted(list(unmet(report, request.expected, digests)), RULES, selection)
    if problems:
        findings = tuple(map(finding_of, problems))
        first = replace(report.headline or Headline("", "", ""), tone="error", about="expectation")
        first = replace(first, text=findings[0].message, hint=findings[0].hint, more=len(findings) - 1)
        report = replace(report, findings=(*findings, *report.findings), headline=first)
    if known and report.headline is not None and report.headline.tone == "fine":
        text = report.headline.text.replace("no problem found", "no problem found that the baseline has not", 1)
        report = replace(report, headline=replace(report.headline, text=text))
    return Checked(report, digests)


def check_or_failure(source: str, request: CheckRequest, reading: Reading = unread) -> Checked:
    """Return what `check` does; of a source that cannot be checked, a Report that says why and no more."""
    try:
        return check(source, request, reading)
    except UserError as error:
        return Checked(failed_report(source, error))
    except Exception as error:
        if not request.several:
            raise
        if request.debug:
            output.complain("".join(traceback.format_exception(error)).rstrip())
        return Checked(failed_report(source, _unexpected(error)))


def _unexpected(error: Exception) -> UserError:
    if isinstance(error, MemoryError):
        return UserError("out of memory", hint="use smaller sizes, or --device meta", code="out-of-memory")
    message = " ".join(f"internal error: {type(error).__name__}: {error}".split())
    return UserError(message, hint="this is a bug in paraminspect; --debug shows the traceback", code="internal-error")


def failed_report(source: str, error: UserError) -> Report:
    """Return the Report of a source that could not be checked."""
    kind = "checkpoint" if is_checkpoint(source) else "module" if ":" in source else "spec"
    environment = Environment(__version__, None, platform.python_version(), "", "", None)
    message = "; ".join(filter(None, (error.message, error.hint)))
    failure = Failure(error.code, message, error.where)
    file = source.rpartition(":")[0] if kind == "module" else source
    path = file if kind == "checkpoint" or os.path.isfile(file) else None  # noqa: PTH113  # Path raises where it is too long
    return Report("check", Source(kind, source, path), environment, errors=(failure,))


def _of_file(source: str, request: CheckRequest, selection: Selection, reading: Reading) -> Checked:
    """Return what is unsound about a file, and about the values in it.

    That a damaged file cannot be read to its end is a finding like others, no failure to check it.
    """
    from paraminspect.experiments.checkpoint_report import report_of_checkpoint
    from paraminspect.experiments.checkpoint_values import bytes_to_read, measure_checkpoint
    from paraminspect.isolation.process import collector_at_rest
    from paraminspect.sources.checkpoint.listing import list_checkpoint

    with collector_at_rest():
        checkpoint = list_checkpoint(source)
        with reading(bytes_to_read(checkpoint, request.params)) as advance:
            measured = measure_checkpoint(checkpoint, request.params, advance)
        damaged = any(fault.severity == "error" for fault in checkpoint.faults)  # what cannot be read follows from it
        checkpoint = replace(checkpoint, faults=(*checkpoint.faults, *measured.faults))
        report = report_of_checkpoint(checkpoint, "check", request.params, measured.values, selection=selection)
        digests: Mapping[str, TensorDigest] = {}
        if _wants_digests(request):
            from paraminspect.experiments.tensor_digests import digests_of_checkpoint

            digests = digests_of_checkpoint(checkpoint)
        return Checked(replace(report, errors=() if damaged else measured.failures), digests)


def _wants_digests(request: CheckRequest) -> bool:
    return request.takes_digests or request.expected.digests is not None


def _of_model(source: str, request: CheckRequest, selection: Selection, reading: Reading) -> Checked:
    from paraminspect.sources.setup import prepare

    options = request.options
    if request.several and not is_reference(source):
        options = {name: value for name, value in options.items() if name not in _FOR_CODE}
    if is_reference(source) and options.get("loss") is None:
        options = {**options, "loss": LOSS}
    setup = prepare(source, backward=request.forward, **options)
    subject = setup.subject()
    from paraminspect.experiments.grad import grad
    from paraminspect.experiments.selection import Request
    from paraminspect.experiments.show import show

    asked = Request("check", request.params, request.layer, forward=request.forward)
    run = grad if request.forward else show
    report = run(subject, asked, setup.rules, setup.subject, selection=selection)
    if request.forward and report.forward is None:
        report = _without_input(report, source)
    elif note := _not_reached(report, selection):
        report = replace(report, notes=(*report.notes, f"{source}: {note}" if request.several else note))
    digests: Mapping[str, TensorDigest] = {}
    if _wants_digests(request):
        from paraminspect.experiments.tensor_digests import digests_of_model

        digests = digests_of_model(subject, report.model.prefix if report.model else "")
    return Checked(report, digests)


_NOT_REACHED = "PI308"


def _not_reached(report: Report, selection: Selection) -> str:
    """Say of how many parameters the rule that is off by default would tell that this run did not read them.

    Nothing where it is asked anyway, where rules of another kind are, or where its names are ignored.
    """
    others = selection.select and not any(map(_NOT_REACHED.startswith, selection.select))
    if others or selection.has(RULES[_NOT_REACHED]):
        return ""
    asked = replace(selection, select=(_NOT_REACHED,))
    found = problems_of(report, [unreached], asked)
    names = {name for one in found if one.about == "unused" for name in one.names}
    count = sum(row.numel or 0 for row in report.parameters if row.kind == "parameter" and row.name in names)
    if not count:
        return ""
    who = f"{count:,} of {plural(report.totals.parameters, 'parameter')}"
    return f"no gradient reached {who}: this run did not read them; --select {_NOT_REACHED} makes that a finding"


def _without_input(report: Report, source: str) -> Report:
    """Return the report with a failure: what nothing was run of cannot be called sound."""
    told = [note for note in report.notes if note.startswith(_NO_FORWARD)]
    why = told[0].removeprefix(_NO_FORWARD) if told else "the forward takes no input that was tried"
    helps = not report.attempts or report.attempts[0].error.about not in NO_INPUT_HELPS
    hint = "give one with --input, or " if helps and "--input" not in why else "or "
    message = f"not checked by any rule on gradients: {why}; {hint}--no-forward checks the values alone"
    failure = Failure(NO_INPUT, message, source)
    notes = tuple(note for note in report.notes if note not in told)
    return replace(report, errors=(*report.errors, failure), notes=notes)
