"""What every source yields: a module, how to make its input, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

from torch import nn

from paraminspect.frozen import dataclass
from paraminspect.report import Attempt, Source


@dataclass(frozen=True)
class Given:
    """One argument of the forward: `name` is its keyword, None by position; `sample` what it was drawn from."""

    value: Any
    name: str | None = None
    sample: str | None = None


@dataclass(frozen=True)
class Batch:
    """The arguments of one forward; `origin` says who chose them, e.g. ``--input`` or ``example_input_array``."""

    given: tuple[Given, ...]
    origin: str = ""

    @property
    def args(self) -> tuple[Any, ...]:
        """Return the positional arguments."""
        return tuple(one.value for one in self.given if one.name is None)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Return the keyword arguments."""
        return {one.name: one.value for one in self.given if one.name is not None}


@dataclass(frozen=True)
class Loss:
    """What the backward starts from: a name, and the user's function where the name is ``pkg.mod:func``."""

    name: str = "sum"
    function: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Ties:
    """Names that are meant to be one Parameter, and who says so (``ties``, ``_tied_weights_keys``).

    `kind` is where a model of this kind would say so, also if it does not; empty where models do not declare ties.
    """

    names: tuple[tuple[str, ...], ...] = ()
    origin: str = ""
    kind: str = field(default="", compare=False)


@dataclass(frozen=True)
class Loading:
    """How weights were loaded: the file, the keys to the state_dict in it with dots between, a prefix taken off names.

    It is `complete` unless names were left out of the file because they are one tensor with others.
    """

    path: str
    key: str = ""
    less: str = ""
    complete: bool = True


@dataclass(frozen=True)
class InputFound:
    """What a search for an input came to: what draws one, else why not; `attempts` are the inputs that did not fit."""

    make_input: Callable[[], Batch] | None
    why_no_input: str = ""
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class InputSearch:
    """What looks for an input: by trials, or the one that it would try first, untried; None where it knows of none."""

    find: Callable[[], InputFound]
    likeliest: Callable[[], InputFound | None] = lambda: None


@dataclass(frozen=True)
class Subject:
    """A module to inspect.

    `make_input` draws the inputs; it is None when no input is known, and `why_no_input` then says which option to
    pass. `find_input` looks for one that the forward takes, by trials, see `settled`; `attempts` are those that failed.
    `foreign` says that the module's code is the user's: it runs contained, see
    `paraminspect.isolation.user_code`. `training` is the mode that is wanted for the run, None for the one it is in;
    `strip` the prefix to leave out of names, see `modules.wrapping`, `prefix` what was left out. `notes` are about how
    it came to be.
    """

    module: nn.Module
    source: Source
    seed: int | None
    make_input: Callable[[], Batch] | None
    why_no_input: str = ""
    loss: Loss = field(default_factory=Loss)
    ties: Ties = field(default_factory=Ties)
    foreign: bool = False
    find_input: InputSearch | None = None
    attempts: tuple[Attempt, ...] = ()
    training: bool | None = None
    strip: str = "auto"
    prefix: str = ""
    notes: tuple[str, ...] = ()
    loading: Loading | None = None

    @property
    def kind(self) -> str:
        """Return what the values come from: ``spec`` if constructors alone made them, ``checkpoint``, ``module``."""
        return self.source.kind if self.loading is None else "checkpoint"

    def settled(self) -> Subject:
        """Return this with an input that the forward takes, if one has to be looked for and is found.

        It runs the forward; module and process are afterwards as they were.
        """
        if self.find_input is None:
            return self
        found = self.find_input.find()
        return replace(self, find_input=None, **vars(found))

    def on_likeliest_input(self) -> Subject | None:
        """Return this with the input that a search would try first, untried; None where there is no search for one."""
        found = None if self.find_input is None else self.find_input.likeliest()
        return None if found is None else replace(self, find_input=None, **vars(found))
