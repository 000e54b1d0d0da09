"""A Spec as the PyTorch script a person would write by hand: no import of this package, the same bits."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paraminspect import __version__
from paraminspect.errors import UserError
from paraminspect.init.rules import BoundRule
from paraminspect.init.schemes.bound_scheme import LOW_PRECISION, BoundScheme, sources
from paraminspect.init.target import padding_rows
from paraminspect.init.target_search import targets_in
from paraminspect.isolation.importing import import_statement, is_reference
from paraminspect.modules import demo
from paraminspect.script.network import NetworkWriter, groups, is_named, quoted, walk
from paraminspect.sources.mlp import build
from paraminspect.spec.inputs import default_dtype, layer_dtypes
from paraminspect.spec.model import GroupItem, Input, LayerItem, Ref, Spec, Tie
from paraminspect.spec.signatures import resolve

if TYPE_CHECKING:
    from torch import nn

_DRAW = {"uniform": "rand", "normal": "randn", "zeros": "zeros", "ones": "ones"}
_LOSS = {
    "sum": "loss = Y.sum()",
    "mean": "loss = Y.mean()",
    "mse": "loss = nn.functional.mse_loss(Y, torch.zeros_like(Y))",
    "cross_entropy": """\
logits = Y.reshape(-1, Y.shape[-1])
targets = torch.arange(logits.shape[0], device=logits.device) % logits.shape[1]
loss = nn.functional.cross_entropy(logits, targets)""",
}
_TENSORS_IN = '''\
def tensors_in(output):
    """Return the tensors in nested tuples, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for item in output for tensor in tensors_in(item)]'''
_RANDOM = '''\
def random_loss(outputs):
    """Return the inner product of the outputs with a random cotangent of norm 1."""
    outputs = [y for y in outputs if y.is_floating_point() or y.is_complex()]
    exact = (torch.float64, torch.complex64, torch.complex128)
    drawn = [
        torch.randn(y.shape, dtype=dtype, device="meta" if y.is_meta else "cpu")
        for y, dtype in [(y, y.dtype if y.dtype in exact else torch.float32) for y in outputs]
    ]
    norms = [torch.linalg.vector_norm(c) for c in drawn]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    products = [(c / norm).to(y).conj() * y for c, y in zip(drawn, outputs)]
    losses = [product.sum().real if product.is_complex() else product.sum() for product in products]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()'''
_MATCHING = '''\
def matching(wanted):
    """Yield each parameter once that has a name for which wanted(name) is true."""
    seen = set()
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if wanted(name) and id(parameter) not in seen:
            seen.add(id(parameter))
            yield parameter'''
_SEED_FOR = '''\
def seed_for(parameter):
    """Seed torch for one parameter: from the seed and its name, whatever else the network holds."""
    name = next(name for name, other in net.named_parameters() if other is parameter)
    digest = hashlib.sha256(f"{seed}:{{name}}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little"))'''
_PAD = """\
for module in net.modules():
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()"""
_TUPLES = ("RNN", "LSTM", "GRU", "LSTMCell", "MultiheadAttention", "AdaptiveLogSoftmaxWithLoss")
_PRINT = """\
for name, parameter in net.named_parameters():
    print(name, tuple(parameter.shape))
    print("data", parameter.data)
    print("grad", parameter.grad)
"""


def script(spec: Spec, rules: tuple[BoundRule, ...], torch: str) -> str:
    """Return the whole script; `torch` is the version to name in its first line.

    After it ran, ``net``, ``X``, ``Y`` and ``loss`` hold what this package computes for the same spec. Raises UserError
    where a scheme is left to a network that does not tell, or to an input that is not known.
    """
    title = f'"""{_title(spec)}: the experiment as plain PyTorch, written by paraminspect {__version__} on {torch}."""'
    scaled = _scaled(rules, spec)
    head = f"{title}\n\n{_imports(spec, rules, bool(scaled))}"
    definitions = [head, *_helpers(spec, rules, bool(scaled))]
    statements = [f"torch.manual_seed({spec.seed})", *_build(spec)]
    statements += [_tied(spec, tie) for tie in spec.ties]
    statements += _filled(rules, spec)
    if spec.input is not None:
        statements += [_drawn(spec.input, spec), *scaled, *_passes(spec)]
    body = "\n\n".join([*statements, _PRINT])
    return "\n\n\n".join([*definitions, body]) if len(definitions) > 1 else f"{head}\n\n{body}"


def _title(spec: Spec) -> str:
    """Return the name as it may stand in a docstring."""
    return "".join(c for c in spec.name if c.isprintable() and c not in '"\\') or "spec"


def _imports(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool) -> str:
    standard = ["import hashlib"] if _has_streams(rules) else []
    if scaled or any("math." in rule.scheme.helper(_dtype(spec)) for rule in rules):
        standard.append("import math")
    if any(is_named(group) for group in groups(spec.layers)):
        standard.append("from collections import OrderedDict")
    if any(_is_loop(rule) and not rule.rule.weights_or_biases for rule in rules):
        standard.append("from fnmatch import fnmatchcase")
    return "\n".join([*standard, *([""] if standard else []), "import torch", "from torch import nn"])


def _helpers(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool) -> Iterator[str]:
    """Yield the source of every function and class that the script needs and torch does not have."""
    types = {item.type for item in walk(spec.layers) if isinstance(item, (LayerItem, GroupItem))}
    for name in ("Residual", "PlainBiasLinear"):
        if name in types:
            yield _source(getattr(demo, name))
    helpers = [part for rule in rules for part in rule.scheme.helper(_dtype(spec)).strip().split("\n\n\n")]
    helpers += sources("lsuv_") if scaled else []
    yield from dict.fromkeys(filter(None, helpers))
    if is_reference(spec.loss):
        yield import_statement(spec.loss)
    elif _may_give_tuple(spec):
        yield _TENSORS_IN
    if spec.loss == "random" and not _one_known_output(spec):
        yield _RANDOM
    if any(map(_is_loop, rules)) and _shares(spec):
        yield _MATCHING
    if _has_streams(rules):
        yield _SEED_FOR.format(seed=spec.seed)


def _source(thing: Any) -> str:
    return inspect.getsource(thing).strip()


def _build(spec: Spec) -> Iterator[str]:
    device = spec.device or "cpu"
    call = NetworkWriter(spec).group("Sequential", spec.layers, "")
    if device == "meta":
        yield 'with torch.device("meta"):\n' + textwrap.indent(f"net = {call}", "    ")
    else:
        yield f"net = {call}"
    if spec.dtype:
        yield f"net = net.to(torch.{spec.dtype})"
    if device not in ("cpu", "meta"):
        yield f"net = net.to({quoted(device)})"


def _module(spec: Spec, path: str) -> str:
    """Write the expression for a module: net[0], net.hidden, or get_submodule where neither form is sure."""
    text = "net"
    if any(isinstance(item, (LayerItem, GroupItem, Ref)) and (item.name or "").isdigit() for item in walk(spec.layers)):
        return f"net.get_submodule({quoted(path)})"
    for part in path.split(".") if path else []:
        if not (part.isdigit() or part.isidentifier()):
            return f"net.get_submodule({quoted(path)})"
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text


def _tied(spec: Spec, tie: Tie) -> str:
    owners = [name.rpartition(".") for name in tie.names]
    return " = ".join(f"{_module(spec, owner)}.{leaf}" for owner, _, leaf in owners)


def _filled(rules: tuple[BoundRule, ...], spec: Spec) -> list[str]:
    """Write all the rules, and what embeddings need after them."""
    written = [_ruled(rule, spec) for rule in rules]
    if _has_streams(rules):
        written = ["with torch.random.fork_rng():\n" + textwrap.indent("\n\n".join(written), "    ")]
    return [*written, _PAD] if _fills_padding(rules, spec) else written


def _has_streams(rules: tuple[BoundRule, ...]) -> bool:
    return any(rule.seed_per_parameter for rule in rules)


def _fills_padding(rules: tuple[BoundRule, ...], spec: Spec) -> bool:
    """Tell whether a rule fills a weight with a padding row, which is to stay zero."""
    if not any(
        isinstance(item, LayerItem) and item.type in ("Embedding", "EmbeddingBag") for item in walk(spec.layers)
    ):
        return False
    padded = [target.names for target in targets_in(_on_meta(spec)) if padding_rows(target.owners)]
    return any(rule.matches(name) for names in padded for name in names for rule in rules)


def _ruled(rule: BoundRule, spec: Spec) -> str:
    """Write a rule as a loop over the parameters it touches, or one by one where each has a scheme of its own."""
    scheme = rule.scheme
    if isinstance(scheme, BoundScheme) and scheme.is_open:
        net = _on_meta(spec)
        settled = [(_attribute(spec, name), scheme.for_parameter(net, name)) for name in _matched(net, rule).values()]
        return "\n".join(_line(replace(rule, scheme=one), attribute, spec) for attribute, one in settled)
    kind = rule.rule.weights_or_biases
    test = f'{quoted(kind)} in name.rpartition(".")[2]' if kind else f"fnmatchcase(name, {quoted(rule.rule.params)})"
    line = _line(rule, "parameter", spec)
    if _shares(spec):
        return f"for parameter in matching(lambda name: {test}):\n{textwrap.indent(line, '    ')}"
    return f"for name, parameter in net.named_parameters():\n    if {test}:\n{textwrap.indent(line, '        ')}"


def _line(rule: BoundRule, target: str, spec: Spec) -> str:
    line = rule.scheme.line(target, _dtype(spec))
    return f"seed_for({target})\n{line}" if rule.seed_per_parameter else line


def _attribute(spec: Spec, name: str) -> str:
    owner, _, leaf = name.rpartition(".")
    return f"{_module(spec, owner)}.{leaf}"


def _on_meta(spec: Spec) -> nn.Module:
    """Build the network without memory, for what only its tree can tell."""
    return build(replace(spec, device="meta"))


def _matched(net: nn.Module, rule: BoundRule) -> dict[tuple[str, ...], str]:
    """Return the name by which a rule finds each parameter, under all the names that it has."""
    found = ((target.names, next(filter(rule.matches, target.names), "")) for target in targets_in(net))
    return {names: name for names, name in found if name}


def _is_loop(rule: BoundRule) -> bool:
    """Tell whether one statement fills every parameter of the rule: none of its arguments is left to the model."""
    return not (isinstance(rule.scheme, BoundScheme) and rule.scheme.is_open)


def _scaled(rules: tuple[BoundRule, ...], spec: Spec) -> list[str]:
    """Write the second step of the schemes that look at the input, for the weights that no later rule filled anew."""
    if spec.device == "meta" or not any(rule.needs_batch for rule in rules):
        return []
    net = _on_meta(spec)
    last: dict[tuple[str, ...], tuple[str, BoundRule]] = {}
    for rule in rules:
        last |= {names: (name, rule) for names, name in _matched(net, rule).items()}
    chosen = [(name, rule.scheme.args) for name, rule in last.values() if rule.needs_batch]
    if chosen and spec.input is None:
        message = "the scheme looks at the input, which is not known"
        raise UserError(message, where="lsuv", hint="pass --input, e.g. --input 64,784", code="no-input")
    limits = "".join(f"    {quoted(name)}: ({args['tol']!r}, {args['max_steps']!r}),\n" for name, args in chosen)
    return [f"lsuv_(net, X, {{\n{limits}}})"] if chosen else []


def _dtype(spec: Spec) -> str:
    """Return the dtype to write the initialisers for: a low precision if any layer has one, for some need a detour."""
    if spec.dtype:
        return spec.dtype
    return next((dtype for dtype in layer_dtypes(spec.layers) if dtype in LOW_PRECISION), "float32")


def _shares(spec: Spec) -> bool:
    """Tell whether a Parameter may go by several names, each of which a glob may match."""
    return bool(spec.ties) or any(isinstance(item, Ref) for item in walk(spec.layers))


def _drawn(wanted: Input, spec: Spec) -> str:
    device = spec.device or "cpu"
    shape = ", ".join(map(str, wanted.shape))
    meta = ', device="meta"' if device == "meta" else ""
    move = f".to({quoted(device)})" if device not in ("cpu", "meta") else ""
    if wanted.bounds:
        low, high = wanted.bounds
        dtype = f", dtype=torch.{wanted.dtype}" if wanted.dtype not in (None, "int64") else ""
        return f"X = torch.randint({low}, {high + 1}, {wanted.shape}{dtype}{meta}){move}"
    dtype = wanted.dtype or default_dtype(spec)
    suffix = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    return f"X = torch.{_DRAW[wanted.sample]}({shape}{suffix}{meta}){move}"


def _may_give_tuple(spec: Spec) -> bool:
    """Tell whether some layer returns more than one tensor, so that the last one may be it."""
    layers = [item for item in walk(spec.layers) if isinstance(item, LayerItem)]
    return any(
        layer.type in _TUPLES or resolve(layer.type, layer.args, layer.kwargs).get("return_indices") is True
        for layer in layers
    )


def _one_known_output(spec: Spec) -> bool:
    """Tell whether the network returns one tensor, of the dtype of all of it."""
    return not _may_give_tuple(spec) and (spec.dtype is not None or not any(layer_dtypes(spec.layers)))


def _random(spec: Spec) -> str:
    """Write the inner product with a random cotangent for the one output of the network."""
    dtype, device = spec.dtype or "float32", spec.device or "cpu"
    drawn_in = f", dtype=torch.{dtype}" if dtype == "float64" or "complex" in dtype else ""
    meta = ', device="meta"' if device == "meta" else ""
    is_moved = dtype in LOW_PRECISION or device not in ("cpu", "meta")
    product = f"({'C.to(Y)' if is_moved else 'C'}{'.conj()' if 'complex' in dtype else ''} * Y).sum()"
    return (
        f"C = torch.randn(Y.shape{drawn_in}{meta})\nC = C / torch.linalg.vector_norm(C)\n"
        f"loss = {product}{'.real' if 'complex' in dtype else ''}"
    )


def _loss(spec: Spec) -> str:
    """Write the loss, of all the tensors that the network returns if it may return several."""
    outputs = "tensors_in(Y)" if _may_give_tuple(spec) else "[Y]"
    if is_reference(spec.loss):
        return f"loss = {spec.loss.rpartition(':')[2]}(Y)"
    if spec.loss == "random":
        return _random(spec) if _one_known_output(spec) else f"loss = random_loss({outputs})"
    if not _may_give_tuple(spec):
        return _LOSS[spec.loss]
    found = f"outputs = [tensor for tensor in {outputs} if tensor.is_floating_point()]"
    if spec.loss in ("sum", "mean"):
        return f"{found}\nloss = torch.stack([tensor.{spec.loss}() for tensor in outputs]).sum()"
    return f"{found}\n{_LOSS[spec.loss].replace('Y', 'outputs[0]')}"


def _passes(spec: Spec) -> Iterator[str]:
    yield "Y = net(X)"
    yield _loss(spec)
    yield 'print("net", net)\nprint("X", X)\nprint("Y", Y)\nprint("loss", loss)'
    yield "if loss.requires_grad:\n    loss.backward()"
