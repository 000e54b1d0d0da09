"""The tree of modules: what each holds, takes, returns and computes, from one forward and one backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from paraminspect.analysis.inventory import take_inventory
from paraminspect.analysis.layers.layer_calls import ModuleCalls
from paraminspect.analysis.layers.layer_run import LayerRun, run_layers
from paraminspect.analysis.layers.module_tree import TreeNode, module_tree, modules_of, say_themselves
from paraminspect.analysis.passes.forward_backward import ForwardBackward
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.assembly import errors_of, forward_of, report_of
from paraminspect.experiments.measured import Measured, apply_and_measure, with_new_tensors
from paraminspect.experiments.measured_run import Start, guarded, start_of
from paraminspect.experiments.memory_of_step import Training, memory_of_step, tensors_there
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import Ranking, Request, matches, scope_of
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.torch_state import around
from paraminspect.isolation.untouched import CopyOnWrite
from paraminspect.modules.subject import Subject
from paraminspect.modules.walk import without_prefix
from paraminspect.report import (
    Layer,
    LayerGrad,
    LayerOut,
    OwnedElsewhere,
    Report,
    StepMemory,
    Totals,
    TreeLayer,
    Uncounted,
)
from paraminspect.rules.headline import with_findings
from paraminspect.text.escape import some_names

_NOTHING, _NO_GRADIENT, _NOT_CALLED, _TRAINING = LayerOut(), LayerGrad(), ModuleCalls(), Training()


def summary(
    subject: Subject, request: Request, rules: tuple[BoundRule, ...] = (), training: Training = _TRAINING
) -> Report:
    """Apply the rules, run the passes and return the tree; afterwards the module is as it was, save for the rules.

    Raises UserError for whatever the user can put right; a forward that fails is part of the Report.
    """
    with looking_at(subject) as seen:
        report = with_findings(_summed_up(seen, request, rules, training))
        return _ranked(report, request.ranking)


def _summed_up(subject: Subject, request: Request, rules: tuple[BoundRule, ...], training: Training) -> Report:
    inventory = take_inventory(subject.module)
    scope = scope_of(subject.module, inventory, request.layer)
    if not request.forward:
        return _report(apply_and_measure(subject, scope, rules, request), request, None, None)
    subject = subject.settled()
    with guarded(inventory) as mode:
        measured = apply_and_measure(subject, scope, rules, request)
        start = start_of(measured)
        run = _run(start, measured, request, mode)
        measured = with_new_tensors(measured, None, request)
        report = _report(measured, request, start, run)
        if start is None or run is None:
            return report
        contain = partial(around, subject.foreign, mode)
        memory = memory_of_step(run, measured, start.batch, training, contain, lambda: mode.reads)
        return _with_memory(report, memory)


def _run(start: Start | None, measured: Measured, request: Request, mode: CopyOnWrite) -> LayerRun | None:
    if start is None:
        return None
    subject = measured.subject
    return run_layers(
        subject.module,
        modules_of(measured.scope.whole),
        start.batch,
        subject.loss,
        tensors_there(measured, start.batch),
        backward=request.backward,
        contain=lambda: around(subject.foreign, mode),
    )


def _with_memory(report: Report, memory: StepMemory | None) -> Report:
    if memory is None:
        return report
    step = memory.step.total if memory.step else None
    return replace(report, memory=memory, totals=replace(report.totals, step_bytes=step))


def _report(measured: Measured, request: Request, start: Start | None, run: LayerRun | None) -> Report:
    report = report_of(measured, request)
    nodes = module_tree(measured.scope.inventory)
    with around(measured.subject.foreign):
        say_themselves(nodes)
    layers = layers_of(nodes, run)
    report = _selected(replace(report, layers=layers, totals=_totals(report.totals, layers[0])), nodes, request)
    if start is None or run is None:
        return report
    passes = ForwardBackward(output=run.output, loss=run.loss, backward=run.ran_backward, error=run.error)
    notes = (*report.notes, *filter(None, (run.note,)))
    return replace(
        report,
        forward=forward_of(measured, start, passes),
        uncounted=_uncounted(nodes, run),
        notes=notes,
        errors=errors_of(start, passes),
    )


def _selected(report: Report, nodes: Sequence[TreeNode], request: Request) -> Report:
    """Leave out the modules that no glob matches, by name or by that of a parameter they hold, and their parameters.

    Raises UserError when nothing is left.
    """
    if not request.modules:
        return report
    names = {node.path: [node.path, *node.aliases, *_parameter_names(node)] for node in nodes}
    globs = [spelling for glob in request.modules for spelling in (glob, without_prefix(glob))]
    chosen = {path for path, known in names.items() if matches(known, globs)}
    if not chosen:
        known = [node.path for node in nodes if node.path]
        hint = did_you_mean(request.modules[0], known) or f"modules: {some_names(known)}"
        wanted = " or ".join(map(repr, request.modules))
        raise UserError(f"{wanted} matches no module", where="--modules", hint=hint, code="glob-matches-nothing")
    return _only(report, [layer for layer in report.layers if layer.module in chosen])


_OWN = {"parameters": "own_parameters", "macs": "own_macs", "saved": "own_saved_bytes", "bytes": "own_bytes"}


def _ranked(report: Report, ranking: Ranking | None) -> Report:
    """Return the modules by what each has itself, the largest first, and of these the first so many.

    At the depth that is asked for a module has what is below it as well. What is not known comes last, and equal ones
    keep their order.
    """
    if ranking is None:
        return report
    deepest = ranking.depth
    rows = [row for row in report.layers if isinstance(row, TreeLayer) and (deepest is None or row.depth <= deepest)]
    key = ranking.key or "parameters"

    def descending(row: TreeLayer) -> tuple[bool, int]:
        count = getattr(row, _OWN[key].removeprefix("own_") if row.depth == deepest else _OWN[key])
        return count is None, -(count or 0)

    if key == "name":
        rows.sort(key=lambda row: row.module)
    else:
        rows.sort(key=descending)
    return _only(report, rows[: ranking.top])


def _only(report: Report, layers: Sequence[TreeLayer | Layer]) -> Report:
    """Return the report with these modules alone, and with their parameters."""
    chosen = {layer.module for layer in layers}
    parameters = tuple(row for row in report.parameters if row.module in chosen)
    shown = sum(row.numel or 0 for row in parameters if row.kind == "parameter")
    return replace(report, layers=tuple(layers), parameters=parameters, totals=replace(report.totals, shown=shown))


def _parameter_names(node: TreeNode) -> Iterator[str]:
    for entry in (*node.parameters, *node.unregistered):
        yield from entry.names
    yield from (name for name, _ in node.elsewhere)


def _totals(totals: Totals, root: TreeLayer) -> Totals:
    return replace(
        totals, macs=root.macs, flops=root.flops, flops_backward=root.flops_backward, saved_bytes=root.saved_bytes
    )


def _uncounted(nodes: Sequence[TreeNode], run: LayerRun) -> tuple[Uncounted, ...]:
    """Return the operations without a formula, each with how often it ran and in which modules."""
    names: dict[int | None, str] = {id(node.module): node.path for node in nodes}
    found: dict[str, dict[str, int]] = {}
    for work in (run.forward, run.backward):
        for (op, module), calls in work.uncounted.items():
            if module in names:
                modules = found.setdefault(op, {})
                modules[names[module]] = modules.get(names[module], 0) + calls
    return tuple(Uncounted(op, sum(modules.values()), tuple(modules)) for op, modules in found.items())


# --- the rows ----------------------------------------------------------------------------------------------------

_SUMS = (
    "parameters",
    "trainable",
    "bytes",
    "buffers",
    "buffer_bytes",
    "macs",
    "flops",
    "flops_backward",
    "saved_bytes",
)
"""What a module has itself, under this name behind ``own_``, and with all modules below it."""


def layers_of(nodes: Sequence[TreeNode], run: LayerRun | None) -> tuple[TreeLayer, ...]:
    """Return a row for every module, in the order of the tree."""
    uncounted = _uncounted_calls(run)
    rows = [_own(node, run, uncounted[id(node.module)]) for node in nodes]
    _add_children(nodes, rows)
    return tuple(
        TreeLayer(index, node.path, type(node.module).__name__, _NOTHING, _NO_GRADIENT, **row)
        for index, (node, row) in enumerate(zip(nodes, rows, strict=True))
    )


def _uncounted_calls(run: LayerRun | None) -> Counter[int | None]:
    found: Counter[int | None] = Counter()
    for work in (run.forward, run.backward) if run else ():
        for (_, module), calls in work.uncounted.items():
            found[module] += calls
    return found


def _own(node: TreeNode, run: LayerRun | None, uncounted: int) -> dict[str, Any]:
    """Return the fields of a row with what is the module's own; what is below it is still to come."""
    key = id(node.module)
    calls = run.calls.get(key, _NOT_CALLED) if run else _NOT_CALLED
    flops = _flops(key, run, calls)
    return {
        "parent": node.parent,
        "depth": node.depth,
        "aliases": tuple(node.aliases),
        "extra_repr": node.extra_repr,
        "calls": calls.calls if run else None,
        "inputs": calls.inputs,
        "outputs": calls.outputs,
        "varied": calls.varied,
        "own_parameters": _sum(entry.numel for entry in node.parameters),
        "own_trainable": _sum(entry.numel for entry in node.parameters if entry.requires_grad),
        "own_bytes": _sum(entry.bytes for entry in node.parameters),
        "own_buffers": _sum(entry.numel for entry in node.buffers),
        "own_buffer_bytes": _sum(entry.bytes for entry in node.buffers),
        "elsewhere": tuple(OwnedElsewhere(name, entry.name, entry.numel) for name, entry in node.elsewhere),
        "own_macs": None if flops is None else flops // 2,
        "own_flops": flops,
        "own_flops_backward": run.backward.flops[key] if run and run.ran_backward else None,
        "uncounted": uncounted,
        "own_saved_bytes": run.saved.get(key, 0) if run and run.saved is not None else None,
        "forgotten": node.forgotten,
        "unregistered": sum(entry.numel or 0 for entry in node.unregistered),
        "failed": run is not None and run.failed == key,
        "used_elsewhere": not calls.calls and run is not None and run.ran_backward and _reached(node),
        "called_below": False,
    }


def _reached(node: TreeNode) -> bool:
    """Tell whether a gradient reached a parameter of the module; only while the passes are not put back."""
    return any(entry.tensor.is_leaf and entry.tensor.grad is not None for entry in node.parameters)


def _flops(key: int, run: LayerRun | None, calls: ModuleCalls) -> int | None:
    """Return the work of a module in the forward; None where that did not come to its end."""
    if run is None or (not run.ran_forward and calls.outputs is None):
        return None
    return run.forward.flops[key]


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _add_children(nodes: Sequence[TreeNode], rows: Sequence[dict[str, Any]]) -> None:
    """Add up every row and those below it: in the order of the tree these come after it."""
    for row in rows:
        for name in _SUMS:
            row[name] = row[f"own_{name}"]
    by_path = {node.path: row for node, row in zip(nodes, rows, strict=True)}
    for row in reversed(rows):
        above = by_path[row["parent"]] if row["parent"] is not None else None
        if above is not None:
            above["called_below"] |= row["called_below"] or bool(row["calls"])
            for name in _SUMS:
                one, other = above[name], row[name]
                above[name] = None if one is None or other is None else one + other
