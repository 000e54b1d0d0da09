"""PI4xx: what is shared and should not be, what should be shared and is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.report import Report
from paraminspect.rules.rule import CheckRule, Limits, Problem, Threshold
from paraminspect.rules.wording import names_of
from paraminspect.text.escape import code
from paraminspect.text.numbers import figure

RULES: Final = (
    CheckRule(
        "PI401",
        "half-tie",
        "error",
        "Different Parameters that are the same bytes, as a view or transposed.",
        "Their values move together, but each has a gradient and an optimizer state of its own: every step is applied "
        "twice to the same memory. .half() and deepcopy part them.",
        "head.weight = nn.Parameter(emb.weight.data)",
        "head.weight = emb.weight",
    ),
    CheckRule(
        "PI402",
        "overlapping-parameters",
        "error",
        "Different Parameters of which some bytes are the same: one is a slice of the other, or they overlap.",
        "A step on one changes the other, which has a gradient of its own.",
        "a, b = nn.Parameter(x[10:40]), nn.Parameter(x[30:60])",
        "Use one Parameter and slice it in forward, or clone() to part them.",
    ),
    CheckRule(
        "PI403",
        "foreign-alias",
        "error",
        "Different Parameters whose storages share memory that torch did not allocate: numpy's, a mapped file.",
        "What keys on the storage does not see that they share: each gets a step of its own on the same memory.",
        "nn.Parameter(torch.from_numpy(a)), nn.Parameter(torch.from_numpy(a[10:50]))",
        "clone() to part them, or use one Parameter.",
    ),
    CheckRule(
        "PI404",
        "broken-tie",
        "error",
        "A tie that the model, a spec or a file declares, but that is none: two Parameters, or a name that is missing.",
        "The two train apart, and saving keeps one of them.",
        "config.tie_word_embeddings is True, and lm_head.weight is not the embedding's weight",
        "model.tie_weights(), or assign one Parameter to both names.",
    ),
    CheckRule(
        "PI405",
        "copied-tie",
        "note",
        "An embedding whose values another module has as well, bit for bit, in a Parameter of its own.",
        "A tie that is a copy, as after deepcopy or to_empty, trains apart.",
        "head.weight = nn.Parameter(emb.weight.clone())",
        "head.weight = emb.weight, where a tie is meant.",
    ),
    CheckRule(
        "PI406",
        "batchnorm-of-two",
        "warning",
        "One BatchNorm that is called several times in a forward in train mode, on inputs with other statistics.",
        "Its running mean and variance are a mixture that fits none of the uses: eval mode computes something else "
        "than train mode did.",
        "self.norm(self.a(x)) + self.norm(100 * self.b(x))",
        "A BatchNorm for each use, or a norm without running statistics.",
        Threshold(4.0, "the factor between the variances of two inputs from which on they are told apart"),
    ),
    CheckRule(
        "PI407",
        "tie-to-mind",
        "note",
        "A Parameter that modules in different parts of the model share.",
        "FSDP that wraps the parts one by one, pipeline stages, torch.distributed.checkpoint and safetensors part such "
        "a tie, or keep one name of it.",
        "head.weight = emb.weight",
        "Wrap both in one FSDP unit; tie again after loading; safetensors.torch.save_model.",
        on=False,
    ),
)

_RULE_OF: Final = {
    "same-view": "PI401",
    "same-bytes-other-view": "PI401",
    "nested": "PI402",
    "partial-overlap": "PI402",
    "foreign-alias": "PI403",
}


def ties(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield declared ties that are none, then Parameters that share memory without being one Parameter."""
    for shared in report.sharing:
        repair = code(shared.repair or "")
        if shared.verdict == "broken":
            yield Problem("PI404", "error", "tie", tuple(shared.names), _no_tie, repair)
        elif shared.verdict == "missing":
            hint = "correct the name where the tie is declared"
            yield Problem("PI404", "error", "tie", tuple(shared.missing), _nothing_called, hint)
    untied = [shared for shared in report.sharing if shared.verdict is None and shared.kind in _RULE_OF]
    parameters = {row.name for row in report.parameters if row.kind == "parameter"} if untied else set()
    for shared in untied:
        if sum(name in parameters for name in shared.names) > 1:
            hint = code(shared.repair or "") or "use one Parameter, or clone() to part them"
            yield Problem(_RULE_OF[shared.kind], "error", "overlap", tuple(shared.names), _one_memory, hint)


def _no_tie(names: Sequence[str]) -> str:
    return f"{names_of(names)} are declared as tied, but are not one Parameter"


def _nothing_called(names: Sequence[str]) -> str:
    return f"a tie is declared with {names_of(names)}, but nothing is called that"


def _one_memory(names: Sequence[str]) -> str:
    return f"{names_of(names)} share memory but are different Parameters: each gets its own gradient and step"


def copies(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield an embedding whose numbers another module has as well, in a Parameter of its own: a tie that is a copy.

    Modules of one class are often made as copies of one another, and constants are alike everywhere.
    """
    equal = [shared for shared in report.sharing if shared.kind == "equal-not-shared" and shared.verdict is None]
    types = {row.name: row.module_type for row in report.parameters if row.kind == "parameter"} if equal else {}
    for shared in equal:
        kinds = {types[name] for name in shared.names if name in types}
        if "Embedding" in kinds and len(kinds) > 1:
            first, *others = sorted(shared.names, key=lambda name: types.get(name) != "Embedding")
            hint = code(shared.repair or f"model.{others[0]} = model.{first}")
            yield Problem("PI405", "note", "tie", (first, *others), _a_copy, f"{hint}, where a tie is meant")


def _a_copy(names: Sequence[str]) -> str:
    return f"{names_of(names)} have the same values but are different Parameters: a copy, no tie"


def norms_of_two(report: Report, limits: Limits) -> Iterator[Problem]:
    """Yield BatchNorms that normalise inputs of different statistics in one forward."""
    factors = {
        one.where or "": one.measured or 0.0
        for one in report.verdicts
        if one.about == "batchnorm" and (one.measured or 0.0) >= limits["PI406"]
    }
    if factors:

        def say(names: Sequence[str]) -> str:
            factor = figure(max(factors[name] for name in names), 2)
            return (
                f"{names_of(names)} is called on inputs whose variances differ by {factor} ×: "
                "running statistics fit none of them"
            )

        yield Problem("PI406", "warning", "batchnorm", tuple(factors), say, "a BatchNorm for each use")


def ties_to_mind(report: Report, _: Limits) -> Iterator[Problem]:
    """Yield the Parameters that modules in different parts of the model share."""
    for shared in report.sharing:
        parts = {name.partition(".")[0] for name in shared.names}
        if shared.kind == "same-parameter" and not shared.same_module and len(parts) > 1:
            hint = "wrap both in one FSDP unit; tie again after loading"
            yield Problem("PI407", "note", "tie", tuple(shared.names), _one_parameter, hint)


def _one_parameter(names: Sequence[str]) -> str:
    return f"{names_of(names)} are one Parameter in different parts: FSDP units and savers may part them"
