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


def _rule_of(row: Parameter) -> str:
    """Tell what was forgotten by the repair that its note names."""
    note = row.note or ""
    if "ModuleList" in note or "ModuleDict" in note:
        return "PI102"
    return "PI103" if "ParameterList" in note or "ParameterDict" in note else "PI101"
