"""What the rules find in a source: of a model after one forward and backward, of a file after all of it was read."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field, replace
from typing import Any

from paraminspect import __version__, output
from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.importing import is_reference
from paraminspect.report import Environment, Failure, Report, Source
from paraminspect.rules.headline import with_findings
from paraminspect.rules.rule_selection import EVERYTHING, Selection
from paraminspect.sources.checkpoint_name import is_checkpoint

NO_INPUT = "no-input"
_FOR_CODE = ("arg",)

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
    fault but ours is a failure of the one; `debug` prints where it was raised. All of it can be pickled.
    """

    selection: Selection = EVERYTHING
    params: tuple[str, ...] = ()
    layer: str | None = None
    forward: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    debug: bool = False


def check(source: str, request: CheckRequest, reading: Reading = unread) -> Report:
    """Return the Report of one source, with what the rules find in it. Raises UserError for what can be put right.

    A file that is damaged is found so; only what cannot be read as any format raises. A model for which no input is
    found could not be checked: that is in `errors`, beside what its values tell.
    """
    if is_checkpoint(source):
        return _of_file(source, request, reading)
    return with_findings(_of_model(source, request), request.selection)


def check_or_failure(source: str, request: CheckRequest, reading: Reading = unread) -> Report:
    """Return the same; of a source that cannot be checked a Report with nothing but why."""
    try:
        return check(source, request, reading)
    except UserError as error:
        return failed_report(source, error)
    except Exception as error:
        if not request.several:
            raise
        if request.debug:
            output.complain("".join(traceback.format_exception(error)).rstrip())
        return failed_report(source, _unexpected(error))


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
    return Report("check", Source(kind, source), environment, errors=(failure,))


def _of_file(source: str, request: CheckRequest, reading: Reading) -> Report:
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
            values, failures = measure_checkpoint(checkpoint, request.params, advance)
        report = report_of_checkpoint(checkpoint, "check", request.params, values, selection=request.selection)
        damaged = any(fault.severity == "error" for fault in checkpoint.faults)  # what cannot be read follows from it
        return replace(report, errors=() if damaged else failures)


def _of_model(source: str, request: CheckRequest) -> Report:
    from paraminspect.sources.setup import prepare

    options = request.options
    if request.several and not is_reference(source):
        options = {name: value for name, value in options.items() if name not in _FOR_CODE}
    setup = prepare(source, backward=request.forward, **options)
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
