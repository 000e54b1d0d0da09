"""The first line of a page about a checkpoint: whether its files are sound, and if not what is worst about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from paraminspect.report import Finding, Headline, Report, TensorRows
from paraminspect.text.escape import code, spell
from paraminspect.text.numbers import plural

_WORST: Final = {"error": 0, "warning": 1, "note": 2}

_AGAIN: Final = "fetch it again, or save it again"
_HINTS: Final = {
    "PI601": _AGAIN,
    "PI602": "the writer left a gap: save it again with the safetensors library",
    "PI603": "the writer laid tensors over each other: save it again with the safetensors library",
    "PI604": "rename one of them where it is written",
    "PI605": "the header does not fit the data: save it again",
    "PI606": "fetch the missing files into the same folder",
    "PI607": "fetch the shards and the index of one and the same version",
    "PI608": _AGAIN,
    "PI609": "a file of an older version may have stayed behind: delete it, or make the index anew",
    "PI610": "make the index anew: loaders that go by it never see these tensors",
    "PI612": "do not load it: such a name is how a file reads what it should not",
    "PI613": "name the shards as their format",
    "PI614": "fetch the missing files, or make the index anew",
    "PI615": "fetch the shards and the index of one and the same version",
    "PI617": "write it again with torch.save; an archive tool has packed it",
    "PI618": "its tensors may be of two saves: take the checkpoint before it",
    "PI619": "run zero_to_fp32.py in its folder, or save with stage3_gather_16bit_weights_on_model_save",
    "PI620": "load it only if you know who wrote it; torch.save(model.state_dict(), FILE) has none",
    "PI621": "save tensor.clone(): a slice is saved with the whole storage that it lies in",
    "PI625": "the file is longer than it says: fetch it again",
}
"""What to try, by the rule."""


def with_headline(report: Report) -> Report:
    """Return the report of a checkpoint with its first line, as plain text."""
    found = headline_of_files(report)
    return replace(report, headline=replace(found, text=spell(found.text, lambda _, marked: marked)))


def headline_of_files(report: Report) -> Headline:
    """Return the first line: of several findings the worst, and of those as bad the first."""
    ranked = sorted(report.findings, key=lambda one: _WORST.get(one.severity, 1))
    if not ranked:
        return Headline("fine", "none", f"no problem found in {_looked_at(report)}")
    worst = ranked[0]
    alike = sum(one.rule == worst.rule and one.severity == worst.severity for one in ranked)
    others = len(ranked) - alike
    more = f"; {alike - 1:,} more like it" if alike > 1 else ""
    return Headline(
        worst.severity, worst.rule, f"{place_and_message(worst, report)}{more}", _HINTS.get(worst.rule, ""), others
    )


def place_and_message(found: Finding, report: Report) -> str:
    """Return a finding as a sentence: what it is about, and what is wrong with it."""
    path = report.source.path or ""
    where = report.source.name if found.where == path else found.where
    starts = found.message.partition(" ")[0]
    about = starts in (
        "is",
        "has",
        "holds",
        "says",
        "names",
        "was",
        "drags",
        "stands",
        "lies",
        "needs",
        "cannot",
        "takes",
    )
    return f"{code(where)}{'' if about else ':'} {code(found.message)}"


def _looked_at(report: Report) -> str:
    """Say what was looked at: the headers alone, or the values too."""
    rows = report.parameters
    if report.command == "share":
        return "what is shared"
    if not isinstance(rows, TensorRows) or not rows.values:
        return "what the headers say; no values were read"
    return f"headers and values of {plural(len(rows), 'tensor')}"
