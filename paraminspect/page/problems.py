"""What can be wrong with a model, each sort in a function: what was found, in plain words, and what to try.

Every text is one that a user of PyTorch understands without our help; names from an input are marked in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from paraminspect.page.braces import pattern
from paraminspect.page.layer_rows import uncalled_modules
from paraminspect.page.remarks import of_no_weights
from paraminspect.page.verdicts import is_off, strayed
from paraminspect.report import Layer, Parameter, Report, Sharing
from paraminspect.text.escape import code, word
from paraminspect.text.numbers import plural, some_of


class Found(NamedTuple):
    """One problem: how bad, of which sort, what it is, and what to try."""

    tone: str
    about: str
    text: str
    hint: str = ""


def names_of(names: Sequence[str]) -> str:
    """Return names as a person would list them: one pattern for many that are alike, else the first two."""
    alike = pattern(names) if len(names) > 2 else None
    return alike or some_of([code(name) for name in names], 2, " and " if len(names) == 2 else ", ")


def modules_of(names: Sequence[str], report: Report) -> str:
    """Return the outermost modules all of whose parameters are among `names`, and the names that are in none."""
    every = [row.name for row in report.parameters if row.kind == "parameter"]
    others = set(every).difference(names)
    mixed = {prefix for name in others for prefix in _above(name)}
    tops = (next((prefix for prefix in _above(name) if prefix not in mixed), name) for name in names)
    return names_of(list(dict.fromkeys(tops)))


def _above(name: str) -> Iterator[str]:
    """Yield the paths of the modules that a name lies in, the outermost first, without the model itself."""
    parts = name.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts)))


def typed(command: str, report: Report) -> str:
    """Return a command line for the same SOURCE, as far as it can be typed: a spec from a file has another name."""
    source = report.source
    name = source.path or source.name if source.kind == "spec" else source.name if ":" in source.name else ""
    return f"paraminspect {command} {name}".rstrip()


def is_whole(report: Report) -> bool:
    """Tell whether all of the model's parameters are in the report: of some nothing is said of every one."""
    return report.totals.shown == report.totals.parameters


def _many(count: int, one: str, several: str) -> str:
    return one if count == 1 else several


# --- what was run ------------------------------------------------------------------------------------------------

_WITHOUT_VALUES = "tensors on the meta device hold none"
_WHAT_TO_RUN = {
    "forward": "give it an input that it takes: --input SHAPE[:DTYPE], as --input 8,3,32,32",
    "loss": "--loss takes sum, mean, random, mse, cross_entropy, or a function of yours: file.py:func",
}


