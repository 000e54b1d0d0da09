"""LoRA adapters in a file: which weights they change, by which rank, and by how much."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from paraminspect.analysis.statistics.stored_numbers import numbers, width_of
from paraminspect.experiments.name_pairs import BEGINNINGS, canonical
from paraminspect.report import AdapterTarget
from paraminspect.sources.diff_sides import Side, SideTensor

_FACTOR: Final = re.compile(
    r"(?P<target>.+?)[._](?:lora_(?P<peft>[AB])|lora_embedding_(?P<embedding>[AB])|lora[._](?P<other>down|up))"
    r"(?:\.[\w-]+)??(?:\.weight)?"
)
"""PEFT's names, with or without that of the adapter, those of diffusers, and those of kohya's scripts."""
_DOWN: Final = ("A", "down")
_LONGEST: Final = 1_000_000


def adapters_of(a: Side, b: Side, only_a: Iterable[str], only_b: Iterable[str]) -> tuple[AdapterTarget, ...]:
    """Return the targets of the adapters whose factors one side alone has."""
    found = (*_targets(a, b, "a", only_a), *_targets(b, a, "b", only_b))
    return tuple(found)


def adapter_names(names: Iterable[str]) -> set[str]:
    """Return the names that are those of factors, or of the alpha beside them."""
    known = [name for name in names if _FACTOR.fullmatch(name)]
    if not known:
        return set()
    targets = {found["target"] for name in known if (found := _FACTOR.fullmatch(name))}
    return {*known, *(f"{target}.alpha" for target in targets)}


def _targets(side: Side, other: Side, letter: str, names: Iterable[str]) -> Iterable[AdapterTarget]:
    factors: dict[str, dict[str, SideTensor]] = {}
    for name in names:
        found = _FACTOR.fullmatch(name)
        if found is not None:
            end = "down" if (found["peft"] or found["embedding"] or found["other"]) in _DOWN else "up"
            kind = f"{end} of embedding" if found["embedding"] else end
            factors.setdefault(found["target"], {})[kind] = side.tensors[name]
    if not factors:
        return
    bases = {_short(canonical(name)): tensor for name, tensor in other.tensors.items()}
    own = {_short(canonical(name)): tensor for name, tensor in side.tensors.items()}
    config = _config(side)
    for target, ends in factors.items():
        embedding = "down of embedding" in ends
        down = ends.get("down of embedding" if embedding else "down")
        up = ends.get("up of embedding" if embedding else "up")
        if down is None or up is None or len(down.shape) < 2 or len(up.shape) < 2:
            continue
        rank = down.shape[0]
        shape = (down.shape[1], up.shape[0]) if embedding else (up.shape[0], *down.shape[1:])
        base, place = _base(target, bases, own, other, side)
        l2 = None if up.shape[1] != rank else _norm_of_product(side, down, up)
        weight = None if base is None or place is None else _norm(place, base)
        yield AdapterTarget(
            letter,
            target,
            None if base is None else base.name,
            rank,
            shape,
            down.name,
            up.name,
            down.dtype,
            None if base is None else up.shape[1] == rank and base.shape in (shape, shape[::-1]),
            l2,
            l2 / weight if l2 is not None and weight else None,
            _scale(side, target, rank, config),
        )


def _short(name: str) -> str:
    """Return a name without what models and PEFT put before all of their names."""
    for beginning in BEGINNINGS:
        name = name.removeprefix(beginning)
    return name


def _base(
    target: str, bases: Mapping[str, SideTensor], own: Mapping[str, SideTensor], other: Side, side: Side
) -> tuple[SideTensor | None, Side | None]:
    """Return the weight that is changed: on the other side, else beside the adapter."""
    plain = _short(canonical(target))
    for known, place in ((bases, other), (own, side)):
        for name in (f"{plain}.weight", plain):
            if name in known:
                return known[name], place
    return None, None


def _read(side: Side, tensor: SideTensor) -> Any:
    source = side.flat(tensor)
    if source is None or width_of(tensor.dtype) is None:
        return None
    found = numbers(source.array(), tensor.dtype)
    return found.astype(np.complex128 if found.dtype.kind == "c" else np.float64).reshape(tensor.shape)


def _norm(side: Side, tensor: SideTensor) -> float | None:
    found = _read(side, tensor)
    return None if found is None else float(np.linalg.norm(found.reshape(-1)))


def _norm_of_product(side: Side, down: SideTensor, up: SideTensor) -> float | None:
    """Return ‖up·down‖ from the two products of the factors with themselves, which are as small as the rank."""
    one, other = _read(side, down), _read(side, up)
    if one is None or other is None:
        return None
    one, other = one.reshape(one.shape[0], -1), other.reshape(other.shape[0], other.shape[1], -1)
    if other.shape[2] != 1:
        return None
    other = other[:, :, 0]
    squared = float(np.sum((other.T @ other.conj()) * (one @ one.conj().T)).real)
    return math.sqrt(max(squared, 0.0)) if math.isfinite(squared) else None


def _scale(side: Side, target: str, rank: int, config: Mapping[str, Any]) -> float | None:
    """Return alpha / rank, from the alpha beside the factors or from PEFT's adapter_config.json."""
    beside = side.tensors.get(f"{target}.alpha")
    if beside is not None and beside.numel == 1:
        found = _read(side, beside)
        return None if found is None or not rank else float(found.reshape(-1)[0].real) / rank
    alpha = config.get("lora_alpha")
    pattern = config.get("alpha_pattern")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or pattern or not rank:
        return None
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _config(side: Side) -> dict[str, Any]:
    """Return what PEFT has written beside the file; nothing where there is no such thing."""
    path = side.about.path or ""
    if side.checkpoint is None or "://" in path:
        return {}
    folder = path if os.path.isdir(path) else os.path.dirname(path)  # noqa: PTH112, PTH120  # a name as typed
    try:
        with open(os.path.join(folder, "adapter_config.json"), "rb") as file:  # noqa: PTH118, PTH123  # likewise
            found = json.loads(file.read(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
