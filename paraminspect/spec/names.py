"""The names a spec's modules will have: no two children alike, every reference to a layer that stands before it."""

from __future__ import annotations

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec.model import Group, Item, Ref, Spec, numbered


def resolve_references(spec: Spec) -> dict[tuple[str, str], str]:
    """Check every child name and return, per (path of the group, child name) of a `ref`, the module path it means.

    A number is a position in the enclosing Sequential; a name is looked up there first, then as a dotted path
    from the top.
    Raises UserError for two children of one name and for a reference to nothing, to itself or to a later layer.
    """
    resolved: dict[tuple[str, str], str] = {}
    _walk(spec.layers, "", {}, resolved)
    return resolved


def _walk(items: tuple[Item, ...], prefix: str, seen: dict[str, None], resolved: dict[tuple[str, str], str]) -> None:
    """Visit the children in order; `seen` holds the path of every module that is complete so far."""
    names: list[str] = []
    taken: set[str] = set()
    for name, item in numbered(items):
        path = f"{prefix}.{name}" if prefix else name
        if name in taken:
            raise _collision(path, item.where)
        names.append(name)
        taken.add(name)
        if isinstance(item, Ref):
            resolved[prefix, name] = _find(item, path, prefix, names, seen)
        elif isinstance(item, Group):
            _walk(item.layers, path, seen, resolved)
        seen[path] = None


def _collision(path: str, where: str) -> UserError:
    hint = "inside Repeat, leave the name out or wrap the layers in a Sequential; elsewhere choose another name"
    return UserError(f"two layers would be called {path!r}", where=where, hint=hint, code="spec-name-collision")


def _find(ref: Ref, path: str, prefix: str, names: list[str], seen: dict[str, None]) -> str:
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