def failed(report: Report) -> Iterator[Found]:
    """Yield that the forward or the loss raised: no gradient is known then."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase != "backward":
        where = f" in {code(error.module)}" if error.module else ""
        text = f"the {word(error.phase)} failed{where}: {code(error.message)}"
        without_values = report.environment.device == "meta" and _WITHOUT_VALUES in error.message
        hint = "--device cpu: tensors have values there" if without_values else _WHAT_TO_RUN.get(error.phase, "")
        yield Found("error", "failed", text, hint)


def no_input(report: Report) -> Iterator[Found]:
    """Yield that the forward takes none of the inputs that were tried: whose fault that is cannot be known."""
    if report.forward is None and report.attempts:
        tried = len(report.attempts)
        what = "the input that was tried" if tried == 1 else f"any of the {tried:,} inputs that were tried"
        first = report.attempts[0].error
        where = f", or look at {code(first.module)}, where the first one failed" if first.module else ""
        text = f"nothing was run: the forward does not take {what}"
        yield Found("note", "no-input", text, f"--input SHAPE with one that it takes{where}")


def backward_failed(report: Report) -> Iterator[Found]:
    """Yield that the backward raised, which may be because no parameter is in the graph."""
    error = report.forward.error if report.forward else None
    if error is not None and error.phase == "backward":
        yield Found("error", "failed", f"the backward failed: {code(error.message)}")


def nonfinite_passes(report: Report) -> Iterator[Found]:
    """Yield gradients and a loss that are NaN or infinite, with the first layer that returned such a value."""
    rows = [row.name for row in report.parameters if row.gradient and row.gradient.status == "nonfinite"]
    if rows:
        text = f"the gradient of {names_of(rows)} has NaN or infinite elements"
        yield Found("error", "nonfinite", text, _first_nonfinite(report.layers))
    elif (forward := report.forward) and forward.loss_finite is False and not forward.error:
        finite = any(row.gradient and row.gradient.status == "ok" for row in report.parameters)
        value = "NaN" if forward.loss is None or math.isnan(forward.loss) else "infinite"
        tone = "note" if finite and value == "infinite" else "error"
        yield Found(tone, "nonfinite", f"the loss is {value}", _first_nonfinite(report.layers))


def _first_nonfinite(layers: Iterable[Layer]) -> str:
    for layer in layers:
        if layer.out.nan or layer.out.inf:
            where = code(layer.module) or "the model itself"
            return f"look at {where} ({word(layer.type)}), the first module to return NaN or infinite values"
    return "torch.autograd.set_detect_anomaly(True) names the operation whose backward makes it"


# --- the values --------------------------------------------------------------------------------------------------


def nonfinite_values(report: Report) -> Iterator[Found]:
    """Yield tensors with NaN or infinities in them before anything ran; an infinite buffer may be a mask."""
    names = []
    for row in report.parameters:
        if row.values and (row.values.nan or (row.values.inf and row.kind not in ("buffer", "constant"))):
            names.append(row.name)
    if names:
        have = _many(len(names), "has", "have")
        text = f"{names_of(names)} {have} NaN or infinite values, before anything was run"
        yield Found("error", "nonfinite", text, "look at what initialised or loaded them")


def uninitialised(report: Report) -> Iterator[Found]:
    """Yield parameters with values of a size that no weights have."""
    names = [name for name, _ in of_no_weights(report)]
    if names:
        hold = _many(len(names), "holds", "hold")
        text = f"{names_of(names)} {hold} values of a size that no weights have, as memory that nothing initialised"
        yield Found("error", "uninitialised", text, "initialise what torch.empty or to_empty left, e.g. --scheme")


def schemes(report: Report) -> Iterator[Found]:
    """Yield values that are not what their scheme should give."""
    off = [verdict for verdict in report.verdicts if is_off(verdict)]
    if off:
        tensors = len({verdict.where for verdict in off})
        more = "" if tensors == 1 else f"; so are {plural(tensors - 1, 'more tensor')}"
        text = f"values are not what their initialisation should give: {strayed(off[0])}{more}"
        yield Found("warning", "scheme", text, "look at what changed them after it, or at the scheme itself")


# --- who trains --------------------------------------------------------------------------------------------------


def forgotten(report: Report) -> Iterator[Found]:
    """Yield tensors that take part but that no module registers, and buffers that ask for a gradient.

    Of a plain list it is the list that is named.
    """
    rows = [row for row in report.parameters if row.kind == "unregistered"]
    rows += [row for row in report.parameters if row.kind == "buffer" and row.requires_grad and row.note]
    if rows:
        names = list(dict.fromkeys(row.name.partition("[")[0] for row in rows))
        are = _many(len(names), "is", "are")
        text = f"{names_of(names)} {are} not in model.parameters(): no optimizer will train "
        *_, repair = (rows[0].note or "").split("; ")
        hint = code(repair) if repair.startswith(("use ", "register ")) else "register it: nn.Parameter or a module"
        yield Found("error", "forgotten", text + _many(len(names), "it", "them"), hint)


def unreached(report: Report) -> Iterator[Found]:
    """Yield parameters that the loss does not depend on, then those that the forward never read."""
    rows = [row for row in report.parameters if row.gradient and row.gradient.status not in ("frozen", "not-run")]
    lost = [row for row in rows if row.gradient and row.gradient.status == "disconnected"]
    unused = [row for row in rows if row.gradient and row.gradient.status == "unused"]
    skipped, unread = _skipped(unused, rows)
    everything = is_whole(report) and len(lost) + len(unused) == len(rows)
    if lost:
        yield _disconnected(lost, everything, report)
    if unread:
        yield _unused(unread, everything, report)
    if skipped:
        text = f"no gradient reached {modules_of(skipped, report)}: the forward read only others of the same list"
        hint = "where a router or LayerDrop picks, that is meant; else use every one in forward"
        yield Found("note", "unused", text, hint)


def _disconnected(lost: Sequence[Parameter], everything: bool, report: Report) -> Found:
    cause = next((row.gradient.cause for row in lost if row.gradient and row.gradient.cause), None)
    names = [row.name for row in lost if cause is None or (row.gradient and row.gradient.cause == cause)]
    who = _without_gradient(names, everything, report)
    if cause is None:
        return Found("error", "disconnected", f"{who}: the loss does not depend on what reads them", "another --loss")
    where = code(cause.module) or "the model itself"
    text = f"{who}: it is lost at {code(cause.op)} in {where}: {code(cause.reason)}"
    return Found("error", "disconnected", text, "keep what leads to the loss differentiable there")


def _without_gradient(names: Sequence[str], everything: bool, report: Report) -> str:
    return "no parameter gets a gradient" if everything else f"no gradient reaches {modules_of(names, report)}"


def _unused(names: Sequence[str], everything: bool, report: Report) -> Found:
    mode = report.environment.mode
    text = f"{_without_gradient(names, everything, report)}: the forward never reads {_many(len(names), 'it', 'them')}"
    if mode in ("eval", "mixed"):
        return Found("note", "unused", f"{text} in {mode} mode", "--train, where that is meant for training alone")
    hint = "use it in forward, give the input that it is for, or leave it out of the model"
    many = "use them in forward, give the input that they are for, or leave them out of the model"
    return Found("warning", "unused", text, _many(len(names), hint, many))


def _skipped(unused: Sequence[Parameter], rows: Sequence[Parameter]) -> tuple[list[str], list[str]]:
    """Tell those that others of the same list were read beside, as with experts, from those that nothing reads."""
    read = {alike for row in rows if row.gradient and row.gradient.status != "unused" for alike in _alike(row.name)}
    skipped: list[str] = []
    unread: list[str] = []
    for row in unused:
        (unread if read.isdisjoint(_alike(row.name)) else skipped).append(row.name)
    return skipped, unread


def _alike(name: str) -> Iterator[str]:
    """Yield a name with one of its numbers left open, for each of them."""
    for number in re.finditer(r"(?<![^.])\d+(?![^.])", name):
        yield f"{name[: number.start()]}*{name[number.end() :]}"


def uncalled(report: Report) -> Iterator[Found]:
    """Yield the modules with parameters that the forward did not call and nothing else read: that may be meant."""
    rows = uncalled_modules(report)
    if report.forward and report.forward.backward and rows:
        names = [row.module for row in rows if row.parameters]
        if names:
            hint = "where it is for training alone: --train" if report.environment.mode in ("eval", "mixed") else ""
            yield Found("note", "unused", f"the forward never called {names_of(names)}", hint)


def nothing_trains(report: Report) -> Iterator[Found]:
    """Yield that every parameter is frozen: that may be meant."""
    rows = [row for row in report.parameters if row.gradient]
    if rows and is_whole(report) and all(row.gradient and row.gradient.status == "frozen" for row in rows):
        yield Found("note", "frozen", "every parameter is frozen (requires_grad=False): nothing would train")


# --- what is shared ----------------------------------------------------------------------------------------------

_OVERLAPS = ("same-view", "same-bytes-other-view", "nested", "partial-overlap", "foreign-alias")


def ties(report: Report) -> Iterator[Found]:
    """Yield declared ties that are none, then Parameters that share memory without being one Parameter."""
    for shared in report.sharing:
        repair = code(shared.repair or "")
        if shared.verdict == "broken":
            text = f"{names_of(shared.names)} are declared as tied, but are not one Parameter"
            yield Found("error", "tie", text, repair)
        elif shared.verdict == "missing":
            text = f"a tie is declared with {names_of(shared.missing)}, but nothing is called that"
            yield Found("error", "tie", text, "correct the name where the tie is declared")
    parameters = {row.name for row in report.parameters if row.kind == "parameter"}
    for shared in report.sharing:
        if shared.verdict is None and _overlaps(shared, parameters):
            yield _overlap(shared)


def copies(report: Report) -> Iterator[Found]:
    """Yield an embedding whose numbers another module has as well, in a Parameter of its own: a tie that is a copy.

    Modules of one class are often made as copies of one another, and constants are alike everywhere.
    """
    types = {row.name: row.module_type for row in report.parameters if row.kind == "parameter"}
    for shared in report.sharing:
        kinds = {types[name] for name in shared.names if name in types}
        if shared.kind == "equal-not-shared" and shared.verdict is None and "Embedding" in kinds and len(kinds) > 1:
            first, *others = sorted(shared.names, key=lambda name: types.get(name) != "Embedding")
            text = f"{names_of([first, *others])} have the same values but are different Parameters: a copy, no tie"
            hint = code(shared.repair or f"model.{others[0]} = model.{first}")
            yield Found("note", "tie", text, f"{hint}, where a tie is meant")


def _overlaps(shared: Sharing, parameters: set[str]) -> bool:
    return shared.kind in _OVERLAPS and sum(name in parameters for name in shared.names) > 1


def _overlap(shared: Sharing) -> Found:
    text = f"{names_of(shared.names)} share memory but are different Parameters: each gets its own gradient and step"
    return Found("error", "overlap", text, code(shared.repair or "") or "use one Parameter, or clone() to part them")
