"""What an initialiser did: the values before and after the rules, and the state_dict that they make."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.statistics.contents import Numbers, digest, numbers_of
from paraminspect.analysis.statistics.tensor_values import measure
from paraminspect.experiments.assembly import report_of
from paraminspect.experiments.measured import FilledWeight, apply_and_measure, values_of
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.parameter_parts import parts_in
from paraminspect.experiments.parameter_rows import SHOWN
from paraminspect.experiments.selection import Request, scope_of
from paraminspect.experiments.state_dict_file import save
from paraminspect.init.computed_weights import ComputedTarget
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.rules import BoundRule
from paraminspect.modules.subject import Subject
from paraminspect.report import Initialisation, Report
from paraminspect.rules.headline import with_findings


def init(subject: Subject, request: Request, rules: tuple[BoundRule, ...], file: Path | None = None) -> Report:
    """Measure, apply the rules, measure again; no forward runs but that of a scheme which goes by a batch.

    The digests are those of all the model. The state_dict goes to `file`, with what it takes to make it again.
    Raises UserError for whatever the user can put right.
    """
    with looking_at(subject) as seen:
        return _initialised(seen, request, rules, file)


def _initialised(subject: Subject, request: Request, rules: tuple[BoundRule, ...], file: Path | None) -> Report:
    whole = take_inventory(subject.module)
    scope = scope_of(subject.module, whole, request.layer)
    before = values_of(scope.inventory.entries)
    parts_before = parts_in(subject.module, scope.inventory.entries, rules, request)
    measured = apply_and_measure(subject, scope, rules, request)
    weights = tuple(_weights(measured.applied, request.values))
    parameters = whole.of_kind("parameter")
    digests = {id(entry.tensor): digest(entry.tensor) for entry in parameters}
    together = _together([(entry.name, digests[id(entry.tensor)]) for entry in parameters])
    done = measured.initialisation or Initialisation()
    if file is not None:
        facts = {
            "seed": str(subject.seed),
            "torch": str(torch.__version__),
            "rules": [str(rule.rule) for rule in rules],
            "seed_per_parameter": done.seed_per_parameter,
            "digest": together,
        }
        save(subject, file, facts)
    done = replace(done, digest=together, saved=None if file is None else str(file))
    measured = replace(measured, before=before, parts_before=parts_before, weights=weights, digests=digests)
    return with_findings(report_of(replace(measured, initialisation=done), request))


def _weights(applied: Mapping[int, FillRecord], elements: bool) -> Iterator[FilledWeight]:
    """Measure the weights that were set through what computes them."""
    for key, one in applied.items():
        weight = one.target
        if isinstance(weight, ComputedTarget) and id(weight) == key:
            now = weight.compute()
            numbers = numbers_of(now) if elements else Numbers()
            yield FilledWeight(weight, one, now, measure(weight.before), measure(now), numbers)


def _together(digests: list[tuple[str, str | None]]) -> str | None:
    """Return one digest for all; None where one of them is not known, or there is none."""
    if not digests or any(one is None for _, one in digests):
        return None
    lines = "".join(f"{name} {one}\n" for name, one in digests)
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:SHOWN]
