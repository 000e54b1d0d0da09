"""The ties a module declares for itself, as the models of transformers do in ``_tied_weights_keys``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from torch import Tensor, nn

from paraminspect.modules.subject import Ties
from paraminspect.modules.walk import attributes_of, join, registered, walk

ORIGIN = "_tied_weights_keys"
_WRITTEN_OUT = re.compile(r"[\w.]+")
_PARAMETER = re.compile(r"[\w.]+(weight|bias)")

Tie = tuple[str, ...]


def declared_ties(module: nn.Module) -> Ties:
    """Return what `module` and its submodules declare in ``_tied_weights_keys``, with names as seen from `module`.

    A dict ties each target to its source, the last name of the tie; both may be names, modules or regular
    expressions (transformers 5). A list names what is one Parameter with some other, which it leaves open
    (transformers 4): a tie of a single name, unless it is one already. A ``config`` without `tie_word_embeddings` set
    declares nothing. What makes no sense is passed over: a declaration is the user's code.

    Each module is asked for what it has itself, by its class or as an attribute: a wrapper whose ``__getattr__`` asks
    what it wraps (torch.compile, PEFT) would declare names that stand one level below it.
    """
    if not _may_declare(module):  # as most do not
        return Ties()
    found: dict[Tie, None] = {}
    kind = ""
    for path, owner in walk(module).paths:
        if _own(owner, ORIGIN) is _NOWHERE:
            continue
        kind, prefix = ORIGIN, f"{path}." if path else ""
        for tie in _ties_of(owner):
            found[tuple(prefix + name for name in tie)] = None
    return Ties(tuple(found), ORIGIN if found else "", kind)


def _may_declare(root: nn.Module) -> bool:
    """Tell whether a module, or its class, has the attribute; no names are made for that."""
    seen: dict[int, nn.Module] = {}
    todo = [root]
    while todo:
        module = todo.pop()
        if id(module) not in seen:
            seen[id(module)] = module
            held = attributes_of(module)
            if ORIGIN in held:
                return True
            if held.get("_modules") or type(held.get("_modules")) is not dict:
                todo += [child for _, child in registered(module, "_modules")]
    return any(_of_class(kind, ORIGIN) is not _NOWHERE for kind in set(map(type, seen.values())))


def _ties_of(module: nn.Module) -> Iterator[Tie]:
    keys = _own(module, ORIGIN)
    if isinstance(keys, dict) and _is_wanted(module, default=False):
        pairs = ((target, source) for target, source in keys.items() if _are_texts(target, source))
        yield from _expanded(dict(pairs), sorted({name for name, _ in _tensors(module)}))
    elif isinstance(keys, list | tuple | set) and _is_wanted(module, default=True):
        yield from _left_open([key for key in keys if _are_texts(key)], module)


_NOWHERE = object()


def _own(module: nn.Module, name: str) -> Any:
    """Return an attribute of a module or of its class, a property's value too; `_NOWHERE` where neither has it."""
    found = _of_class(type(module), name)
    if found is not _NOWHERE and hasattr(type(found), "__get__"):
        return _asked(lambda: found.__get__(module, type(module)))
    return attributes_of(module).get(name, found)


def _of_class(kind: type, name: str) -> Any:
    namespaces = (vars(base) for base in kind.__mro__)
    return next((found[name] for found in namespaces if name in found), _NOWHERE)


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer; None where the module's own code, a property among it, raises."""
    try:
        return ask()
    except (Exception, SystemExit):
        return None


def _are_texts(*keys: object) -> bool:
    return all(isinstance(key, str) for key in keys)


def _is_wanted(module: nn.Module, default: bool) -> bool:
    """Tell whether the module's configuration, if it has one, lets its weights be tied."""
    config = _own(module, "config")
    return config in (None, _NOWHERE) or bool(_asked(lambda: getattr(config, "tie_word_embeddings", default)))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters, then buffers, under every name."""
    paths = walk(module).paths
    for what in ("_parameters", "_buffers"):
        for path, owner in paths:
            yield from ((join(path, name), tensor) for name, tensor in registered(owner, what))


def _expanded(mapping: dict[str, str], names: list[str]) -> Iterator[Tie]:
    """Yield a pair of names for each target, as transformers pairs them: sorted, the sources over and over."""
    sources: dict[str, str] = {}
    for target_key, source_key in mapping.items():
        if _PARAMETER.fullmatch(target_key) and _PARAMETER.fullmatch(source_key):
            pairs = [(target_key, source_key)]
        else:
            targets, kept = (_matching(key, names, re.match) for key in (target_key, source_key))
            pairs = list(zip(targets, cycle(kept), strict=False)) if len(targets) % max(1, len(kept)) == 0 else []
        for target, source in pairs:
            sources[target] = sources.get(source, source)
    yield from sources.items()


def _left_open(keys: list[str], module: nn.Module) -> Iterator[Tie]:
    """Yield each name with another of its Parameter's, alone where it has none."""
    held: dict[int, list[str]] = {}
    for name, tensor in _tensors(module):
        held.setdefault(id(tensor), []).append(name)
    others = {name: [other for other in names if other != name] for names in held.values() for name in names}
    for key in keys:
        for name in _matching(key, list(others), re.search):
            yield (name, *others.get(name, [])[:1])


def _matching(key: str, names: list[str], match: Callable[[str, str], Any]) -> list[str]:
    """Return the names that a key stands for; a name that is written out stands for itself, also if nothing has it."""
    if key in names:
        return [key]
    try:
        found = [name for name in names if match(key, name)]
    except re.error:
        return []
    return found or [key] * bool(_WRITTEN_OUT.fullmatch(key))
