"""Spec to nn.Sequential and its input: the calls a hand-written script would make, in the order it would make them."""

from __future__ import annotations

import contextlib
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from paraminspect.errors import UserError, did_you_mean
from paraminspect.modules.demo import PlainBiasLinear, Residual
from paraminspect.modules.subject import Batch, Given, Loss, Subject, Ties
from paraminspect.report import Source
from paraminspect.spec.inputs import default_dtype
from paraminspect.spec.model import GroupItem, Input, Item, LayerItem, Ref, Spec, Tie, numbered, resolve_references
from paraminspect.spec.signatures import LAYERS, signature

DEMONSTRATIONS = {"PlainBiasLinear": PlainBiasLinear}
_DRAW: dict[str, Callable[..., Tensor]] = {
    "uniform": torch.rand,
    "normal": torch.randn,
    "zeros": torch.zeros,
    "ones": torch.ones,
}


def load(spec: Spec) -> Subject:
    """Build the network that `spec` describes and say how its input is drawn."""
    device = spec.device or "cpu"
    wanted = spec.input

    def make_input() -> Batch:
        assert wanted is not None
        tensor = draw(wanted, getattr(torch, default_dtype(spec)), device)
        return Batch((Given(tensor, sample=wanted.sample),))

    return Subject(
        module=build(spec),
        source=Source("spec", spec.name, spec.path),
        seed=spec.seed,
        make_input=make_input if wanted is not None else None,
        why_no_input="no forward: the input is not known; pass --input, e.g. --input 2,4",
        loss=Loss(spec.loss),
        ties=Ties(tuple(tie.names for tie in spec.ties), "ties", "ties"),
    )


def draw(wanted: Input, default: torch.dtype, device: str) -> Tensor:
    """Draw one tensor on the CPU's random stream, then move it to `device`.

    `default` is its dtype unless `wanted` names one; a range of integers is int64. Raises UserError when torch
    cannot draw that dtype.
    """
    place = "meta" if device == "meta" else "cpu"
    dtype = getattr(torch, wanted.dtype) if wanted.dtype else torch.int64 if wanted.bounds else default
    try:
        if wanted.bounds:
            low, high = wanted.bounds
            tensor = torch.randint(low, high + 1, wanted.shape, dtype=dtype, device=place)
        else:
            tensor = _DRAW[wanted.sample](wanted.shape, dtype=dtype, device=place)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0]
        message = f"cannot draw {wanted.sample} as {dtype}: {reason}"
        raise UserError(message, where=wanted.where, code="bad-input") from error
    return tensor.to(device)


# --- the network -----------------------------------------------------------------------------------------------


def build(spec: Spec) -> nn.Module:
    """Seed, build, convert and tie: everything before initialisation.

    Seeds torch's global generator with ``spec.seed``. Raises UserError naming the line of the layer that torch
    refused to build, or of a tie that cannot be made.
    """
    references = resolve_references(spec)
    device = spec.device or "cpu"
    torch.manual_seed(spec.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a constructor or a conversion warns of is what the spec asks for
        with torch.device("meta") if device == "meta" else contextlib.nullcontext():
            module = _Builder(references).group("Sequential", spec.layers, "")
        if spec.dtype:
            module = module.to(getattr(torch, spec.dtype))
    if device not in ("meta", "cpu"):
        module = _move(module, device)
    for tie in spec.ties:
        _tie(module, tie)
    return module


def _move(module: nn.Module, device: str) -> nn.Module:
    try:
        return module.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot use {device!r}: {reason}", where="device", code="bad-device") from error


class _Builder:
    """Build children depth first, as a script's nested constructor calls would run."""

    def __init__(self, references: dict[tuple[str, str], str]) -> None:
        self.references = references
        self.built: dict[str, nn.Module] = {}

    def group(self, kind: str, items: tuple[Item, ...], prefix: str) -> nn.Module:
        children = OrderedDict(
            (name, self.child(name, item, f"{prefix}.{name}" if prefix else name, prefix))
            for name, item in numbered(items)
        )
        try:
            return (Residual if kind == "Residual" else nn.Sequential)(children)
        except KeyError as error:  # a child called e.g. "forward" would hide a method
            where = next(item.where for name, item in numbered(items) if f"'{name}'" in str(error))
            raise UserError(
                f"{error.args[0]}", where=where, hint="choose another name", code="spec-bad-name"
            ) from error

    def child(self, name: str, item: LayerItem | GroupItem | Ref, path: str, prefix: str) -> nn.Module:
        if isinstance(item, Ref):
            module = self.built[self.references[prefix, name]]
        elif isinstance(item, GroupItem):
            module = self.group(item.type, item.layers, path)
        else:
            module = layer(item)
        self.built[path] = module
        return module


def layer(item: LayerItem) -> nn.Module:
    """Call the layer's class with the arguments the spec gives."""
    cls: type[nn.Module] = DEMONSTRATIONS[item.type] if item.type in DEMONSTRATIONS else getattr(nn, item.type)
    types = {parameter.name: parameter.type for parameter in signature(item.type)}
    args = [_argument(value, kind) for value, kind in zip(item.args, types.values(), strict=False)]
    kwargs = {key: _argument(value, types[key]) for key, value in item.kwargs.items()}
    try:
        return cls(*args, **kwargs)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"torch refused to build {item.type}: {reason}"
        raise UserError(message, where=item.where, hint=_signature(item.type), code="spec-bad-layer") from error


def _signature(name: str) -> str:
    return f"{name}({LAYERS[name]})"


def _argument(value: Any, kind: str) -> Any:
    """Turn what a spec can say into what the class takes: a nested layer into a module, a name into a dtype."""
    if isinstance(value, LayerItem):
        return layer(value)
    if kind == "dtype" and isinstance(value, str):
        return getattr(torch, value)
    return value


def _tie(module: nn.Module, tie: Tie) -> None:
    """Make every name the last one's Parameter."""
    owners = dict(module.named_parameters(remove_duplicate=False))
    for name in tie.names:
        if name not in owners:
            hint = did_you_mean(name, owners) or f"parameters: {', '.join([*owners][:12])}"
            raise UserError(f"ties: no parameter is called {name!r}", where=tie.where, hint=hint, code="spec-bad-tie")
    kept_name = tie.names[-1]
    kept = owners[kept_name]
    for name in tie.names[:-1]:
        _check_tie(name, owners[name], kept_name, kept, tie.where)
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, kept)


def _check_tie(name: str, replaced: nn.Parameter, kept_name: str, kept: nn.Parameter, where: str) -> None:
    if nn.parameter.is_lazy(replaced) or nn.parameter.is_lazy(kept):
        message = f"cannot tie {name!r} and {kept_name!r}: a lazy parameter has no shape yet"
    elif replaced.shape != kept.shape:
        message = f"cannot tie {name!r} {tuple(replaced.shape)} and {kept_name!r} {tuple(kept.shape)}: shapes differ"
    elif replaced.dtype != kept.dtype:
        message = f"cannot tie {name!r} {replaced.dtype} and {kept_name!r} {kept.dtype}: dtypes differ"
    else:
        return
    raise UserError(message, where=where, hint="tie parameters of one shape and one dtype", code="spec-bad-tie")
