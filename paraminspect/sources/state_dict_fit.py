"""Whether a model takes a file by load_state_dict(strict=True): torch is asked, with tensors that have no memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.errors import UserError
from paraminspect.isolation.torch_state import around, generators_kept
from paraminspect.modules.subject import Subject
from paraminspect.report import Checkpoint, StateDictFit, TensorHeader
from paraminspect.sources.checkpoint.stored_tensors import by_place
from paraminspect.sources.load_weights import Fit, choose, complete, fit_names, prefixes, renamed, state_dict_of

_MOST = 1000


def fit_of(subject: Subject, checkpoint: Checkpoint) -> StateDictFit | None:
    """Ask the subject's module whether it takes the file; its values are lost. None for a file without a state_dict.

    Where the file holds several state_dicts it is the one that fits, or comes closest.
    """
    module, wanted = subject.module, state_dict_of(subject)
    stored = by_place(checkpoint.path, checkpoint, [_empty(header) for header in checkpoint.tensors])
    if not stored.trees:
        return None
    try:
        chosen = choose(stored, module, wanted, subject.strip, checkpoint.path)
        key = chosen.key
    except UserError:
        key = min(stored.trees, key=lambda one: fit_names(stored.trees[one], wanted).amiss)
    tree = _with_extra_state(stored.trees[key], key, wanted, checkpoint)
    model = f"{type(module).__name__}"
    on_meta = any(isinstance(value, Tensor) and value.is_meta and not is_lazy(value) for value in wanted.values())
    literal = _refusal(subject, renamed(tree, "", ""), on_meta)
    if not literal:
        return StateDictFit(True, checkpoint.path, model, key, fits_then=True)
    strip, add = _prefix(tree, wanted)
    state = renamed(tree, strip, add)
    own = set(state)
    whole = complete(OrderedDict(state), wanted, stored.aliases)
    ties = [(name, _kept(name, own, wanted)) for name in whole if name not in own]
    if hasattr(state, "_metadata"):
        whole._metadata = state._metadata  # type: ignore[attr-defined]  # torch keeps versions of modules there
    left = fit_names(whole, wanted)
    then = _refusal(subject, whole, on_meta)
    return _answer(checkpoint.path, model, key, left, ties, (strip, add), then, (whole, wanted))


def _answer(
    path: str,
    model: str,
    key: str,
    left: Fit,
    ties: list[tuple[str, str]],
    prefix: tuple[str, str],
    refusal: str,
    states: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> StateDictFit:
    state, wanted = states
    shapes = [(name, tuple(state[name].shape), tuple(wanted[name].shape)) for name in left.shapes[:_MOST]]
    return StateDictFit(
        False,
        path,
        model,
        key,
        left.missing[:_MOST],
        left.unexpected[:_MOST],
        tuple(shapes),
        tuple(ties),
        *prefix,
        fits_then=not refusal,
        message="" if left.amiss or not refusal else refusal,
    )


def _empty(header: TensorHeader) -> Tensor:
    """Return a tensor of that shape and type that takes the memory of one element."""
    dtype = getattr(torch, header.dtype, None)
    return torch.zeros((), dtype=dtype if isinstance(dtype, torch.dtype) else torch.float32).expand(header.shape)


def _with_extra_state(
    tree: Mapping[str, Any], key: str, wanted: Mapping[str, Any], checkpoint: Checkpoint
) -> OrderedDict[str, Any]:
    """Add what get_extra_state made, which is no tensor and not read, where the file has some: as the module has it."""
    found = renamed(tree, "", "")
    for name, value in wanted.items():
        path = f"{key}.{name}" if key else name
        written = any(one == path or one.startswith(f"{path}.") for one in checkpoint.other)
        if written and name not in found and not isinstance(value, Tensor):
            found[name] = value
    return found


def _refusal(subject: Subject, state: Mapping[str, Any], on_meta: bool) -> str:
    """Return why torch does not take a state_dict; nothing where it does."""
    try:
        with around(subject.foreign), generators_kept(), torch.no_grad():
            subject.module.load_state_dict(state, strict=True, assign=on_meta)
    except (Exception, SystemExit) as error:
        return " ".join(str(error).split())[:400] or type(error).__name__
    return ""


def _kept(name: str, own: set[str], wanted: Mapping[str, Any]) -> str:
    """Return a name that the file has for the same Parameter."""
    return next((other for other in own if wanted.get(other) is wanted[name]), "")


def _prefix(tree: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, str]:
    """Return what has to be taken off the names in the file, or put before them, so that far more of them fit."""
    best, least = ("", ""), fit_names(tree, wanted).amiss
    for strip, add in prefixes(tree, wanted):
        amiss = fit_names(renamed(tree, strip, add), wanted).amiss
        if amiss * 2 < least:
            best, least = (strip, add), amiss
    return best
