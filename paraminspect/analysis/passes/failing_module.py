"""Why a forward failed, in the words of the layer that failed: what it expected and what it got."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from paraminspect.analysis.passes.failure_causes import input_wanted, is_of_code, is_of_layers
from paraminspect.analysis.passes.running_modules import Frame
from paraminspect.errors import UserError
from paraminspect.modules.nested_tensors import dtype_name, tensors_in
from paraminspect.modules.subject import Batch
from paraminspect.report import ForwardError

_LONGEST = 1_000
_LAST = {"Linear": "in_features", "RNN": "input_size", "LSTM": "input_size", "GRU": "input_size"}
_SECOND = {"Conv": "in_channels", "BatchNorm": "num_features", "InstanceNorm": "num_features"}


def explain_forward(error: BaseException, running: Frame | None, root: nn.Module, batch: Batch) -> ForwardError:
    """Do as `explain` does, and say what it is about: the code, layers that do not fit each other, or the input."""
    found = explain(error, running, "forward")
    if is_of_code(error):
        return replace(found, about="code")
    if running is None:
        return found
    try:
        if is_of_layers(root, running):
            return replace(found, about="layers")
        wanted = input_wanted(running, batch)
    except Exception:  # the user's module may hide its attributes
        return found
    return found if wanted is None else replace(found, about="input", wanted=wanted)


def explain(error: BaseException, running: Frame | None, phase: str) -> ForwardError:
    """Name the module that raised, what it expects and what it got where the two disagree, then what torch said."""
    said = reason(error)
    if running is None:
        return ForwardError("", said, phase)
    name, module, args, _ = running
    kind, given = type(module).__name__, tensors_in(args)
    got = ", ".join(f"{tuple(tensor.shape)} {dtype_name(tensor.dtype)}" for tensor in given)
    try:
        expected = _expectation(module)
        fits = bool(given) and _fits(module, given[0])
    except Exception:  # the user's module may hide its attributes
        expected, fits = "", True
    if not isinstance(error, Exception) or isinstance(error, (MemoryError, RecursionError)):
        return ForwardError(name, f"{kind} {said}", phase)
    if expected and not fits:
        return ForwardError(name, f"{kind} expects {expected}{f', got {got}' if got else ''} ({said})", phase)
    return ForwardError(name, f"{kind} got {got}: {said}" if got else f"{kind}: {said}", phase)


def reason(error: BaseException) -> str:
    """Return in one line what happened: an exit, a lack of memory, an endless recursion, else what `error` says."""
    text = _text(error)
    if isinstance(error, SystemExit):
        return f"called exit({_text(error.code, repr)})"
    if isinstance(error, RecursionError):
        return "never stopped calling itself"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in text:
        tried = re.search(r"allocate ([\d.,]+ ?\w*)", text)
        return "ran out of memory" + (f": it tried to allocate {tried[1]}" if tried else "")
    if not isinstance(error, Exception) or isinstance(error, (KeyError, StopIteration)):
        return f"raised {type(error).__name__}" + (f": {text}" if text else "")
    if isinstance(error, UserError) and error.hint:
        return f"{text}; {error.hint}"
    return text or type(error).__name__


def _text(value: object, form: Callable[[object], str] = str) -> str:
    """Return the first line of a text; the value is the user's, so even this may fail."""
    try:
        lines = form(value).strip().splitlines()
    except Exception:
        return f"(a {type(value).__name__} that cannot be shown)"
    return lines[0][:_LONGEST] if lines else ""


def _expectation(module: nn.Module) -> str:
    """Say what input a layer takes, for the layers whose attributes tell."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return f"integers from 0 to {module.num_embeddings - 1}"
    dtype = next((f" of {dtype_name(parameter.dtype)}" for parameter in module.parameters(recurse=False)), "")
    if kind in _LAST:
        return f"(…, {getattr(module, _LAST[kind])}){dtype}"
    if kind == "LayerNorm":
        return f"(…, {', '.join(map(str, getattr(module, 'normalized_shape', ())))}){dtype}"
    attribute = next((attribute for prefix, attribute in _SECOND.items() if kind.startswith(prefix)), None)
    return f"(N, {getattr(module, attribute)}, …){dtype}" if attribute and hasattr(module, attribute) else ""


def _fits(module: nn.Module, given: Tensor) -> bool:
    """Tell whether shape and dtype are what the layer takes, so that something else is wrong."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return False
    dtype = next((parameter.dtype for parameter in module.parameters(recurse=False)), given.dtype)
    if kind == "LayerNorm":
        shape = tuple(getattr(module, "normalized_shape", ()))
        return given.dtype == dtype and tuple(given.shape[-len(shape) :]) == shape
    at = -1 if kind in _LAST else 1
    attribute = _LAST.get(kind) or next((found for prefix, found in _SECOND.items() if kind.startswith(prefix)), "")
    sizes = tuple(given.shape)
    return given.dtype == dtype and len(sizes) > 1 and sizes[at] == getattr(module, attribute, None)
