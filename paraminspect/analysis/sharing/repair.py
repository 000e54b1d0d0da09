"""The line of PyTorch that makes two Parameters one, in the user's own names."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from torch import nn

from paraminspect.analysis.inventory.entry import Entry


def repair(root: nn.Module, kept: Entry, others: Iterable[Entry]) -> str | None:
    """Return the line that gives every name of `others` the Parameter of `kept`, whose values win.

    The module that was inspected is called ``model`` in it. None where no assignment can make them one: shapes or
    types differ, or they are not all Parameters.
    """
    others = tuple(others)
    if not all(_fits(kept, other) for other in others):
        return None
    names = [name for other in others for name in _places(root, other)]
    source = _path(root, kept.name)
    targets = [_path(root, name) for name in names]
    if source is not None and None not in targets:
        return " = ".join([*filter(None, targets), source])
    return "; ".join(f"setattr({_owner(name)}, {_leaf(name)!r}, model.get_parameter({kept.name!r}))" for name in names)


def _fits(kept: Entry, other: Entry) -> bool:
    if kept.kind != "parameter" or other.kind != "parameter" or kept.lazy or other.lazy:
        return False
    return kept.tensor.shape == other.tensor.shape and kept.tensor.dtype == other.tensor.dtype


def _places(root: nn.Module, entry: Entry) -> list[str]:
    """Return the names of a Parameter, one for each attribute of each module: a module may be reached by several."""
    found = {(id(_module(root, name)), _leaf(name)): name for name in reversed(entry.names)}
    return list(reversed(found.values()))


def _module(root: nn.Module, name: str) -> nn.Module:
    return root.get_submodule(name.rpartition(".")[0])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _owner(name: str) -> str:
    path = name.rpartition(".")[0]
    return f"model.get_submodule({path!r})" if path else "model"


def _path(root: nn.Module, name: str) -> str | None:
    """Return ``model.layers[0].weight``; None where the name cannot be written so."""
    module, written = root, "model"
    *modules, leaf = name.split(".")
    for part in modules:
        step = _step(module, part)
        if step is None:
            return None
        written, module = written + step, module.get_submodule(part)
    step = _step(module, leaf)
    return None if step is None else written + step


def _step(module: nn.Module, part: str) -> str | None:
    """Return how a child or a parameter of `module` is reached: by attribute, index or key."""
    if part.isidentifier() and part.isascii() and not keyword.iskeyword(part):
        return f".{part}"
    if isinstance(module, nn.Sequential | nn.ModuleList):
        names = list(module._modules)
        return f"[{part}]" if part.isdecimal() and part in names and names.index(part) == int(part) else None
    if isinstance(module, nn.ParameterList) and part.isdecimal():
        return f"[{int(part)}]"
    if isinstance(module, nn.ModuleDict | nn.ParameterDict):
        return f"[{part!r}]"
    return None
