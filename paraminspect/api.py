"""The public function for a module in hand: what the commands do, from Python."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from paraminspect import output
from paraminspect.errors import UserError, did_you_mean
from paraminspect.experiments.grad import grad
from paraminspect.experiments.memory_of_step import training_with
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.experiments.summary import summary as layer_tree
from paraminspect.isolation.process import collector_at_rest
from paraminspect.isolation.torch_state import process_kept
from paraminspect.modules.declared_ties import declared_ties
from paraminspect.modules.subject import Batch, InputFound, InputSearch, Loss, Subject
from paraminspect.render import render
from paraminspect.render.table.lines import fold
from paraminspect.report import Report, Source
from paraminspect.rules.rule_selection import Selection
from paraminspect.rules.typed_selection import check_threshold, ids_of, selection_of
from paraminspect.sources.examples import batch_of, example_maker
from paraminspect.spec.model import LOSSES
from paraminspect.text.escape import View

_Found = TypeVar("_Found", InputFound, InputFound | None)


class Inspection(Report):
    """A Report that shows itself: as the table in a terminal, as a page in a notebook."""

    def __repr__(self) -> str:
        return self._text(View(width=shutil.get_terminal_size().columns, glyphs=output.view().glyphs))

    def __str__(self) -> str:
        """Return the table, complete unless it is printed to a terminal, which it then fits."""
        return repr(self) if sys.stdout.isatty() else self._text(View())

    def _text(self, view: View) -> str:
        """Return the table, and below it what a command would say on stderr."""
        remarks = [f"note: {view.text(note)}" for note in self.notes]
        remarks += [f"error: {view.text(error.where)}: {view.text(error.message)}" for error in self.errors]
        lines = (line for remark in remarks for line in fold(remark, view, 2))
        return "\n".join(["".join(render(self, "table", view)).rstrip("\n"), *lines])

    def _repr_html_(self) -> str:
        return "".join(render(self, "html", View()))


def inspect(
    model: nn.Module,
    inputs: Any = None,
    *,
    loss: str | Callable[[Any], Any] = "sum",
    seed: int = 0,
    params: str | Sequence[str] = (),
    layer: str | None = None,
    forward: bool = True,
    backward: bool = True,
    uses: bool = False,
    values: bool = False,
    statistics: bool = True,
    recognise: bool = False,
    gates: bool = False,
) -> Inspection:
    """Inspect a module in hand: parameters, values, one forward and backward, gradients, sharing.

    `inputs` are the arguments of the forward: a tensor, a tuple or list of them (by position), a mapping (by keyword);
    without them the module's own example is taken, or an input that its first layer leaves no doubt about. `loss` is
    ``sum``, ``mean``, ``random``, ``mse``, ``cross_entropy`` or a function of the output. `seed` is for the numbers
    that are drawn. `params` are globs, which rows; `layer` names one module to show alone. `uses` follows every use of
    every parameter, not only of the shared ones (the command ``grad``); `values` adds the numbers of small tensors.
    Without `statistics` no value is read: names, shapes and totals alone. `recognise` tells from the values how each
    parameter was initialised, as the command ``show`` does: it takes some half a millisecond a parameter. `gates` adds
    the parts of each parameter in which a layer of torch stacks gates or projections.

    The model, its gradients, every random number generator and torch's settings are afterwards as they were. A forward
    that raises does not raise here: the Report says so in `errors`, and still lists what is there. Raises UserError
    for an argument that is wrong.
    """
    subject = _subject("inspect", model, inputs, loss, seed, forward)
    request = Request(
        "grad" if uses else "show",
        _several(params),
        layer,
        values,
        forward,
        backward,
        all_uses=uses,
        statistics=statistics,
        recognise=recognise,
        gates=gates,
    )
    with collector_at_rest():
        return Inspection(**vars(show(subject, request)))


def summary(
    model: nn.Module,
    inputs: Any = None,
    *,
    loss: str | Callable[[Any], Any] = "sum",
    seed: int = 0,
    modules: str | Sequence[str] = (),
    layer: str | None = None,
    forward: bool = True,
    backward: bool = True,
    optimizer: str = "adamw",
    master_weights: bool = False,
) -> Inspection:
    """Summarise the modules of a model: what each holds, takes, returns and computes, as the command ``summary``.

    One forward is run and, unless `backward` is False, one backward. `modules` are globs, which rows: they match the
    name of a module or that of a parameter it holds. `optimizer` is ``sgd``, ``momentum``, ``adam``, ``adamw``,
    ``adafactor`` or ``muon``: what its state takes is part of `memory`, and with `master_weights` float32 copies of
    the weights of less precision. The other arguments are those of `inspect`. `layers` of the
    Report has a `TreeLayer` for every module, `totals` the sums; own figures (``own_parameters``) add up to them.

    The model is afterwards as it was. A forward that raises does not raise here: the Report says so in `errors`, and
    still has what ran up to there. Raises UserError for an argument that is wrong.
    """
    training = training_with(optimizer, master_weights)
    subject = _subject("summary", model, inputs, loss, seed, forward)
    request = Request(
        "summary",
        layer=layer,
        forward=forward,
        backward=backward,
        statistics=False,
        sharing=False,
        modules=_several(modules),
    )
    with collector_at_rest():
        return Inspection(**vars(layer_tree(subject, request, training=training)))


def check(
    model: nn.Module,
    inputs: Any = None,
    *,
    loss: str | Callable[[Any], Any] = "random",
    seed: int = 0,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
    params: str | Sequence[str] = (),
    layer: str | None = None,
    forward: bool = True,
) -> Inspection:
    """Look for what is wrong with a model, as the command ``check``: `findings` of the Report has it, the worst first.

    `select` and `ignore` are IDs of rules or prefixes of them (``PI3``), in `ignore` also of some names alone
    (``PI201:head.*``); without them every rule is asked that is on. `thresholds` stand in for the rules' own, by ID.
    Without `forward` nothing is run, and nothing is said of gradients. `loss` is ``random`` here: a sum tells nothing
    of a model that ends in a softmax or a LayerNorm. The other arguments are those of `inspect`.

    The model is afterwards as it was. A forward that raises does not raise here: it is in `errors`. Raises UserError
    for an argument that is wrong.
    """
    chosen = _selection(_several(select), _several(ignore), thresholds or {})
    subject = _subject("check", model, inputs, loss, seed, forward)
    request = Request("check", _several(params), layer, forward=forward)
    with collector_at_rest():
        report = (
            grad(subject, request, (), lambda _: subject, selection=chosen)
            if forward
            else show(subject, request, selection=chosen)
        )
    return Inspection(**vars(report))


def _selection(select: Sequence[str], ignore: Sequence[str], thresholds: Mapping[str, float]) -> Selection:
    """Return which rules are asked. Raises UserError for one that there is not, and for a threshold out of range."""
    for rule, value in thresholds.items():
        check_threshold(ids_of([rule], "thresholds")[0], value, "thresholds")
    return selection_of(ids_of(select, "select"), ids_of(ignore, "ignore"), thresholds, "select")


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _subject(
    function: str, model: nn.Module, inputs: Any, loss: str | Callable[[Any], Any], seed: int, forward: bool
) -> Subject:
    """Return a module in hand as a subject; raises TypeError for what is none, UserError for a loss nobody knows."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function} takes a torch.nn.Module, got {type(model).__name__}")
    make, search = _input(model, inputs, seed) if forward else (None, None)
    return Subject(
        module=model,
        source=Source("module", type(model).__name__),
        seed=seed,
        make_input=make,
        find_input=search,
        loss=_loss(loss),
        ties=declared_ties(model),
    )


