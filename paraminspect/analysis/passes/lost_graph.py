"""Why parameters that the forward read got no gradient, and who uses leaves that nobody registers: a second forward.

The first run tells that something is wrong; only then is the same forward run again, under a mode that follows values
(`value_flow`), so that a model in order pays nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from paraminspect.analysis.passes.forward_backward import grads_put_aside
from paraminspect.analysis.passes.losses import compute_loss
from paraminspect.analysis.passes.value_flow import Break, LeafUse, ValueFlow
from paraminspect.frozen import dataclass
from paraminspect.isolation.torch_state import eager, recording, room
from paraminspect.modules.nested_tensors import leaves_of, nodes_of, tensors_in
from paraminspect.modules.subject import Batch, Loss
from paraminspect.modules.walk import walk
from paraminspect.report import RETURNED_ASIDE, Cause
from paraminspect.text.numbers import and_more

_UNUSED = "what it returned reaches no output"
_MOST_BREAKS = 3
_PAST_LOSS = "what it returned is in the output, but not in the loss"


@dataclass(frozen=True)
class Retraced:
    """What the second forward told: the cause for each parameter, by its id, and the leaves in order of use."""

    causes: dict[int, Cause] = field(default_factory=dict)
    leaves: tuple[LeafUse, ...] = ()


@recording()
def retrace(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    lost: Sequence[Tensor],
    known: Sequence[Tensor],
    contain: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Retraced:
    """Run the forward again and say for each of the parameters `lost` where its value left the graph.

    `known` are the leaves that need no explanation beside them. Every `.grad` is left as it was. What raises is no
    exception here, save KeyboardInterrupt: nothing is told then.
    """
    flow = ValueFlow(walk(module), lost, [*known, *tensors_in([batch.args, batch.kwargs])])
    own = [tensor for tensor in [*lost, *known] if tensor.is_leaf]  # a forward may run backwards of its own
    try:
        with eager(), room(), grads_put_aside(own), flow.running.active(), contain():
            with flow:
                output = module(*batch.args, **batch.kwargs)
                leaves = dict(flow.leaves)
                value = compute_loss(loss, output)
            nones = _nones(value, lost, flow) if value.requires_grad else []
        reached = {id(leaf) for leaf in leaves_of(value)} if value.requires_grad else set()
        used = tuple(use for key, use in leaves.items() if key in reached)
        return Retraced(dict(_causes(flow, lost, value, output, nones)), used)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's code may exit
        return Retraced()
    finally:
        flow.running.forget()


def _causes(
    flow: ValueFlow, lost: Sequence[Tensor], loss: Tensor, output: Any, nones: list[tuple[Cause, set[int]]]
) -> Iterator[tuple[int, Cause]]:
    live, reaching = flow.of([loss])
    returned_live, returned = flow.of(tensors_in(output))
    for tensor in lost:
        bit = flow.bits[id(tensor)]
        stopped = next((cause for cause, behind in nones if id(tensor) in behind), None)
        if stopped is not None:
            yield id(tensor), stopped
        elif not live & bit:
            unread = _PAST_LOSS if returned_live & bit else _UNUSED
            cause = _first(flow, bit, reaching) or _first(flow, bit, returned) or _gone(flow, bit, unread)
            if cause is not None:
                yield id(tensor), cause


def _first(flow: ValueFlow, bit: int, among: int) -> Cause | None:
    """Return the first break that cut a parameter off, of those in a set; its reason tells of the others.

    A parameter that is used twice may be cut off twice: the codes of a VQ-VAE at argmin, and again at detach.
    """
    found = [_cause(one) for at, one in enumerate(flow.breaks) if among >> at & 1 and one.parameters & bit]
    if not found:
        return None
    first, *others = found
    more = dict.fromkeys(
        f"at {one.op} in {one.module or 'the model itself'}: {one.reason}" for one in others if one != first
    )
    reasons = [first.reason, *[*more][:_MOST_BREAKS], *filter(None, [and_more(len(more) - _MOST_BREAKS)])]
    return replace(first, reason="; ".join(reasons))


def _gone(flow: ValueFlow, bit: int, unread: str) -> Cause | None:
    """Return why the value of a parameter reaches no loss: it left torch, or what was made of it is not used."""
    found = next((one for one in flow.breaks if one.parameters & bit and one.left), None)
    if found is not None:
        return _cause(found)
    last = next((one for one in reversed(flow.carried) if one[0] & bit), None)
    if last is None or flow.hidden:
        return None
    aside = any(live & bit and f"{last[2]}.".startswith(f"{name}.") for name, live in flow.handed)
    return Cause(last[2], last[1], RETURNED_ASIDE if aside and unread == _UNUSED else unread)


def _cause(one: Break) -> Cause:
    return Cause(one.module, one.op, one.reason)


def _nones(loss: Tensor, lost: Sequence[Tensor], flow: ValueFlow) -> list[tuple[Cause, set[int]]]:
    """Run the backward, if there are Functions of the user's in it that may return None for what requires grad.

    Returns what did, in the forward's order, each with the ids of the leaves behind the inputs that got nothing.
    """
    wanted = {id(tensor) for tensor in lost}
    functions = [node for node in nodes_of(loss) if isinstance(node, BackwardCFunction)]
    if not functions or wanted.isdisjoint(map(id, leaves_of(loss))):
        return []
    found: list[tuple[int, Cause, set[int]]] = []

    def watch(node: Any) -> Any:
        def note(given: Sequence[Tensor | None], arrived: Sequence[Tensor | None]) -> None:
            pairs = zip(given, node.next_functions, strict=False)
            edges = [edge for grad, (edge, _) in pairs if grad is None and edge is not None]
            if edges and any(grad is not None for grad in arrived):
                number, name = node._sequence_nr(), node.name().removesuffix("Backward")
                cause = Cause(
                    flow.running.module_at(number), name, "its backward returns None for an input that requires grad"
                )
                found.append((number, cause, {id(leaf) for edge in edges for leaf in leaves_of(edge)}))

        return node.register_hook(note)

    handles = [watch(node) for node in functions]
    try:
        with grads_put_aside(leaves_of(loss)):
            torch.autograd.backward(loss, retain_graph=True)  # what was computed before the forward is the user's
    finally:
        for handle in handles:
            handle.remove()
    return [(cause, behind) for _, cause, behind in sorted(found, key=lambda one: one[0])]
