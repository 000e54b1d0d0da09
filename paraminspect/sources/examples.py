"""Which input a module of the user's is run on: what was given, what it brings along, or a guess from its layers."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.rnn import PackedSequence

from paraminspect.errors import UserError, did_you_mean
from paraminspect.isolation.user_code import user_code
from paraminspect.modules.nested_tensors import dtype_name, tensors_in
from paraminspect.modules.subject import Batch, Given
from paraminspect.sources.sequential import draw
from paraminspect.sources.signature import Signature, enumeration, signature_of
from paraminspect.spec.model import Input

Maker = Callable[[], Batch]

OWN: Final = ("example_input_array", "dummy_inputs")
"""The attributes in which modules bring an input along: Lightning's, and that of the transformers library."""

_BATCH, _STEPS, _SIDE = 2, 4, 32


def input_maker(module: nn.Module, inputs: tuple[Input, ...], origin: str = "--input") -> Maker:
    """Return what draws `inputs` in the dtype and on the device of the module's first parameters.

    Raises UserError when the forward takes no such arguments.
    """
    _check(module, inputs)
    dtype, device = dtype_of(module), str(device_of(module))

    def make_input() -> Batch:
        return Batch(tuple(Given(draw(one, dtype, device), one.name, one.sample) for one in inputs), origin)

    return make_input


def batch_of(inputs: Any) -> Batch:
    """Return the input that a Python caller gives: a mapping by name, a tuple or list by position, or one alone.

    Tensors are copies, so that a forward that works in place leaves the caller's alone.
    """
    return _copied_batch(inputs, None, "given")


def example_maker(module: nn.Module, option: str = "--input") -> tuple[Maker | None, str]:
    """Return what makes an input for `module` when none is given; without one, None and what to pass as `option`.

    In this order: the module's own ``example_input_array`` or ``dummy_inputs``, moved to the device of its first
    parameter, then a guess from its first layer. Random numbers that the module's own code draws for it are not
    missed later.
    """
    signature = signature_of(module.forward)
    failures: list[str] = []
    with torch.random.fork_rng(devices=[]):
        for attribute in OWN:
            try:
                with user_code(f"{attribute} of {type(module).__name__}"):
                    found = _own_example(module, attribute, signature)
            except UserError as error:
                failures.append(error.message)
                continue
            if found is not None:
                return _copying_maker(found, device_of(module), attribute), ""
    guessed = _guess(module, signature)
    if guessed is not None:
        return input_maker(module, (guessed,), "inferred"), ""
    return None, "; ".join([_what_to_pass(module, signature, option), *failures])


def doubt(batch: Batch) -> str:
    """Say that the input may be to blame for a forward that failed; nothing where the user chose it."""
    if batch.origin in ("--input", "given", ""):
        return ""
    source = "a guess from the first layer" if batch.origin == "inferred" else f"the model's {batch.origin}"
    return f"the input was {source}; pass --input"


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the first parameter that has a fraction, float32 without one."""
    found = (parameter.dtype for parameter in module.parameters())
    return next((dtype for dtype in found if dtype.is_floating_point or dtype.is_complex), torch.float32)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the first parameter, or of the first buffer; the CPU without either."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


# --- what the module brings along ------------------------------------------------------------------------------


def _own_example(module: nn.Module, attribute: str, signature: Signature | None) -> Any:
    """Return the module's own example, None if it has none that its forward takes."""
    found = getattr(module, attribute, None)
    if not tensors_in(found):
        return None
    if signature and isinstance(found, Mapping) and not (set(found) <= set(signature.named) or _open(signature)):
        return None
    return found


def _open(signature: Signature) -> bool:
    """Tell whether a forward names nothing of what it takes."""
    return signature.takes_any_name and not signature.named


def _copying_maker(found: Any, device: torch.device, origin: str) -> Maker:
    return lambda: _copied_batch(found, device, origin)


