"""What is wrong with the graph of a run: leaves that nobody trains, gradients that were lost, weights written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from torch import Tensor, nn

from paraminspect.analysis.inventory import Inventory, TensorEntry, unregistered
from paraminspect.analysis.passes.forward_backward import ForwardBackward, gradient_of
from paraminspect.analysis.passes.lost_graph import retrace
from paraminspect.analysis.passes.parameter_writes import replaced, written
from paraminspect.analysis.passes.value_flow import LeafUse
from paraminspect.analysis.passes.zero_weights import behind_zero_weights
from paraminspect.modules.forgotten import Forgotten
from paraminspect.modules.nested_tensors import leaves_of, tensors_in
from paraminspect.modules.subject import Batch, Loss
from paraminspect.modules.walk import names_of_parameters
from paraminspect.report import Cause

_REPLACED = "the forward put another Parameter in its place, and used that"
_NO_OPTIMIZER = "not in parameters(), so no optimizer sees it, and state_dict lacks it"


def diagnose(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    passes: ForwardBackward,
    whole: Inventory,
    changed: Iterable[tuple[Tensor, Tensor]],
    again: Callable[[], AbstractContextManager[None]],
) -> None:
    """Look at the graph that the passes walked; run the forward again only where something is wrong with it.

    Adds to `passes` the leaves that no module registers, the causes of missing gradients, and the notes. `whole` are
    the tensors of the module before the passes, `changed` those that were written to, with their values before;
    `again` makes what the second forward runs inside. A diagnosis that fails is none: the rest stands without it.
    """
    try:
        _diagnose(module, batch, loss, passes, whole, changed, again)
    except KeyboardInterrupt:
        raise
    except BaseException:  # code of the user's may exit
        return


def _diagnose(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    passes: ForwardBackward,
    whole: Inventory,
    changed: Iterable[tuple[Tensor, Tensor]],
    again: Callable[[], AbstractContextManager[None]],
) -> None:
    parameters, now = whole.of_kind("parameter"), names_of_parameters(module)
    new = replaced(parameters, now)
    passes.notes = tuple(written(parameters, changed, new))
    passes.causes = {
        id(one.tensor): Cause(one.owner_names[0], "Parameter", _REPLACED) for one in parameters if id(one.tensor) in new
    }
    known = [*(entry.tensor for entry in whole.entries), *(tensor for tensor, _ in now), *_given(batch)]
    ids = set(map(id, known))
    unknown = {id(leaf): leaf for leaf in passes.leaves if id(leaf) not in ids}
    passes.behind_zero = _behind_zero(passes, parameters, again)
    found, explained = _held(whole, unknown) if unknown else ([], [])
    lost = [tensor for tensor in _without_gradient(parameters, passes) if id(tensor) not in new]
    if lost or unknown:
        retraced = retrace(module, batch, loss, lost, [*known, *explained], again)
        passes.causes |= retraced.causes
        found += map(unregistered, _used(whole, retraced.leaves, unknown))
    passes.unregistered = tuple(found)


def _behind_zero(
    passes: ForwardBackward, parameters: Sequence[TensorEntry], contain: Callable[[], AbstractContextManager[None]]
) -> frozenset[int]:
    """Return the parameters whose gradient a zero weight explains."""
    if not passes.kept or passes.constant or passes.loss is None:
        return frozenset()
    figures = [(one, passes.gradients.get(id(one.tensor))) for one in parameters if one.numel]
    zero = [one.tensor for one, found in figures if found and found.zeros == one.numel]
    others = [one.tensor for one, found in figures if found and found.zeros != one.numel] if zero else []
    weights = [tensor for tensor in others if tensor.is_floating_point() and not tensor.detach().any()]
    return behind_zero_weights(passes.loss, zero, weights, contain) if weights else frozenset()


def _given(batch: Batch) -> Iterator[Tensor]:
    """Yield the tensors of an input, and the leaves they were computed from."""
    for tensor in tensors_in([batch.args, batch.kwargs]):
        yield from (tensor, *leaves_of(tensor))


def _without_gradient(parameters: Sequence[TensorEntry], passes: ForwardBackward) -> Iterator[Tensor]:
    """Yield the parameters that were read and got no gradient, or, where the graph has `stops`, an unexplained 0."""
    unexplained = passes.stops and not passes.constant
    for entry in parameters:
        figures = passes.gradients.get(id(entry.tensor))
        if figures is None:
            if not entry.lazy and gradient_of(entry.tensor, passes).status == "disconnected":
                yield entry.tensor
        elif unexplained and figures.zeros == entry.numel and id(entry.tensor) not in passes.behind_zero:
            yield entry.tensor


def _held(whole: Inventory, unknown: dict[int, Tensor]) -> tuple[list[TensorEntry], list[Tensor]]:
    """Return where leaves are held, and the leaves that this explains; they are taken from the `unknown`."""
    listed = {id(entry.tensor) for entry in whole.entries}
    found: list[TensorEntry] = []
    explained: dict[int, Tensor] = {}
    for entry in whole.computed:
        behind = [leaf for leaf in leaves_of(entry.tensor) if id(leaf) in unknown]
        explained |= {id(leaf): leaf for leaf in behind}
        if behind and id(entry.tensor) not in listed:
            found.append(entry)
    from paraminspect.modules.tensor_holders import locate  # only where something is wrong

    left = [leaf for key, leaf in unknown.items() if key not in explained]
    located = [*map(unregistered, locate(whole.modules.items(), left))]
    explained |= {id(entry.tensor): entry.tensor for entry in located}
    for key in explained:
        del unknown[key]
    return [*found, *located], [*explained.values()]


def _used(whole: Inventory, uses: tuple[LeafUse, ...], unknown: dict[int, Tensor]) -> Iterator[Forgotten]:
    """Yield the leaves that are held out of sight, or made anew in every forward: a gradient was asked for then.

    A leaf that a forward makes of a tensor at hand, by ``requires_grad_``, is there for a purpose of its own. FSDP puts
    whole Parameters in the place of its shards while a module runs.
    """
    modules = whole.modules
    if any(base.__name__ == "FSDPModule" for module in modules.values() for base in type(module).__mro__):
        return
    names: dict[str, int] = {}
    for use in uses:
        if id(use.tensor) in unknown or use.fresh:
            name = f"({use.op} in {use.module or 'the model itself'})"
            names[name] = names.get(name, 0) + 1
            kind = "a Parameter" if use.parameter else "a tensor that requires grad"
            where = "held out of sight of the model" if id(use.tensor) in unknown else "made anew in every forward"
            note = f"{kind} {where}: {_NO_OPTIMIZER}; make it in __init__, on self"
            numbered = name if names[name] == 1 else f"{name} {names[name]}"
            yield Forgotten(numbered, use.tensor, modules[use.module], use.module, note)
