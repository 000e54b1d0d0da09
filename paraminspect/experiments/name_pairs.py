"""Which tensor of one side is which of the other: by name, by what wrappers make of names, by prefixes.

A pair under different names is made only where it is certain: many names differ alike and their shapes agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from paraminspect.report import Renaming
from paraminspect.sources.diff_sides import SideTensor

_WRAPPERS: Final = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "base_layer",
}
"""Components that DataParallel, compile, FSDP, checkpointing, Lightning's Fabric and PEFT put into names."""
_MOST_PREFIXES: Final = 8
"""Each costs a pass over all names that are left: a file made for it could have one for every two of them."""
BEGINNINGS: Final = ("base_model.model.", "model.")
"""What PEFT, and a model around another one, put before all names."""
_SPELLINGS: Final = (
    (re.compile(r"(^|\.)parametrizations\.(\w+)\.original0$"), r"\1\2_g"),
    (re.compile(r"(^|\.)parametrizations\.(\w+)\.original1$"), r"\1\2_v"),
    (re.compile(r"(^|\.)parametrizations\.(\w+)\.original$"), r"\1\2_orig"),
    (re.compile(r"(^|\.)parametrizations\.(\w+)\.0\._(u|v)$"), r"\1\2_\3"),
)
"""weight_norm and spectral_norm: the names of torch.nn.utils.parametrizations, and those of torch.nn.utils."""

Tensors = Mapping[str, SideTensor]
Pair = tuple[str, str]


@dataclass
class Pairs:
    """The names that belong together, in the order of A, and what each side has alone."""

    pairs: list[Pair] = field(default_factory=list)
    renamings: list[Renaming] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    def take(self, pairs: Sequence[Pair]) -> None:
        """Add pairs of names that each side had alone."""
        self.pairs += pairs
        gone, come = {one for one, _ in pairs}, {other for _, other in pairs}
        self.removed = [name for name in self.removed if name not in gone]
        self.added = [name for name in self.added if name not in come]


def pair_names(a: Tensors, b: Tensors) -> Pairs:
    """Pair the names of two sides."""
    found = Pairs([(name, name) for name in a if name in b])
    found.removed = [name for name in a if name not in b]
    found.added = [name for name in b if name not in a]
    if found.removed and found.added:
        _by_spelling(found, a, b)
    for _ in range(_MOST_PREFIXES):
        if not (found.removed and found.added and _by_prefix(found, a, b)):
            break
    place = {name: at for at, name in enumerate(a)}
    found.pairs.sort(key=lambda pair: place[pair[0]])
    return found


def canonical(name: str) -> str:
    """Return a name as the module alone, without wrappers and in the older spelling, would have it."""
    if "parametrizations" in name:
        for spelling, older in _SPELLINGS:
            name = spelling.sub(older, name)
    parts = name.split(".")
    return name if _WRAPPERS.isdisjoint(parts) else ".".join(part for part in parts if part not in _WRAPPERS)


def _by_spelling(found: Pairs, a: Tensors, b: Tensors) -> None:
    """Pair what wrappers and parametrizations have renamed."""
    for cut in ("", *BEGINNINGS):
        of_a, of_b = _unique(found.removed, cut), _unique(found.added, cut)
        pairs = [(name, of_b[plain]) for plain, name in of_a.items() if plain in of_b]
        _accept(found, pairs, a, b, least=1)


def _unique(names: Iterable[str], cut: str) -> dict[str, str]:
    """Return the names by their canonical form, without what they may begin with, where no two have the same."""
    found: dict[str, str | None] = {}
    for name in names:
        plain = canonical(name).removeprefix(cut)
        found[plain] = None if plain in found else name
    return {plain: name for plain, name in found.items() if name is not None}


def _by_prefix(found: Pairs, a: Tensors, b: Tensors) -> bool:
    """Pair what one side has below a prefix that it has before the most names; say whether there was one."""
    counts: dict[tuple[str, bool], int] = {}
    of_a, of_b = _unique(found.removed, ""), _unique(found.added, "")
    for longer, shorter, in_a in ((of_a, of_b, True), (of_b, of_a, False)):
        own, other = (a, b) if in_a else (b, a)
        for plain, name in longer.items():
            for rest in _rests(plain):
                if rest in shorter and own[name].shape == other[shorter[rest]].shape:
                    key = plain.removesuffix(rest), in_a
                    counts[key] = counts.get(key, 0) + 1
    if not counts:
        return False
    (prefix, in_a), _ = max(counts.items(), key=lambda one: one[1])
    if in_a:
        pairs = [(of_a[prefix + rest], name) for rest, name in of_b.items() if prefix + rest in of_a]
    else:
        pairs = [(name, of_b[prefix + rest]) for rest, name in of_a.items() if prefix + rest in of_b]
    return _accept(found, pairs, a, b, least=2)


def _rests(name: str) -> Iterable[str]:
    at = name.find(".")
    while at >= 0:
        yield name[at + 1 :]
        at = name.find(".", at + 1)


def _accept(found: Pairs, pairs: list[Pair], a: Tensors, b: Tensors, least: int) -> bool:
    """Take pairs whose names differ alike if at least `least` of them, and half of them, agree in shape."""
    groups: dict[Pair, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(_differing(*pair), []).append(pair)
    agreeing = {how: sum(a[one].shape == b[other].shape for one, other in group) for how, group in groups.items()}
    taken = {how: group for how, group in groups.items() if agreeing[how] >= least and agreeing[how] * 2 >= len(group)}
    for how, group in taken.items():
        found.renamings.append(Renaming(*how, tuple(group)))
    found.take([pair for group in taken.values() for pair in group])
    return bool(taken)


def _differing(one: str, other: str) -> Pair:
    """Return the components that one of two names has and the other has not, with … where they are apart."""
    first, second = one.split("."), other.split(".")
    if (more := _inserted(second, first)) is not None:
        return "", more
    if (more := _inserted(first, second)) is not None:
        return more, ""
    start = 0
    while start < min(len(first), len(second)) and first[start] == second[start]:
        start += 1
    end = 0
    while end < min(len(first), len(second)) - start and first[-1 - end] == second[-1 - end]:
        end += 1
    return ".".join(first[start : len(first) - end]), ".".join(second[start : len(second) - end])


def _inserted(longer: list[str], shorter: list[str]) -> str | None:
    """Return the components that `shorter` lacks of `longer`, None where it has others too."""
    runs: list[list[str]] = [[]]
    at = len(shorter)
    for part in reversed(longer):
        if at and part == shorter[at - 1]:
            at -= 1
            runs += [[]] if runs[-1] else []
        else:
            runs[-1].insert(0, part)
    return None if at else " … ".join(".".join(run) for run in reversed(runs) if run)
