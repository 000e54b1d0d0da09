"""How a module is looked at: in which mode, and under which names. Afterwards it is in the modes it was in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.torch_state import around
from paraminspect.isolation.user_code import explained
from paraminspect.modules.subject import Subject
from paraminspect.modules.walk import Walk, names_of_parameters, names_without, walk
from paraminspect.modules.wrapping import AUTO, NONE, wrapping
from paraminspect.text.escape import some_names

_CALLED = {"OptimizedModule": "torch.compile"}


@dataclass(frozen=True)
class Modes:
    """How many modules are in train mode and in eval mode, and the option that set it, or ``as given``."""

    training: int
    evaluating: int
    origin: str

    @property
    def word(self) -> str:
        """Return the mode that all modules are in, else ``mixed``."""
        return "mixed" if self.training and self.evaluating else "eval" if self.evaluating else "train"


@contextlib.contextmanager
def looking_at(subject: Subject) -> Iterator[Subject]:
    """Set the mode that is wanted, leave the prefix of wrappers out of names; yield the subject as it is seen then."""
    wrapped = wrapping(subject.module, subject.strip)
    if subject.strip not in (AUTO, NONE) and not wrapped.prefix:
        raise _no_such_prefix(subject)
    ties = tuple(tuple(name.removeprefix(wrapped.prefix) for name in tie) for tie in subject.ties.names)
    notes = subject.notes
    if wrapped.prefix:
        kinds = " around ".join(_CALLED.get(kind, kind) for kind in wrapped.kinds)
        notes = (*notes, f"names are without the prefix {wrapped.prefix!r} of {kinds}; --strip-prefix none shows it")
    with names_without(wrapped.prefix, subject.module), _in_mode(subject):
        yield replace(subject, ties=replace(subject.ties, names=ties), prefix=wrapped.prefix, notes=notes)


def _no_such_prefix(subject: Subject) -> UserError:
    """Say that not every name begins with the prefix that was typed, and which one is there."""
    there = wrapping(subject.module).prefix
    names = [name for _, names in names_of_parameters(subject.module) for name in names]
    hint = f"all names begin with {there!r}" if there else f"parameters: {some_names(names)}"
    message = f"{subject.strip!r} is not before every name: no module holds all of the model under it"
    return UserError(message, where="--strip-prefix", hint=hint, code="no-such-prefix")


def modes_of(subject: Subject, walked: Walk) -> Modes:
    """Return which modes the modules are in now, `walked` before."""
    flags = [_mode(module) for _, module in walked.once()]
    origin = {None: "as given", True: "--train", False: "--eval"}[subject.training]
    return Modes(sum(flags), len(flags) - sum(flags), origin)


def _mode(module: nn.Module) -> bool:
    try:
        return bool(module.training)
    except (Exception, SystemExit):  # a property of the user's
        return True


@contextlib.contextmanager
def _in_mode(subject: Subject) -> Iterator[None]:
    """Call ``train()`` or ``eval()``, and afterwards put every module back into the mode that it was in.

    A class with a ``train()`` of its own is asked to go back as well: it may change more than the flag.
    """
    if subject.training is None:
        yield
        return
    before = [(module, _mode(module)) for _, module in walk(subject.module).once()]
    _set_mode(subject, subject.training)
    try:
        yield
    finally:
        _set_mode(subject, before[0][1])
        for module, training in before:
            if _mode(module) != training:
                module.training = training


def _set_mode(subject: Subject, training: bool) -> None:
    try:
        with around(subject.foreign):
            subject.module.train(training)
    except (Exception, SystemExit) as error:
        raise explained("train()" if training else "eval()", error) from error
