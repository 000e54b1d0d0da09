"""PI0xx: what the user expects of a model, and is not so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Final, NamedTuple

from paraminspect.errors import did_you_mean
from paraminspect.frozen import dataclass
from paraminspect.report import Report
from paraminspect.rules.rule import CheckRule, Problem, of_model
from paraminspect.rules.wording import by_number, names_of
from paraminspect.text.escape import code
from paraminspect.text.numbers import plural, size

RULES: Final = (
    CheckRule(
        "PI001",
        "other-total",
        "error",
        "Another number of parameters than --expect-total says.",
        "A layer was added, left out, or tied: the model is not the one that was meant.",
        "paraminspect check model.py:Net --expect-total 11689512",
        "Look at what changed: paraminspect diff; or expect the new number.",
    ),
    CheckRule(
        "PI002",
        "too-many-parameters",
        "error",
        "More parameters than --max-parameters allows.",
        "A budget that is not checked is exceeded one layer at a time.",
        "paraminspect check model.py:Net --max-parameters 25M",
        "paraminspect summary --sort parameters has the largest layers first.",
    ),
    CheckRule(
        "PI003",
        "too-many-bytes",
        "error",
        "Parameters and buffers of more bytes than --max-bytes allows; of a file, tensors.",
        "The device it is for has no more room.",
        "paraminspect check model.safetensors --max-bytes 500MB",
        "A narrower dtype, or fewer parameters.",
    ),
    CheckRule(
        "PI004",
        "expected-tie",
        "error",
        "Two names that --expect-shared says are one tensor, and are not.",
        "Copies start equal and drift apart: the optimizer sees two tensors.",
        "paraminspect check model.py:GPT --expect-shared wte.weight=lm_head.weight",
        "Assign the Parameter itself: model.head.weight = model.embedding.weight.",
    ),
    CheckRule(
        "PI005",
        "other-digest",
        "error",
        "Tensors that are not, bit for bit, those of the file that --expect-digest names.",
        "Another seed, version of torch, or file: results will not be those that were published.",
        "paraminspect check model.safetensors --expect-digest model.sha256",
        "paraminspect diff says how far the values are apart; --write-digest FILE takes the new ones.",
    ),
)

_SAME: Final = ("same-parameter", "same-buffer", "same-view")


class TensorDigest(NamedTuple):
    """What stands for a tensor bit for bit: hex digits of SHA-256, None where its elements are not known."""

    digest: str | None
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Expectations:
    """What is expected; None where nothing is. `shared` are pairs of names, `digests` are by the names of tensors."""

    total: int | None = None
    max_parameters: int | None = None
    max_bytes: int | None = None
    shared: tuple[tuple[str, str], ...] = ()
    digests: Mapping[str, TensorDigest] | None = None
    digest_file: str = field(default="")


def unmet(report: Report, expected: Expectations, digests: Mapping[str, TensorDigest]) -> Iterator[Problem]:
    """Yield what is not as expected; `digests` are those of the tensors, where they are asked for.

    What cannot be told, as there are tensors without a size yet, is not as expected either.
    """
    yield from _counts(report, expected)
    names = _names(report)
    for one, other in expected.shared:
        yield from _shared(report, one, other, names)
    if expected.digests is not None:
        yield from _digests(expected.digests, digests, expected.digest_file)


def _counts(report: Report, expected: Expectations) -> Iterator[Problem]:
    totals = report.totals
    unknown = f", and {plural(totals.unknown, 'tensor')} of unknown size" if totals.unknown else ""
    count = f"{plural(totals.parameters, 'parameter')}{unknown}"
    if expected.total is not None and (totals.parameters != expected.total or unknown):
        more = totals.parameters - expected.total
        differs = f": {abs(more):,} {'more' if more > 0 else 'fewer'}" if more and not unknown else ""
        yield _whole("PI001", f"there are {count}, not the {expected.total:,} that are expected{differs}")
    if expected.max_parameters is not None and (totals.parameters > expected.max_parameters or unknown):
        yield _whole("PI002", f"there are {count}; at most {expected.max_parameters:,} are allowed")
    taken = totals.bytes + totals.buffer_bytes
    if expected.max_bytes is not None and (taken > expected.max_bytes or unknown):
        what = "tensors" if report.checkpoint else "parameters and buffers"
        yield _whole("PI003", f"{what} take {size(taken)}{unknown}; at most {size(expected.max_bytes)} are allowed")


def _whole(rule: str, text: str) -> Problem:
    return of_model(rule, "error", "expectation", text, _HINTS[rule])


_HINTS: Final = {rule.id: f"{rule.remedy[0].lower()}{rule.remedy[1:].removesuffix('.')}" for rule in RULES}


def _names(report: Report) -> dict[str, int]:
    """Return every name of every tensor, with a number that names of one tensor have in common."""
    found: dict[str, int] = {}
    for number, row in enumerate(report.parameters):
        found.update(dict.fromkeys((row.name, *row.aliases), number))
    if report.checkpoint is not None:
        found.update({name: found[kept] for name, kept in report.checkpoint.ties.items() if kept in found})
    return found


def _shared(report: Report, one: str, other: str, names: Mapping[str, int]) -> Iterator[Problem]:
    missing = [name for name in (one, other) if name not in names]
    if missing:
        hint = did_you_mean(missing[0], names) or _HINTS["PI004"]
        text = f"{names_of(missing)} should share memory, and there is no tensor of that name"
        yield Problem("PI004", "error", "expectation", tuple(missing), lambda _: text, hint)
        return
    groups = [group.kind for group in report.sharing if {one, other} <= set(group.names)]
    if names[one] != names[other] and not any(kind in _SAME for kind in groups):
        beside = " (they only hold the same values)" if "equal-not-shared" in groups else ""
        text = f"{code(one)} and {code(other)} should be one tensor, and are two{beside}"
        yield Problem("PI004", "error", "expectation", (one, other), lambda _: text, _HINTS["PI004"])


def _digests(expected: Mapping[str, TensorDigest], found: Mapping[str, TensorDigest], file: str) -> Iterator[Problem]:
    """Yield the tensors that differ, those that are missing, and those that are new, each as one problem."""
    both = [name for name in expected if name in found]
    kinds = {
        ("differs from {}", "differ from {}"): [name for name in both if found[name] != expected[name]],
        ("of {} is missing", "of {} are missing"): [name for name in expected if name not in found],
        ("is not in {}", "are not in {}"): [name for name in found if name not in expected],
    }
    for words, names in kinds.items():
        if names:
            say = partial(_of_digests, words, file)
            yield Problem("PI005", "error", "expectation", tuple(names), say, _HINTS["PI005"])


def _of_digests(words: tuple[str, str], file: str, names: Sequence[str]) -> str:
    said = by_number(len(names), *words).format(code(file))
    return f"{plural(len(names), 'tensor')} {said}: {names_of(names)}"
