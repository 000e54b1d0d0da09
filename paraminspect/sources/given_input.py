"""What ``--input`` says: tensors of a shape, and what a function of the user's draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from paraminspect.analysis.inventory import take_inventory
from paraminspect.errors import UserError, did_you_mean
from paraminspect.isolation.importing import load_attribute
from paraminspect.isolation.user_code import user_code
from paraminspect.modules.layer_input import device_of, dtype_of, input_of
from paraminspect.modules.subject import Batch, Given, InputFound, InputSearch
from paraminspect.sources.examples import Maker, copied_batch
from paraminspect.sources.first_guess import Needs
from paraminspect.sources.input_trial import misfit_of
from paraminspect.sources.sequential import draw
from paraminspect.sources.signature import Signature, enumeration, signature_of
from paraminspect.spec.model import Input

_TOKENS = nn.Embedding | nn.EmbeddingBag


def input_maker(module: nn.Module, inputs: tuple[Input, ...]) -> Maker:
    """Return what draws `inputs` in the dtype and on the device of the module's first parameters.

    Raises UserError when the forward takes no such arguments, or needs others too.
    """
    signature = signature_of(module.forward)
    _check(signature, inputs)
    dtype, device = dtype_of(module), device_of(module)

    def make_input() -> Batch:
        given: list[Given] = []
        for one in inputs:
            if one.function is None:
                given.append(Given(draw(one, dtype, str(device)), one.name, one.sample))
            else:
                given += _called(one, device, signature)
        return Batch(tuple(given), "--input")

    return make_input


def input_completer(module: nn.Module, inputs: tuple[Input, ...]) -> InputSearch | None:
    """Return what finds out which inputs, of which the shape alone is known, are indices; None where none can be.

    What is drawn is else as `input_maker` draws it, also where the forward fails on it.
    """
    if not any(one.only_shape for one in inputs) or not any(isinstance(one, _TOKENS) for one in module.modules()):
        return None

    def complete() -> InputFound:
        completed = [*_named(module, inputs)]
        if not any(one.function for one in inputs):
            inventory = take_inventory(module)
            for _ in inputs:
                with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
                    batch = input_maker(module, tuple(completed))()
                misfit = misfit_of(module, batch, inventory, foreign=True)
                wanted = input_of(misfit.layer) if misfit and isinstance(misfit.layer, _TOKENS) else None
                found = [at for at in (misfit.reached if misfit else ()) if completed[at].only_shape]
                if wanted is None or not found:
                    break
                for at in found:
                    completed[at] = _as(completed[at], wanted)
        return InputFound(input_maker(module, tuple(completed)))

    return InputSearch(complete)


def _named(module: nn.Module, inputs: Sequence[Input]) -> list[Input]:
    """Return the inputs, those that go by the name of indices as such."""
    needs = Needs(module, signature_of(module.forward))
    places = iter(needs.signature.positional if needs.signature else ())
    names = [one.name or next(places, "") for one in inputs]
    told = [needs.value(name) if one.only_shape else None for name, one in zip(names, inputs, strict=True)]
    return [
        _as(one, value) if isinstance(value, Input) and value.bounds else one
        for one, value in zip(inputs, told, strict=True)
    ]


def _as(one: Input, wanted: Input) -> Input:
    return replace(one, sample=wanted.sample, dtype=wanted.dtype, only_shape=False)


# --- functions of the user's -----------------------------------------------------------------------------------


def _called(one: Input, device: torch.device, signature: Signature | None) -> tuple[Given, ...]:
    """Call the user's function: a tuple or a list is for positions, a mapping for names, all else one argument.

    So is a named tuple, for a forward that needs one argument.
    """
    assert one.function is not None
    function = load_attribute(one.function)
    if not callable(function):
        message = f"{one.function} is an object of type {type(function).__name__}, not a function"
        raise UserError(message, where="--input", hint="write it as def inputs(): return torch.rand(2, 4)")
    with user_code(f"--input {one.function}"):
        value = function()
    if value is None:
        hint = "return a tensor, a tuple of arguments, or a dict of them by name"
        raise UserError(f"{one.function} returned None", where="--input", hint=hint, code="bad-input")
    is_one = hasattr(value, "_fields") and signature is not None and len(signature.required) == 1
    if is_one and one.name is None:
        return copied_batch((value,), device, "--input").given
    return copied_batch(value, device, "--input", one.name).given


# --- what the forward has a place for --------------------------------------------------------------------------


def _check(signature: Signature | None, inputs: tuple[Input, ...]) -> None:
    """Refuse inputs that the forward has no place for, and too few of them."""
    if signature is None:
        return
    names = [one.name for one in inputs if one.name is not None]
    unnamed = len(inputs) - len(names)
    by_position = signature.positional[:unnamed]
    takes = f"forward{signature}"
    if unnamed > len(by_position) and not signature.takes_any_position:
        most = len(signature.positional)
        message = f"{takes} takes {most} input{'' if most == 1 else 's'} by position, got {unnamed}"
        is_named = len(signature.named) > most or signature.takes_any_name
        hint = "name the others: --input NAME=SHAPE" if is_named else "leave out what is too much"
        raise UserError(message, where="--input", hint=hint, code="bad-option")
    for name in names:
        if name in by_position:
            message = f"{name!r} is given by position and by name"
            raise UserError(message, where="--input", hint="keep one of them", code="bad-option")
        if name not in signature.named and not signature.takes_any_name:
            hint = (
                did_you_mean(name, signature.named)
                or f"it takes: {enumeration(signature.named) if signature.named else 'no names'}"
            )
            raise UserError(f"{takes} has no argument {name!r}", where="--input", hint=hint, code="bad-option")
    if not any(one.function and one.name is None for one in inputs):
        _check_enough(signature, {*by_position, *names}, takes)


def _check_enough(signature: Signature, given: set[str], takes: str) -> None:
    """Name what is needed beside what is given."""
    missing = [one.name for one in signature.required if one.name not in given]
    if missing:
        hint = "pass " + " ".join(f"--input {name}=SHAPE" for name in missing)
        raise UserError(f"{takes} needs {enumeration(missing)} too", where="--input", hint=hint, code="missing-input")
