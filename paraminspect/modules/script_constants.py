"""Tensors in the graph of a TorchScript module: torch.jit.freeze puts weights there, and modules lose them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from paraminspect.modules.walk import registered, walk

FROZEN = "a constant in the graph of a frozen script: parameters() and state_dict() lack it"


class GraphConstant(NamedTuple):
    """A tensor of a graph under the name that it has there; a `weight` is one of real numbers in a frozen script."""

    name: str
    tensor: Tensor
    weight: bool


def graph_constants(module: nn.Module) -> Iterator[GraphConstant]:
    """Yield the tensors in the graph of a module's forward, each once; nothing of a module that is no script.

    A script that has parameters is not frozen: what is in its graph are tables and the like.
    """
    nodes = _constants(module)
    frozen = bool(nodes) and not any(registered(owner, "_parameters") for _, owner in walk(module).once())
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for number, node in enumerate(nodes):
        for place, tensor in _tensors(node):
            key = tensor.data_ptr(), tuple(tensor.shape)
            if key not in seen or not tensor.numel():
                seen.add(key)
                name = node.output().debugName().removeprefix("self.")
                called = f"constant_{number}" if name.isdecimal() else name
                yield GraphConstant(called + place, tensor, frozen and tensor.is_floating_point())


def _tensors(node: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensor that a node holds, or those of its list."""
    if not node.hasAttribute("value"):
        return
    kind = node.kindOf("value")
    if kind == "t":
        yield "", node.t("value")
    elif kind == "ival":
        value = node.ival("value")
        found = value if isinstance(value, (list, tuple)) else [value]
        yield from ((f"[{at}]", one) for at, one in enumerate(found) if isinstance(one, Tensor))


def packed_constants(module: nn.Module) -> int:
    """Count the packed objects in the graph of a script, as a quantised layer has them once it is frozen."""
    return sum(node.output().type().kind() == "ClassType" for node in _constants(module))


def _constants(module: nn.Module) -> list[Any]:
    """Return the nodes of constants in the graph of a script; none where it has no forward."""
    if not issubclass(type(module), torch.jit.ScriptModule):
        return []
    try:
        return list(module.graph.findAllNodes("prim::Constant"))  # type: ignore[union-attr, operator]  # of scripts
    except (RuntimeError, AttributeError):
        return []
