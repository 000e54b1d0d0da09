"""What a forward needs, and the first guesses of it: by the names of its arguments, and from the first layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from inspect import Parameter

from torch import nn

from paraminspect.modules.layer_input import first_input
from paraminspect.sources.argument_guess import ArgumentGuess, Value
from paraminspect.sources.model_statement import Statement
from paraminspect.sources.named_arguments import value_named
from paraminspect.sources.signature import Signature, annotation
from paraminspect.spec.model import Input

_PLAIN = {"bool": False, "int": 1, "float": 1.0}
_FRAMES, _NODES, _LARGEST = 16, 16, 512


class Needs:
    """The arguments of one forward that have to be given, each under its name or, as ``#0``, its place."""

    def __init__(self, module: nn.Module, signature: Signature | None) -> None:
        self.module, self.signature = module, signature
        self.says = Statement(module)
        self.parameters = {} if signature is None else {one.name: one for one in signature.parameters}
        self.slots = self._slots()
        self.first, self.origin = self._first()

    def value(self, name: str) -> Value:
        """Return what the argument of that name takes, None where its name does not tell."""
        return value_named(name, self.parameters.get(name), self.says)

    def guesses(self) -> Iterator[ArgumentGuess]:
        """Yield what the names tell, the rest as the first layer takes it; nothing where something is not told."""
        if not self.slots:
            return
        values = {slot: self._value(slot, name) for slot, name in self.slots.items()}
        if any(value is None for value in values.values()):
            return
        named = any(self.value(name) is not None for name in self.slots.values())
        origin = self.says.configs[0][0] if named and self.says.configs else "argument names" if named else self.origin
        yield ArgumentGuess(values, origin)

    def other_names(self) -> Iterator[str]:
        """Yield the names that the forward has beside those it needs."""
        if self.signature is not None:
            taken = {*self.slots, *self.slots.values()}
            yield from (name for name in self.signature.named if name not in taken)

    def _slots(self) -> dict[str, str]:
        """Return a name or a place for each argument that is needed, with the name that it has in the signature."""
        signature = self.signature
        if signature is None:
            return {"#0": ""}
        needed = [one.name for one in signature.required]
        main = getattr(self.module, "main_input_name", None)
        if isinstance(main, str) and main in signature.named and main not in needed:
            needed = [main, *needed]
        encoder_decoder = self.says.flag("is_encoder_decoder") and "decoder_input_ids" in signature.named
        if encoder_decoder and "decoder_input_ids" not in needed:
            needed.append("decoder_input_ids")
        if not needed:
            needed = [*signature.positional[:1]] or [*signature.named[:1]]
            if not needed:
                return {"#0": ""} if signature.takes_any_position else {}
        if len(needed) == 1 and needed[0] in signature.positional[:1] and self.value(needed[0]) is None:
            return {"#0": needed[0]}
        places = [one.name for one in signature.parameters if one.kind is Parameter.POSITIONAL_ONLY]
        return {f"#{places.index(name)}" if name in places else name: name for name in needed}

    def _value(self, slot: str, name: str) -> Value:
        found = self.value(name)
        if found is not None:
            return found
        parameter = self.parameters.get(name)
        kind = annotation(parameter) if parameter is not None else ""
        if kind in _PLAIN:
            return _PLAIN[kind]
        if self.first is not None and "edge_index" in self.slots:
            return replace(self.first, shape=(_NODES, *self.first.shape[1:]))
        return self.first

    def _first(self) -> tuple[Input | None, str]:
        """Return what the first layer takes, of the sizes that the model says of images, and what says so."""
        first = first_input(self.module)
        if first is None or first.bounds or len(first.shape) < 4:
            return first, "inferred"
        dimensions = len(first.shape) - 2
        said = self.says.sides(dimensions)
        if said is None or max(said[0]) > _LARGEST:
            return first, "inferred"
        sides, origin = said
        if dimensions == 3 and origin == "published weights":
            sides = (_FRAMES, *sides[1:])
        return replace(first, shape=(*first.shape[:2], *sides), sample="normal"), origin