def _copied_batch(value: Any, device: torch.device | None, origin: str) -> Batch:
    """Arrange copies of the parts of `value` as the arguments that they stand for; what was one object stays one."""
    copies: dict[int, Any] = {id(tensor): _copy(tensor, device) for tensor in tensors_in(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return Batch(tuple(Given(_deep_copy(value[key], copies), key) for key in value), origin)
    is_several = isinstance(value, tuple | list) and not isinstance(value, PackedSequence)
    return Batch(tuple(Given(_deep_copy(item, copies)) for item in (value if is_several else [value])), origin)


def _deep_copy(value: Any, copies: dict[int, Any]) -> Any:
    """Copy a structure around the copies of its tensors; what cannot be copied is handed over as it is."""
    try:
        return copy.deepcopy(value, copies)
    except Exception:  # the user's objects may refuse
        return value


def _copy(tensor: Tensor, device: torch.device | None) -> Tensor:
    moved = tensor.detach().clone() if device is None else tensor.detach().to(device, copy=True)
    return moved.requires_grad_(tensor.requires_grad)


# --- a guess ---------------------------------------------------------------------------------------------------


def _guess(module: nn.Module, signature: Signature | None) -> Input | None:
    """Guess the one input of a forward from the first layer that has parameters, if it leaves no doubt."""
    if signature is None or len(signature.required) != 1 or signature.required[0].name not in signature.positional:
        return None
    for layer in module.modules():
        if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
            return None
        found = _input_of(layer)
        if found or next(layer.parameters(recurse=False), None) is not None:
            return found
    return None


def _input_of(layer: nn.Module) -> Input | None:
    """Return the smallest ordinary input of a layer of torch's, None for any other module."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return Input((_BATCH, _STEPS), f"0..{layer.num_embeddings - 1}", "int64") if layer.num_embeddings else None
    dtype = dtype_of(layer)
    shape = _shape_of(layer)
    return Input(shape, "uniform", dtype_name(dtype)) if shape and all(shape) else None


def _shape_of(layer: nn.Module) -> tuple[int, ...] | None:
    if isinstance(layer, nn.Linear):
        return _BATCH, layer.in_features
    if isinstance(layer, _ConvNd):
        return _BATCH, layer.in_channels, *_sides(layer)
    if isinstance(layer, nn.RNNBase):
        first, second = (_BATCH, _STEPS) if layer.batch_first else (_STEPS, _BATCH)
        return first, second, layer.input_size
    if isinstance(layer, nn.RNNCellBase):
        return _BATCH, layer.input_size
    return None


def _sides(layer: _ConvNd) -> list[int]:
    """Return 32 for every dimension of space, more where the dilated kernel, less the padding, is larger."""
    padding = (0,) * len(layer.kernel_size) if isinstance(layer.padding, str) else layer.padding
    needed = zip(layer.kernel_size, layer.dilation, padding, strict=True)
    return [max(_SIDE, dilation * (kernel - 1) + 1 - 2 * pad) for kernel, dilation, pad in needed]


# --- what to say -----------------------------------------------------------------------------------------------


def _what_to_pass(module: nn.Module, signature: Signature | None, option: str) -> str:
    if getattr(module.forward, "__func__", None) is nn.Module.forward:
        return f"no forward: {type(module).__name__} defines none"
    if signature is None:
        return f"no forward: the input is not known; pass {_options([], option)}"
    needed = [parameter.name for parameter in signature.required]
    count = f"needs {len(needed)} input{'s' if len(needed) > 1 else ''}" if needed else "names no input it needs"
    return f"no forward: forward{signature} {count}; pass {_options(needed or signature.named[:1], option)}"


def _options(names: Sequence[str], option: str) -> str:
    """Write the inputs of those names as they are given: on the command line, or to a function of Python."""
    if option == "--input":
        return " ".join(f"--input {name}=SHAPE" for name in names) or "--input SHAPE"
    return f"{option}={{{', '.join(f'{name!r}: …' for name in names)}}}" if names else f"{option}="


def _check(module: nn.Module, inputs: tuple[Input, ...]) -> None:
    """Refuse inputs that the forward has no place for; what it misses, it says itself."""
    signature = signature_of(module.forward)
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
