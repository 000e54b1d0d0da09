"""The trials: each scheme on the same model, input and seeds."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from paraminspect.analysis.inventory import Inventory, take_inventory
from paraminspect.analysis.signal import Trace, follow, signal_over_seeds
from paraminspect.errors import UserError
from paraminspect.experiments.assembly import described_input, failure_of
from paraminspect.experiments.contenders import Contender, Size
from paraminspect.experiments.measured import moments_of
from paraminspect.experiments.measured_run import guarded
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.ranking import trial_of
from paraminspect.experiments.status_over_seeds import BUILT
from paraminspect.init.apply import accounts, apply_rules
from paraminspect.init.calibration import scale_to_batch
from paraminspect.init.fill_record import FillRecord
from paraminspect.init.rules import BoundRule, left_in_words
from paraminspect.isolation.torch_state import around, draw_batch
from paraminspect.modules.nested_tensors import same_bits, tensors_in
from paraminspect.modules.subject import Batch, Subject
from paraminspect.report import Failure, Forward, Trial

_WHY_NOT = ("no gradient comes back", "the input", "the signal could not be followed")


@dataclass
class Bench:
    """What the trials have in common, and what was found out on the way.

    `advance` is called after every run. `forward` describes the input of the first one; `classes` is their number where
    the loss is a classifier's. `notes` are kept by what they are about. `previous` is the module of the last run, if it
    is still there.
    """

    seeds: int
    advance: Callable[[], None]
    forward: Forward | None = None
    classes: int | None = None
    failures: dict[Failure, None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    previous: Callable[[], nn.Module | None] = lambda: None

    def trial(self, contender: Contender, size: Size) -> Trial | None:
        """Follow the signal from every seed; what the first failing seed raises is the trial's error.

        None for an optional scheme that cannot fill the model.
        """
        traces: list[Trace] = []
        for later in range(self.seeds):
            subject = size.rebuild(later)
            if later and self.previous() is subject.module:
                self.notes["built"] = BUILT
            self.previous = weakref.ref(subject.module)
            try:
                with looking_at(subject) as seen:
                    traces.append(self._run(seen.settled(), contender, first=later == 0))
            except UserError as error:
                if contender.optional:
                    self.notes[contender.name] = f"{contender.name} is left out: {_on_one_line(error)}"
                    return None
                failure = Failure(error.code, _on_one_line(error), error.where or contender.name)
                return self._failed(contender, size, failure)
            if (raised := traces[-1].error) is not None:
                return self._failed(contender, size, failure_of(raised))
            self.advance()
        losses = [trace.loss for trace in traces]
        signal = signal_over_seeds(traces)
        for note in signal.notes:
            if note.startswith(_WHY_NOT):
                self.notes.setdefault(note, note)
        return trial_of(contender.name, size.width, size.depth, signal, losses, self.classes)

    def _failed(self, contender: Contender, size: Size, failure: Failure) -> Trial:
        self.failures[failure] = None
        return Trial(contender.name, size.width, size.depth, error=failure.message)

    def _run(self, subject: Subject, contender: Contender, first: bool) -> Trace:
        """Draw the input, initialise, follow the signal: all schemes see the input that follows the building.

        Afterwards a module of the user's has the values that it came with.
        """
        module, make_input = subject.module, subject.make_input
        assert make_input is not None
        inventory = take_inventory(module)
        with _values_kept(inventory) if subject.foreign else contextlib.nullcontext(), guarded(inventory) as mode:
            batch = draw_batch(make_input)
            rules = contender.rules_for(module)
            applied = apply_rules(module, rules, subject.seed or 0)
            if first:
                self._note_what_is_left(subject, rules, applied)
            applied = scale_to_batch(module, batch.args, batch.kwargs, applied, lambda: around(subject.foreign))
            moments = moments_of(inventory, applied, subject.kind)
            self._note(subject, batch)
            with self._counting(subject):
                return follow(
                    module,
                    batch,
                    subject.loss,
                    moments,
                    thorough=False,
                    expect=first,
                    contain=lambda: around(subject.foreign, mode),
                )

    def _note_what_is_left(
        self, subject: Subject, rules: Sequence[BoundRule], applied: Mapping[int, FillRecord]
    ) -> None:
        """Say once what the schemes are not for: gains of normalisation layers, and the like."""
        for rule, found in zip(rules, accounts(rules, applied, subject.module), strict=True):
            if found.norms or found.others:
                kind = rule.rule.weights_or_biases
                left = left_in_words(kind, found.norms, found.others)
                first = [*found.norms, *found.others][0]
                note = f"the schemes leave {left} as built; --rule '{first}=SCHEME' reaches one"
                self.notes.setdefault(f"left {kind}", note)

    def _note(self, subject: Subject, batch: Batch) -> None:
        """Describe the input that every scheme sees first."""
        if self.forward is None:
            inputs = described_input(batch, wanted=False)
            self.forward = Forward(inputs, loss_name=subject.loss.name, origin=batch.origin or None)

    @contextlib.contextmanager
    def _counting(self, subject: Subject) -> Iterator[None]:
        """Let one run tell how many classes there are, where the loss is a classifier's."""
        if self.classes is not None or subject.loss.name != "cross_entropy":
            yield
            return
        hook = subject.module.register_forward_hook(lambda _module, _args, output: self._count(output))
        try:
            yield
        finally:
            hook.remove()

    def _count(self, output: Any) -> None:
        """Take the classes as the loss does: the last dimension of the first floating tensor."""
        logits = next((tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.dim()), None)
        self.classes = None if logits is None else logits.shape[-1]


@contextlib.contextmanager
def _values_kept(inventory: Inventory) -> Iterator[None]:
    """Put back the values of the parameters, of those that are one view of one memory once."""
    held = {}
    for entry in inventory.of_kind("parameter"):
        tensor = entry.tensor
        if not (entry.lazy or tensor.is_meta or tensor.is_nested) and tensor.layout is torch.strided:
            held[inventory.storage(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()] = tensor
    copies = [(tensor, tensor.detach().clone()) for tensor in held.values()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, copy in copies:
                if not same_bits(tensor, copy):
                    tensor.copy_(copy)


def _on_one_line(error: UserError) -> str:
    """Return what is wrong and what to try on one line."""
    return "; ".join([error.message, *error.hint.splitlines()])