def _input(model: nn.Module, inputs: Any, seed: int) -> tuple[Callable[[], Batch] | None, InputSearch | None]:
    if inputs is not None:
        return _seeded(lambda: batch_of(inputs), seed), None
    with process_kept():  # the model's own example may draw from any generator
        make, search = example_maker(model, "inputs", foreign=False)
    if search is None:
        return None if make is None else _seeded(make, seed), None

    def seeded(look: Callable[[], _Found]) -> _Found:
        with process_kept():
            found = look()
        if found is None or found.make_input is None:
            return found
        return replace(found, make_input=_seeded(found.make_input, seed))

    return None, InputSearch(partial(seeded, search.find), partial(seeded, search.likeliest))


def _loss(loss: str | Callable[[Any], Any]) -> Loss:
    if callable(loss):
        return Loss(getattr(loss, "__name__", type(loss).__name__), loss)
    if not isinstance(loss, str) or loss not in LOSSES:
        hint = did_you_mean(str(loss), LOSSES) or f"known: {', '.join(LOSSES)}"
        raise UserError(f"unknown loss {loss!r}", where="loss", hint=hint, code="bad-option")
    return Loss(loss)


def _seeded(make: Callable[[], Batch], seed: int) -> Callable[[], Batch]:
    """Seed torch's generator right before the input is drawn; afterwards it is put back, like all the others."""

    def seeded() -> Batch:
        torch.manual_seed(seed)
        return make()

    return seeded
