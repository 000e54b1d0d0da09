"""PI1xx: what takes part in the model, but is not registered with it as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.report import Parameter, Report
from paraminspect.rules.rule import CheckRule, Limits, Problem
from paraminspect.rules.wording import by_number, names_of
from paraminspect.text.escape import code

RULES: Final = (
    CheckRule(
        "PI101",
        "unregistered-tensor",
        "error",
        "A tensor that takes part in the computation and asks for a gradient, but that no module registers.",
        "model.parameters() does not have it: no optimizer trains it, state_dict does not save it, .to(device) leaves "
        "it behind.",
        "self.scale = torch.ones(8, requires_grad=True)",
        "self.scale = nn.Parameter(torch.ones(8)); register_buffer for one that is not trained.",
    ),
    CheckRule(
        "PI102",
        "module-in-container",
        "error",
        "A module that is kept in a plain list, tuple or dict.",
        "torch registers a module only as an attribute of another or in nn.ModuleList, nn.ModuleDict: the parameters "
        "of this one are in no optimizer and no state_dict.",
        "self.layers = [nn.Linear(8, 8) for _ in range(4)]",
        "self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))",
    ),
    CheckRule(
        "PI103",
        "parameter-in-container",
        "error",
        "A Parameter that is kept in a plain list, tuple or dict.",
        "torch registers a Parameter only as an attribute of a module or in nn.ParameterList, nn.ParameterDict.",
        "self.scales = [nn.Parameter(torch.ones(8)) for _ in range(4)]",
        "self.scales = nn.ParameterList(nn.Parameter(torch.ones(8)) for _ in range(4))",
    ),
    CheckRule(
        "PI104",
        "unsaved-state",
        "warning",
        "A non-persistent buffer, or a plain tensor, that a forward in train mode goes on changing in place, as an "
        "average or a count does.",
        "state_dict does not have it: a model that is loaded again starts from another state than it was saved in. "
        "A table that each forward computes anew is none.",
        "register_buffer('mean', torch.zeros(8), persistent=False), and self.mean.lerp_(x.mean(0), 0.1) in forward",
        "register_buffer(..., persistent=True).",
    ),
    CheckRule(
        "PI105",
        "without-values",
        "error",
        "A parameter without values, on the meta device or lazy, in a model whose others have values.",
        "Nothing loaded or initialised it. What is on the meta device because it is loaded for each forward, and lazy "
        "parameters before a forward, are not found.",
        "model = Net().to('meta'); model.load_state_dict(half_of_it, strict=False, assign=True)",
        "Load or initialise it, or run one forward where it is lazy.",
    ),
)


def forgotten(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield tensors that take part but that no module registers, and buffers that ask for a gradient.

    Of a plain list it is the list that is named.
    """
    rows = [row for row in report.parameters if row.kind == "unregistered"]
    rows += [row for row in report.parameters if row.kind == "buffer" and row.requires_grad and row.note]
    by_rule: dict[str, list[Parameter]] = {}
    for row in rows:
        by_rule.setdefault(_rule_of(row), []).append(row)
    for rule, those in by_rule.items():
        repair = (those[0].note or "").rpartition("; ")[2]
        hint = code(repair) if repair.startswith(("use ", "register ")) else "register it: nn.Parameter or a module"
        names = tuple(dict.fromkeys(row.name.partition("[")[0] for row in those))
        yield Problem(rule, "error", "forgotten", names, _in_no_optimizer, hint)


def _in_no_optimizer(names: Sequence[str]) -> str:
    are, them = by_number(len(names), "is", "are"), by_number(len(names), "it", "them")
    return f"{names_of(names)} {are} not in model.parameters(): no optimizer will train {them}"


def unsaved(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield buffers that are state, and that state_dict does not have."""
    names = tuple(one.where or "" for one in report.verdicts if one.about == "state" and one.verdict == "not saved")
    if names:
        yield Problem("PI104", "warning", "unsaved", names, _not_saved, "register_buffer(..., persistent=True)")


def _not_saved(names: Sequence[str]) -> str:
    change, them = by_number(len(names), "changes", "change"), by_number(len(names), "it", "them")
    return f"{names_of(names)} {change} with every forward, but state_dict does not save {them}"


def without_values(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield parameters that hold no values beside others that do; not what a forward that ran read all the same."""
    rows = [row for row in report.parameters if row.kind == "parameter"]
    ran = report.forward is not None and not (report.forward.error and report.forward.error.phase == "forward")
    empty = [row for row in rows if (row.device == "meta" and not (ran and _was_read(row))) or (ran and _is_lazy(row))]
    if empty and any(row.device != "meta" and not _is_lazy(row) for row in rows):
        names = tuple(row.name for row in empty)
        yield Problem("PI105", "error", "uninitialised", names, _no_values, "load or initialise what is missing")


def _was_read(row: Parameter) -> bool:
    return row.gradient is not None and row.gradient.status not in ("unused", "not-run")


def _is_lazy(row: Parameter) -> bool:
    return row.numel is None


def _no_values(names: Sequence[str]) -> str:
    return f"{names_of(names)} {by_number(len(names), 'holds', 'hold')} no values, though other parameters do"


def _rule_of(row: Parameter) -> str:
    """Tell what was forgotten by the repair that its note names."""
    note = row.note or ""
    if "ModuleList" in note or "ModuleDict" in note:
        return "PI102"
    return "PI103" if "ParameterList" in note or "ParameterDict" in note else "PI101"
