"""The first line of a comparison: which scheme keeps the signal steady, what failed, what the model does as it is."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.report import Report, Trial
from paraminspect.rules.rule import Limits, Problem, of_model
from paraminspect.rules.wording import names_of
from paraminspect.text.escape import code, word

_LOST = ("vanishing", "exploding", "dead", "nonfinite")


def among_trials(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield that every scheme failed or loses the signal, then which one fails, then that the model as built does."""
    trials = report.comparison.trials if report.comparison else ()
    broken = [trial for trial in trials if trial.error is not None]
    if broken:
        which = names_of(list(dict.fromkeys(trial.scheme for trial in broken)))
        tone = "error" if len(broken) == len(trials) else "warning"
        yield of_model("", tone, "failed", f"{which} failed: {code(broken[0].error or '')}")
    judged = [trial for trial in trials if _verdicts(trial)]
    if trials and not judged and not broken:
        yield of_model("", "note", "unknown", f"the signal cannot be judged{_why(trials[0])}")
    elif judged and all(_loses(trial) for trial in judged):
        best = report.comparison.steadiest if report.comparison else None
        closest = f"; closest is {code(best)}" if best else ""
        hint = "normalisation layers or skip connections; paraminspect schemes lists more schemes"
        yield of_model("", "warning", _worst(judged[0]), f"no scheme keeps the signal steady{closest}", hint)
    elif (own := next((trial for trial in judged if trial.scheme == "default"), None)) and _loses(own):
        best = report.comparison.steadiest if report.comparison else None
        text = f"as it is built the signal is {word(_worst(own))}"
        yield of_model("", "warning", _worst(own), text, f"--scheme {code(best)} is steady" if best else "")


def steadiest(report: Report) -> str:
    """Return which scheme is the steadiest, to go on with; nothing where it cannot be told."""
    found = report.comparison
    return f"; steadiest is {code(found.steadiest)}" if found and found.steadiest else ""


def _verdicts(trial: Trial) -> list[str]:
    courses = (trial.signal.forward, trial.signal.backward) if trial.signal else ()
    return [course.verdict for course in courses if course.verdict != "unknown"]


def _why(trial: Trial) -> str:
    """Return why a trial has no verdict, as a clause to go on with; nothing where that is not known."""
    courses = (trial.signal.forward, trial.signal.backward) if trial.signal else ()
    return next((f": {word(course.reason)}" for course in courses if course.reason), "")


def _loses(trial: Trial) -> bool:
    return any(verdict in _LOST for verdict in _verdicts(trial))


def _worst(trial: Trial) -> str:
    return next((verdict for verdict in _verdicts(trial) if verdict in _LOST), "unknown")
