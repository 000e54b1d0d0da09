"""Wrappers of a whole model, as DataParallel and torch.compile are: their prefixes before every name say nothing."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from paraminspect.frozen import dataclass
from paraminspect.modules.walk import join, registered

AUTO, NONE = "auto", "none"
_KNOWN = (("module",), ("_orig_mod",), ("base_model", "model"))
"""Where DataParallel and its kin, torch.compile, and PEFT with its two wrappers have the one model in them."""


@dataclass(frozen=True)
class Wrapping:
    """What stands before every name of a model, with a dot at its end, and the classes of the wrappers."""

    prefix: str = ""
    kinds: tuple[str, ...] = ()


def wrapping(module: nn.Module, wanted: str = AUTO) -> Wrapping:
    """Return the prefix of every name in `module` that is to be left out: ``auto`` finds those of known wrappers.

    A prefix that is named is there, or it is none; ``none`` is none. Only a module that holds one other and no tensor
    of its own wraps all of a model: so no two names can become one.
    """
    if wanted == NONE:
        return Wrapping()
    if wanted != AUTO:
        path = wanted.rstrip(".")
        kinds, _ = _through(module, path.split("."))
        return Wrapping(f"{path}.", kinds) if len(kinds) == len(path.split(".")) else Wrapping()
    path, seen = "", {id(module)}
    above: tuple[str, ...] = ()
    while True:
        found = ((steps, *_through(module, steps)) for steps in _KNOWN)
        none: tuple[tuple[str, ...], tuple[str, ...], nn.Module] = ((), (), module)
        steps, kinds, inner = next((one for one in found if len(one[1]) == len(one[0])), none)
        if not steps or id(inner) in seen:  # a module may be registered in itself
            return Wrapping(f"{path}." if path else "", above)
        module, path, above = inner, join(path, ".".join(steps)), (*above, *kinds)
        seen.add(id(inner))


def _through(module: nn.Module, steps: Sequence[str]) -> tuple[tuple[str, ...], nn.Module]:
    """Return the classes of the wrappers on the way down, as far as each holds the next and nothing else."""
    kinds: list[str] = []
    for step in steps:
        children = registered(module, "_modules")
        if [name for name, _ in children] != [step] or _has_tensors(module):
            break
        kinds.append(type(module).__name__)
        module = children[0][1]
    return tuple(kinds), module


def _has_tensors(module: nn.Module) -> bool:
    return bool(registered(module, "_parameters") or registered(module, "_buffers"))
