"""What could not be run: no rule's finding, but the first thing to know."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.report import Report
from paraminspect.rules.rule import Limits, Problem, of_model
from paraminspect.text.escape import code, word

_WITHOUT_VALUES = "tensors on the meta device hold none"
_WHAT_TO_RUN = {
    "forward": "give it an input that it takes: --input SHAPE[:DTYPE], as --input 8,3,32,32",
    "loss": "--loss takes sum, mean, random, mse, cross_entropy, or a function of yours: file.py:func",
}


def failed(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the forward or the loss raised: no gradient is known then."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase != "backward":
        where = f" in {code(error.module)}" if error.module else ""
        text = f"the {word(error.phase)} failed{where}: {code(error.message)}"
        without_values = report.environment.device == "meta" and _WITHOUT_VALUES in error.message
        hint = "--device cpu: tensors have values there" if without_values else _WHAT_TO_RUN.get(error.phase, "")
        yield of_model("", "error", "failed", text, hint)


def no_input(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the forward takes none of the inputs that were tried: whose fault that is cannot be known."""
    if report.forward is None and report.attempts:
        tried = len(report.attempts)
        what = "the input that was tried" if tried == 1 else f"any of the {tried:,} inputs that were tried"
        first = report.attempts[0].error
        where = f", or look at {code(first.module)}, where the first one failed" if first.module else ""
        text = f"nothing was run: the forward does not take {what}"
        yield of_model("", "note", "no-input", text, f"--input SHAPE with one that it takes{where}")


def backward_failed(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the backward raised, which may be because no parameter is in the graph."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase == "backward":
        yield of_model("", "error", "failed", f"the backward failed: {code(error.message)}")
