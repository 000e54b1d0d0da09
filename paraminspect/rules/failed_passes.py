"""What could not be run: no rule's finding, but the first thing to know."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.report import NO_INPUT_HELPS, ForwardError, Report
from paraminspect.rules.rule import Limits, Problem, of_model
from paraminspect.text.escape import code, word

_WITHOUT_VALUES = "tensors on the meta device hold none"
_ON_CPU = "--device cpu: tensors have values there"
_NO_INPUT = {"code": "", "layers": "let it take what the layer before it returns: no input changes that"}
"""What to try where another input is of no use."""
_WHAT_TO_RUN = {
    "forward": "give it an input that it takes: --input SHAPE[:DTYPE]",
    "loss": "--loss takes sum, mean, random, mse, cross_entropy, or a function of yours: file.py:func",
}


def failed(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the forward or the loss raised: no gradient is known then."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase != "backward":
        where = f" in {code(error.module)}" if error.module else ""
        text = f"the {word(error.phase)} failed{where}: {code(error.message)}"
        without_values = report.environment.device == "meta" and _WITHOUT_VALUES in error.message
        yield of_model("", "error", "failed", text, _ON_CPU if without_values else _hint(error))


def _hint(error: ForwardError) -> str:
    """Say what to try, where an input is at fault that which the layer takes."""
    if error.about == "input":
        return f"give it an input that it takes, as --input {code(error.wanted or '')}"
    return _NO_INPUT.get(error.about or "", _WHAT_TO_RUN.get(error.phase, ""))


def no_input(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the forward takes none of the inputs that were tried: whose fault that is cannot be known."""
    if report.forward is None and report.attempts:
        tried = len(report.attempts)
        what = "the input that was tried" if tried == 1 else f"any of the {tried:,} inputs that were tried"
        first = report.attempts[0].error
        if first.about in NO_INPUT_HELPS:
            place = f" in {code(first.module)}" if first.module else ""
            likeliest = "the input that was tried" if tried == 1 else f"the first of {tried:,} inputs that were tried"
            text = f"nothing was run: the forward failed{place} with {likeliest}: {code(first.message)}"
            yield of_model("", "note", "no-input", text, _hint(first))
            return
        where = f", or look at {code(first.module)}, where the first one failed" if first.module else ""
        text = f"nothing was run: the forward does not take {what}"
        yield of_model("", "note", "no-input", text, f"--input SHAPE with one that it takes{where}")


def backward_failed(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that the backward raised, which may be because no parameter is in the graph."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase == "backward":
        yield of_model("", "error", "failed", f"the backward failed: {code(error.message)}")
