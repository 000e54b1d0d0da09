"""The names a spec's modules will have: no two children alike, every reference to a layer that stands before it."""

from __future__ import annotations

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.model import Group, Item, Ref, Spec, numbered

MOST_NAMES = 1_000_000


def resolve_references(spec: Spec) -> dict[tuple[str, str], str]:
    """Check every child name and return, per (path of the group, child name) of a `ref`, the module path it means.

    A number is a position in the enclosing Sequential; a name is looked up there first, then as a dotted path
    from the top.
    Raises UserError for two children of one name, for a reference to nothing, to itself or to a later layer, and
    for references to references that would give the network more than `MOST_NAMES` module names.
    """
    resolved: dict[tuple[str, str], str] = {}
    _walk(spec.layers, "", {}, resolved)
    return resolved


def _walk(items: tuple[Item, ...], prefix: str, seen: dict[str, int], resolved: dict[tuple[str, str], str]) -> int:
    """Visit the children in order and return how many module names they have, all levels down.

    `seen` holds that number for the path of every module that is complete so far.
    """
    names: list[str] = []
    taken: set[str] = set()
    total = 0
    for name, item in numbered(items):
        path = f"{prefix}.{name}" if prefix else name
        if name in taken:
            raise _collision(path, item.where)
        names.append(name)
        taken.add(name)
        if isinstance(item, Ref):
            target = _find(item, path, prefix, names, seen)
            resolved[prefix, name] = target
            seen[path] = seen[target]
        elif isinstance(item, Group):
            seen[path] = 1 + _walk(item.layers, path, seen, resolved)
        else:
            seen[path] = 1
        total += seen[path]
        if total > MOST_NAMES:
            message = f"the network would have {total:,} module names or more, {MOST_NAMES:,} are the most"
            raise UserError(message, where=item.where, hint="repeat fewer layers", code="too-large")
    return total


def _collision(path: str, where: str) -> UserError:
    hint = "inside Repeat, leave the name out or wrap the layers in a Sequential; elsewhere choose another name"
    return UserError(f"two layers would be called {path!r}", where=where, hint=hint, code="spec-name-collision")


def _find(ref: Ref, path: str, prefix: str, names: list[str], seen: dict[str, int]) -> str:
    target = str(ref.target)
    near = names[ref.target] if isinstance(ref.target, int) and ref.target < len(names) else target
    candidates = (f"{prefix}.{near}" if prefix else near, target)
    if path in candidates:
        raise UserError("ref points to itself", where=ref.where, hint="name an earlier layer", code="spec-bad-ref")
    for candidate in candidates:
        if candidate in seen:
            return candidate
    hint = did_you_mean(target, seen) or f"layers before this one: {', '.join([*seen][:12]) or 'none'}"
    message = f"ref: {target!r} is not a layer that stands before this one"
    raise UserError(message, where=ref.where, hint=hint, code="spec-bad-ref")
