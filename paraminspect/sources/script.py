"""A Spec as the PyTorch script a person would write by hand: no import of this package, the same bits."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from paraminspect import __version__
from paraminspect.errors import UserError
from paraminspect.init.rules import BoundRule
from paraminspect.sources import demo
from paraminspect.sources.draw import infer_input, input_dtype
from paraminspect.spec.layers import signature
from paraminspect.spec.model import Group, Input, Item, Layer, Ref, Repeat, Spec, Tie, numbered
from paraminspect.spec.names import resolve_references

_DRAW = {"uniform": "rand", "normal": "randn", "zeros": "zeros", "ones": "ones"}
_LOSS = {
    "sum": "Y.sum()",
    "mean": "Y.mean()",
    "mse": "nn.functional.mse_loss(Y, torch.zeros_like(Y))",
}
_CROSS_ENTROPY = """\
logits = Y.reshape(-1, Y.shape[-1])
targets = torch.arange(logits.shape[0], device=logits.device) % logits.shape[1]
loss = nn.functional.cross_entropy(logits, targets)"""
_TENSORS_IN = '''\
def tensors_in(output):
    """Return the tensors in nested tuples, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for item in output for tensor in tensors_in(item)]'''
_MATCHING = '''\
def matching(wanted):
    """Yield each parameter once that has a name for which wanted(name) is true."""
    seen = set()
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if wanted(name) and id(parameter) not in seen:
            seen.add(id(parameter))
            yield parameter'''
_TUPLES = ("RNN", "LSTM", "GRU", "LSTMCell", "MultiheadAttention")
_PRINT = """\
for name, parameter in net.named_parameters():
    print(name, tuple(parameter.shape))
    print("data", parameter.data)
    print("grad", parameter.grad)
"""


def script(spec: Spec, rules: tuple[BoundRule, ...], wanted: Input | None, loss: str, device: str, torch: str) -> str:
    """Return the whole script; `torch` is the version to name in its first line.

    After it ran, ``net``, ``X``, ``Y`` and ``loss`` hold what this package computes for the same spec.
    """
    known = wanted or infer_input(spec.layers)
    title = f'"""{_title(spec)}: the experiment as plain PyTorch, written by paraminspect {__version__} on {torch}."""'
    head = f"{title}\n\n{_imports(spec, rules)}"
    definitions = [head, *_helpers(spec, rules)]
    statements = [f"torch.manual_seed({spec.seed})", *_build(spec, device)]
    statements += [_tied(spec, tie) for tie in spec.ties]
    statements += [_ruled(rule, spec) for rule in rules]
    if known is not None:
        statements += [_drawn(known, spec, device), *_passes(spec, loss)]
    body = "\n\n".join([*statements, _PRINT])
    return "\n\n\n".join([*definitions, body]) if len(definitions) > 1 else f"{head}\n\n{body}"


def _quoted(text: str) -> str:
    """Return a string literal, in double quotes where that needs no escaping."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal


def _title(spec: Spec) -> str:
    """Return the name as it may stand in a docstring."""
    return "".join(c for c in spec.name if c.isprintable() and c not in '"\\') or "spec"


def _imports(spec: Spec, rules: tuple[BoundRule, ...]) -> str:
    standard = []
    if any("math." in rule.scheme.helper() for rule in rules):
        standard.append("import math")
    if any(_is_named(group) for group in _groups(spec.layers)):
        standard.append("from collections import OrderedDict")
    if any(not rule.rule.weights_or_biases for rule in rules):
        standard.append("from fnmatch import fnmatchcase")
    return "\n".join([*standard, *([""] if standard else []), "import torch", "from torch import nn"])


def _helpers(spec: Spec, rules: tuple[BoundRule, ...]) -> Iterator[str]:
    """Yield the source of every function and class that the script needs and torch does not have."""
    types = {item.type for item in _walk(spec.layers) if isinstance(item, (Layer, Group))}
    for name in ("Residual", "PlainBiasLinear"):
        if name in types:
            yield _source(getattr(demo, name))
    helpers = (rule.scheme.helper(spec.dtype or "float32").strip() for rule in rules)
    yield from dict.fromkeys(helper for helper in helpers if helper)
    if _gives_tuple(spec):
        yield _TENSORS_IN
    if rules and _shares(spec):
        yield _MATCHING


def _source(thing: Any) -> str:
    return inspect.getsource(thing).strip()


def _walk(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        if isinstance(item, (Group, Repeat)):
            yield from _walk(item.layers)


def _groups(items: tuple[Item, ...]) -> Iterator[tuple[Item, ...]]:
    yield items
    for item in _walk(items):
        if isinstance(item, Group):
            yield item.layers


def _is_named(items: tuple[Item, ...]) -> bool:
    """Tell whether a Sequential needs an OrderedDict because a child has a name of its own."""
    return any(_is_named(item.layers) if isinstance(item, Repeat) else item.name is not None for item in items)


def _build(spec: Spec, device: str) -> Iterator[str]:
    call = _Writer(spec).group("Sequential", spec.layers, "")
    if device == "meta":
        yield 'with torch.device("meta"):\n' + textwrap.indent(f"net = {call}", "    ")
    else:
        yield f"net = {call}"
    if spec.dtype:
        yield f"net = net.to(torch.{spec.dtype})"
    if device not in ("cpu", "meta"):
        yield f"net = net.to({_quoted(device)})"


class _Writer:
    """Write nested constructor calls; a layer that a `ref` repeats is bound to a name where it is built."""

    def __init__(self, spec: Spec) -> None:
        self.references = resolve_references(spec)
        self.reused = {path: f"shared_{i}" for i, path in enumerate(dict.fromkeys(self.references.values()))}

    def group(self, kind: str, items: tuple[Item, ...], prefix: str) -> str:
        cls = "Residual" if kind == "Residual" else "nn.Sequential"
        named = _is_named(items)
        if named or any(f"{prefix}.{name}".lstrip(".") in self.reused for name, _ in numbered(items)):
            children = [(name, self.child(name, item, prefix)) for name, item in numbered(items)]
            lines = [f"({_quoted(name)}, {text})" if named else text for name, text in children]
        else:
            lines = list(self.in_line(items, prefix))
        block = textwrap.indent("".join(f"{line},\n" for line in lines), "    ")
        if not named:
            return f"{cls}(\n{block})"
        inner = textwrap.indent(f"OrderedDict([\n{block}])", "    ").lstrip()
        return f"{cls}({inner})" if "\n" not in inner else f"{cls}(\n    {inner}\n)"

    def in_line(self, items: tuple[Item, ...], prefix: str) -> Iterator[str]:
        """Write unnamed children in order; a Repeat becomes a comprehension, which builds every copy anew."""
        position = 0
        for item in items:
            if isinstance(item, Repeat):
                width = sum(1 for _ in numbered((item,)))
                if any(isinstance(inner, Ref) for inner in _walk(item.layers)):
                    for name, inner in numbered((item,)):
                        yield self.child(str(position + int(name)), inner, prefix)
                else:
                    yield self.repeat(item, prefix)
                position += width
            else:
                yield self.child(str(position), item, prefix)
                position += 1

    def repeat(self, item: Repeat, prefix: str) -> str:
        copies = textwrap.indent("".join(f"{line},\n" for line in self.in_line(item.layers, prefix)), "    ")
        return f"*[layer for _ in range({item.times}) for layer in (\n{copies})]"

    def child(self, name: str, item: Layer | Group | Ref, prefix: str) -> str:
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(item, Ref):
            return self.reused[self.references[prefix, name]]
        text = self.group(item.type, item.layers, path) if isinstance(item, Group) else _layer(item)
        return f"({self.reused[path]} := {text})" if path in self.reused else text


def _layer(item: Layer) -> str:
    types = {parameter.name: parameter.type for parameter in signature(item.type)}
    args = [_value(value, kind) for value, kind in zip(item.args, types.values(), strict=False)]
    args += [f"{key}={_value(value, types[key])}" for key, value in item.kwargs.items()]
    prefix = "" if item.type == "PlainBiasLinear" else "nn."
    return f"{prefix}{item.type}({', '.join(args)})"


def _value(value: Any, kind: str) -> str:
    if isinstance(value, Layer):
        return _layer(value)
    return f"torch.{value}" if kind == "dtype" and isinstance(value, str) else repr(value)


def _module(spec: Spec, path: str) -> str:
    """Write the expression for a module: net[0], net.hidden, or get_submodule where neither form is sure."""
    text = "net"
    if any(isinstance(item, (Layer, Group, Ref)) and (item.name or "").isdigit() for item in _walk(spec.layers)):
        return f"net.get_submodule({_quoted(path)})"
    for part in path.split(".") if path else []:
        if not (part.isdigit() or part.isidentifier()):
            return f"net.get_submodule({_quoted(path)})"
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text


def _tied(spec: Spec, tie: Tie) -> str:
    owners = [name.rpartition(".") for name in tie.names]
    return " = ".join(f"{_module(spec, owner)}.{leaf}" for owner, _, leaf in owners)


def _ruled(rule: BoundRule, spec: Spec) -> str:
    """Write a rule as a loop over the parameters it touches."""
    kind = rule.rule.weights_or_biases
    test = f'{_quoted(kind)} in name.rpartition(".")[2]' if kind else f"fnmatchcase(name, {_quoted(rule.rule.params)})"
    line = rule.scheme.line("parameter", spec.dtype or "float32")
    if _shares(spec):
        return f"for parameter in matching(lambda name: {test}):\n{textwrap.indent(line, '    ')}"
    return f"for name, parameter in net.named_parameters():\n    if {test}:\n{textwrap.indent(line, '        ')}"


def _shares(spec: Spec) -> bool:
    """Tell whether a Parameter may go by several names, each of which a glob may match."""
    return bool(spec.ties) or any(isinstance(item, Ref) for item in _walk(spec.layers))


def _drawn(wanted: Input, spec: Spec, device: str) -> str:
    shape = ", ".join(map(str, wanted.shape))
    meta = ', device="meta"' if device == "meta" else ""
    move = f".to({_quoted(device)})" if device not in ("cpu", "meta") else ""
    if wanted.bounds:
        low, high = wanted.bounds
        dtype = f", dtype=torch.{wanted.dtype}" if wanted.dtype not in (None, "int64") else ""
        return f"X = torch.randint({low}, {high + 1}, {wanted.shape}{dtype}{meta}){move}"
    dtype = wanted.dtype or input_dtype(spec)
    suffix = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    return f"X = torch.{_DRAW[wanted.sample]}({shape}{suffix}{meta}){move}"


def _gives_tuple(spec: Spec) -> bool:
    last = [item for _, item in numbered(spec.layers)][-1]
    return isinstance(last, Layer) and last.type in _TUPLES


def _passes(spec: Spec, loss: str) -> Iterator[str]:
    yield "Y = net(X)"
    if _gives_tuple(spec):
        if loss not in ("sum", "mean"):
            raise UserError(f"code cannot write the loss {loss!r} of several outputs", hint="use --loss sum")
        yield f"loss = torch.stack([tensor.{loss}() for tensor in tensors_in(Y)]).sum()"
    else:
        yield _CROSS_ENTROPY if loss == "cross_entropy" else f"loss = {_LOSS[loss]}"
    yield 'print("net", net)\nprint("X", X)\nprint("Y", Y)\nprint("loss", loss)'
    yield "if loss.requires_grad:\n    loss.backward()"
