"""The constructor calls that build a Spec's network, nested as a person would write them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from paraminspect.spec.model import GroupItem, Item, LayerItem, Ref, Repeat, Spec, numbered, resolve_references
from paraminspect.spec.signatures import signature


def quoted(text: str) -> str:
    """Return a string literal, in double quotes where that needs no escaping."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal


def walk(items: tuple[Item, ...]) -> Iterator[Item]:
    """Yield every item, all levels down; what a Repeat repeats is yielded once."""
    for item in items:
        yield item
        if isinstance(item, (GroupItem, Repeat)):
            yield from walk(item.layers)


def groups(items: tuple[Item, ...]) -> Iterator[tuple[Item, ...]]:
    """Yield the children of every Sequential and Residual, the outermost first."""
    yield items
    for item in walk(items):
        if isinstance(item, GroupItem):
            yield item.layers


def is_named(items: tuple[Item, ...]) -> bool:
    """Tell whether a Sequential needs an OrderedDict because a child has a name of its own."""
    return any(is_named(item.layers) if isinstance(item, Repeat) else item.name is not None for item in items)


class NetworkWriter:
    """Write nested constructor calls; a layer that a `ref` repeats is bound to a name where it is built."""

    def __init__(self, spec: Spec) -> None:
        self.references = resolve_references(spec)
        self.reused = {path: f"shared_{i}" for i, path in enumerate(dict.fromkeys(self.references.values()))}

    def group(self, kind: str, items: tuple[Item, ...], prefix: str) -> str:
        """Write the call that builds a Sequential or a Residual at the path `prefix`."""
        cls = "Residual" if kind == "Residual" else "nn.Sequential"
        named = is_named(items)
        if named or any(f"{prefix}.{name}".lstrip(".") in self.reused for name, _ in numbered(items)):
            children = [(name, self.child(name, item, prefix)) for name, item in numbered(items)]
            lines = [f"({quoted(name)}, {text})" if named else text for name, text in children]
        else:
            lines = list(self.in_line(items, prefix))
        block = textwrap.indent("".join(f"{line},\n" for line in lines), "    ")
        if not named:
            return f"{cls}(\n{block})"
        inner = textwrap.indent(f"OrderedDict([\n{block}])", "    ").lstrip()
        return f"{cls}({inner})" if "\n" not in inner else f"{cls}(\n    {inner}\n)"

    def in_line(self, items: tuple[Item, ...], prefix: str) -> Iterator[str]:
        """Write unnamed children in order."""
        position = 0
        for item in items:
            if isinstance(item, Repeat):
                width = sum(1 for _ in numbered((item,)))
                if any(isinstance(inner, Ref) for inner in walk(item.layers)):
                    for name, inner in numbered((item,)):
                        yield self.child(str(position + int(name)), inner, prefix)
                else:
                    yield self.repeat(item, prefix)
                position += width
            else:
                yield self.child(str(position), item, prefix)
                position += 1

    def repeat(self, item: Repeat, prefix: str) -> str:
        """Write a comprehension that builds every copy anew."""
        copies = textwrap.indent("".join(f"{line},\n" for line in self.in_line(item.layers, prefix)), "    ")
        return f"*[layer for _ in range({item.times}) for layer in (\n{copies})]"

    def child(self, name: str, item: LayerItem | GroupItem | Ref, prefix: str) -> str:
        """Write one child, or the name of the layer it refers to."""
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(item, Ref):
            return self.reused[self.references[prefix, name]]
        text = self.group(item.type, item.layers, path) if isinstance(item, GroupItem) else _layer(item)
        return f"({self.reused[path]} := {text})" if path in self.reused else text


def _layer(item: LayerItem) -> str:
    types = {parameter.name: parameter.type for parameter in signature(item.type)}
    args = [_value(value, kind) for value, kind in zip(item.args, types.values(), strict=False)]
    args += [f"{key}={_value(value, types[key])}" for key, value in item.kwargs.items()]
    prefix = "" if item.type == "PlainBiasLinear" else "nn."
    return f"{prefix}{item.type}({', '.join(args)})"


def _value(value: Any, kind: str) -> str:
    if isinstance(value, LayerItem):
        return _layer(value)
    return f"torch.{value}" if kind == "dtype" and isinstance(value, str) else repr(value)


def module_expression(spec: Spec, path: str) -> str:
    """Write the expression for a module: net[0], net.hidden, or get_submodule where neither form is sure."""
    text = "net"
    if any(isinstance(item, (LayerItem, GroupItem, Ref)) and (item.name or "").isdigit() for item in walk(spec.layers)):
        return f"net.get_submodule({quoted(path)})"
    for part in path.split(".") if path else []:
        if not (part.isdigit() or part.isidentifier()):
            return f"net.get_submodule({quoted(path)})"
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text
