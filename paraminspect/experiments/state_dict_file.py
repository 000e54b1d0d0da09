"""The state_dict as a safetensors file, with what it takes to make it again beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.parameter import is_lazy

from paraminspect.errors import UserError
from paraminspect.files import whole
from paraminspect.isolation.torch_state import around
from paraminspect.isolation.user_code import explained
from paraminspect.modules.subject import Subject


def save(subject: Subject, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the state_dict of a subject's module to `path`, whole or not at all.

    The `facts` go into the metadata, texts as they are. What lies in one memory is written once, as
    ``safetensors.torch.save_model`` does it: under a name that has the whole of it, the other names in the metadata
    with the name that was kept. Raises UserError for tensors without values, for what is no tensor, and where the file
    cannot be written.
    """
    kept, aliases = _once(_state(subject))
    metadata = (
        {"format": "pt"}
        | aliases
        | {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
    )
    with whole(path) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in kept.items()}, temporary, metadata=metadata)
        except KeyError as error:
            message = f"cannot write {str(path)!r}: safetensors has no {error}"
            raise UserError(message, where="--save", code="cannot-save") from error
        except (SafetensorError, UnicodeEncodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"cannot write {str(path)!r}: {reason}", where="--save", code="cannot-write") from error


def _state(subject: Subject) -> dict[str, Tensor]:
    """Return the state_dict under the names that are printed, if a file can hold it; the module's own code may run."""
    try:
        with around(subject.foreign), torch.no_grad():
            state = dict(subject.module.state_dict())
    except (Exception, SystemExit) as error:
        raise explained("state_dict()", error) from error
    if all(name.startswith(subject.prefix) for name in state):
        state = {name.removeprefix(subject.prefix): tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        lack = _lack(tensor)
        if lack:
            raise UserError(
                f"{name!r} {lack}", where="--save", hint="a file holds tensors of numbers", code="cannot-save"
            )
    return state


def _lack(value: object) -> str:
    """Say why a file cannot hold an entry of a state_dict; nothing where it can."""
    if not isinstance(value, Tensor):
        return f"is no tensor but a {type(value).__name__}"
    if is_lazy(value):
        return "has no shape before the first forward"
    if value.is_meta:
        return "has no values: it is on the meta device"
    plain = value.layout is torch.strided and not value.is_nested and not value.is_quantized
    return "" if plain else "is no plain tensor: sparse, nested or quantised"


def _once(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what to write, and under which name the rest is.

    Where no tensor has the whole memory (slices of a flat one) each is written by itself, equal views once.
    """
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for names in _by_storage(state):
        complete = next((name for name in names if _has_all(state[name])), None)
        views: dict[Any, str] = {}
        for name in names:
            tensor = state[name]
            first = complete or views.setdefault((tensor.storage_offset(), tensor.shape, tensor.stride()), name)
            if name == first:
                kept[name] = tensor if complete or len(names) == 1 else tensor.clone()
            else:
                aliases[name] = first
    return {name: kept[name] for name in state if name in kept}, aliases


def _by_storage(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Group the names by the memory of their tensors; those without elements have none."""
    found: dict[Any, list[str]] = {}
    for name, tensor in state.items():
        key = tensor.untyped_storage()._cdata if tensor.numel() else name
        found.setdefault(key, []).append(name)
    return list(found.values())


def _has_all(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
