"""What the rules find in a source: of a model after one forward and backward, of a file after all of it was read."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from paraminspect import __version__
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.report import Environment, Failure, Report, Source
from paraminspect.rules.headline import with_findings
from paraminspect.rules.rule_selection import EVERYTHING, Selection
from paraminspect.sources.checkpoint_name import is_checkpoint

NO_INPUT = "no-input"


@dataclass(frozen=True)
class CheckRequest:
    """What is checked: by which rules, on which rows, and how a model is made and run.

    `options` are those of `paraminspect.sources.setup.prepare`.
    """

    selection: Selection = EVERYTHING
    params: tuple[str, ...] = ()
    layer: str | None = None
    forward: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


def check(source: str, request: CheckRequest) -> Report:
    """Return the Report of one source, with what the rules find in it. Raises UserError for what can be put right.

    A file that is damaged is found so; only what cannot be read as any format raises. A model for which no input is
    found could not be checked: that is in `errors`, beside what its values tell.
    """
    report = _of_file(source, request) if is_checkpoint(source) else _of_model(source, request)
    return with_findings(report, request.selection) if report.checkpoint is None else report


def check_or_failure(source: str, request: CheckRequest) -> Report:
    """Return the same; of a source that cannot be checked a Report with nothing but why."""
    try:
        return check(source, request)
    except UserError as error:
        return failed_report(source, error)


def failed_report(source: str, error: UserError) -> Report:
    """Return the Report of a source that could not be checked."""
    kind = "checkpoint" if is_checkpoint(source) else "module" if ":" in source else "spec"
    environment = Environment(__version__, None, platform.python_version(), "", "", None)
    message = "; ".join(filter(None, (error.message, error.hint)))
    failure = Failure(error.code, message, error.where)
    return Report("check", Source(kind, source), environment, errors=(failure,))


def _of_file(source: str, request: CheckRequest) -> Report:
    from paraminspect.experiments.checkpoint_report import report_of_checkpoint
    from paraminspect.experiments.checkpoint_values import measure_checkpoint
    from paraminspect.isolation.process import collector_at_rest
    from paraminspect.sources.checkpoint.listing import list_checkpoint

    with collector_at_rest():
        checkpoint = list_checkpoint(source)
        values, failures = measure_checkpoint(checkpoint, request.params, lambda _: None)
        report = report_of_checkpoint(checkpoint, "check", request.params, values, selection=request.selection)
        told = any(finding.severity == "error" for finding in report.findings)  # what cannot be read follows from it
        return report if told else replace(report, errors=failures)


def _of_model(source: str, request: CheckRequest) -> Report:
    from paraminspect.sources.setup import prepare

    setup = prepare(source, backward=request.forward, **request.options)
    subject = setup.subject()
    from paraminspect.experiments.grad import grad
    from paraminspect.experiments.selection import Request
    from paraminspect.experiments.show import show

    asked = Request("check", request.params, request.layer, forward=request.forward)
    if not request.forward:
        return show(subject, asked, setup.rules)
    report = grad(subject, asked, setup.rules, setup.subject)
    if report.forward is None and report.attempts:
        hint = "give one with --input, or --no-forward to check the values alone"
        message = f"not checked by any rule on gradients: the forward takes no input that was tried; {hint}"
        report = replace(report, errors=(*report.errors, Failure(NO_INPUT, message, source)))
    return report


def worst(reports: Sequence[Report]) -> set[str]:
    """Return how bad the findings of the reports are."""
    return {finding.severity for report in reports for finding in report.findings}
