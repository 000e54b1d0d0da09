"""How a script initialises the network: rule by rule, in a loop where one statement fills every parameter of a rule."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.init.fill_plan import choose, slice_names
from paraminspect.init.rules import BoundRule
from paraminspect.init.schemes.bound_scheme import LOW_PRECISION, BoundScheme, sources
from paraminspect.init.slice_target import SliceTarget
from paraminspect.init.target import Target, padding_rows
from paraminspect.init.target_search import targets_in
from paraminspect.modules.mixing_weights import is_norm
from paraminspect.script.network import module_expression, quoted, walk
from paraminspect.sources.sequential import build
from paraminspect.spec.inputs import layer_dtypes
from paraminspect.spec.model import LayerItem, Ref, Spec

if TYPE_CHECKING:
    from torch import nn

_MATRIX = 2
_MATCHING = '''\
def matching(wanted):
    """Yield each parameter once that has a name for which wanted(name) is true."""
    seen = set()
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if wanted(name) and id(parameter) not in seen:
            seen.add(id(parameter))
            yield parameter'''
_SEED_FOR = '''\
def seed_for(parameter{rows}):
    """Seed torch for one parameter: from the seed and its name, whatever else the network holds."""
    name = next(name for name, other in net.named_parameters() if other is parameter)
    digest = hashlib.sha256(f"{seed}:{{name}}{row}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little"))'''
_NORMS = """\
norms = {{
    f"{{path}}.{{name}}"
    for path, module in net.named_modules(remove_duplicate=False)
    if isinstance(module, {kinds})
    for name, _ in module.named_parameters(recurse=False)
}}"""
_PAD = """\
for module in net.modules():
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()"""


def standard_imports(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool) -> list[str]:
    """Return the imports from the standard library; `scaled` says that a scheme has a second step on the batch."""
    found = ["import hashlib"] if _has_streams(rules) else []
    if scaled or any("math." in rule.scheme.helper(_dtype(spec)) for rule in rules):
        found.append("import math")
    if any(_is_loop(rule) and not rule.rule.weights_or_biases for rule in rules):
        found.append("from fnmatch import fnmatchcase")
    return found


def recipe_sources(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool) -> list[str]:
    """Return the source of every function that fills a tensor and that torch does not have, each once."""
    found = [part for rule in rules for part in rule.scheme.helper(_dtype(spec)).strip().split("\n\n\n")]
    found += sources("lsuv_") if scaled else []
    return [*dict.fromkeys(filter(None, found))]


def loop_helpers(spec: Spec, rules: tuple[BoundRule, ...]) -> Iterator[str]:
    """Yield the source of what the loops over parameters call."""
    if any(map(_is_loop, rules)) and _shares(spec):
        yield _MATCHING
    if _has_streams(rules):
        sliced = any(rule.rows for rule in rules)
        yield _SEED_FOR.format(seed=spec.seed, rows=', rows=""' * sliced, row="{rows}" * sliced)


def fill_statements(rules: tuple[BoundRule, ...], spec: Spec) -> list[str]:
    """Write every rule in order, and what embeddings need after them."""
    written = [_rule_statement(rule, spec) for rule in rules]
    padded = [at for at, rule in enumerate(rules) if not rule.rows and _fills_padding(rule, spec)]
    if padded:
        written.insert(padded[-1] + 1, _PAD)
    if _has_streams(rules):
        written = ["with torch.random.fork_rng():\n" + textwrap.indent("\n\n".join(written), "    ")]
    return [*_norms(rules, spec), *written]


def _has_streams(rules: tuple[BoundRule, ...]) -> bool:
    return any(rule.seed_per_parameter for rule in rules)


def _fills_padding(rule: BoundRule, spec: Spec) -> bool:
    """Tell whether a rule fills a weight with a padding row, which is to stay zero."""
    if not any(
        isinstance(item, LayerItem) and item.type in ("Embedding", "EmbeddingBag") for item in walk(spec.layers)
    ):
        return False
    padded = [target for target in targets_in(_on_meta(spec)) if padding_rows(target.owners)]
    return any(rule.names_of(target) for target in padded)


def _rule_statement(rule: BoundRule, spec: Spec) -> str:
    """Write a rule as a loop over the parameters it touches, or one by one where each has a scheme of its own."""
    scheme = rule.scheme
    if rule.rows:
        return _slice_statement(rule, spec)
    if isinstance(scheme, BoundScheme) and scheme.is_open:
        net = _on_meta(spec)
        settled = [(_attribute(spec, name), scheme.for_parameter(net, name)) for name in _matches(net, rule).values()]
        return "\n".join(_line(replace(rule, scheme=one), attribute, spec) for attribute, one in settled)
    (test, matrices), line = _tests(rule, spec), _line(rule, "parameter", spec)
    if _shares(spec):
        if matrices:
            line = f"if {matrices}:\n{textwrap.indent(line, '    ')}"
        return f"for parameter in matching(lambda name: {test}):\n{textwrap.indent(line, '    ')}"
    test = f"{test} and {matrices}" if matrices else test
    return f"for name, parameter in net.named_parameters():\n    if {test}:\n{textwrap.indent(line, '        ')}"


def _slice_statement(rule: BoundRule, spec: Spec) -> str:
    """Write a rule for slices one by one, as views of the parameters: ``net[0].bias_hh_l0[16:32]``."""
    net = _on_meta(spec)
    lines = []
    for target, names in choose(rule, targets_in(net), slice_names(net)):
        assert isinstance(target, SliceTarget)
        attribute, rows = _attribute(spec, names[0]), target.rows
        if rule.seed_per_parameter:
            lines.append(f"seed_for({attribute}, {quoted(f'[{rows.numbers}]')})")
        line = rule.scheme.for_parameter(net, names[0]).line(f"{attribute}[{rows.numbers}]", _dtype(spec))
        lines.append(f"{line}  # {rows.name}" if rows.name and "#" not in line else line)
        lines += [f"{attribute}[{row}].zero_()" for row in target.padding]
    return f"with torch.no_grad():\n{textwrap.indent(chr(10).join(lines), '    ')}"


def _tests(rule: BoundRule, spec: Spec) -> tuple[str, str]:
    """Write what is true of the name that a rule fills, and of the parameter; what changes nothing is left out."""
    kind = rule.rule.weights_or_biases
    if not kind:
        return f"fnmatchcase(name, {quoted(rule.glob)})", ""
    left = _left(rule, spec)
    vectors = [target for target in left if kind == "weight" and len(target.known_shape or (0, 0)) < _MATRIX]
    norms = " and name not in norms" if len(vectors) < len(left) else ""
    return f'{quoted(kind)} in name.rpartition(".")[2]{norms}', f"parameter.dim() >= {_MATRIX}" if vectors else ""


def _left(rule: BoundRule, spec: Spec) -> list[Target]:
    """Return what is called weight or bias, and is not for the rule's ``--scheme`` or ``--bias``."""
    return list(filter(rule.leaves, targets_in(_on_meta(spec))))


def _norms(rules: tuple[BoundRule, ...], spec: Spec) -> Iterator[str]:
    """Yield the statement that collects the names which the tests call `norms`, where one of them does."""
    loops = [rule for rule in rules if _is_loop(rule) and rule.rule.weights_or_biases]
    if any(" norms" in _tests(rule, spec)[0] for rule in loops):
        owners = [owner for rule in loops for target in _left(rule, spec) for owner, _ in target.owners]
        kinds = sorted({f"nn.{type(owner).__name__}" for owner in owners if is_norm(owner)})
        yield _NORMS.format(kinds=kinds[0] if len(kinds) == 1 else f"({', '.join(kinds)})")


def _line(rule: BoundRule, target: str, spec: Spec) -> str:
    line = rule.scheme.line(target, _dtype(spec))
    return f"seed_for({target})\n{line}" if rule.seed_per_parameter else line


def _attribute(spec: Spec, name: str) -> str:
    owner, _, leaf = name.rpartition(".")
    return f"{module_expression(spec, owner)}.{leaf}"


def _on_meta(spec: Spec) -> nn.Module:
    """Build the network on the meta device, which takes no memory, to ask its tree."""
    return build(replace(spec, device="meta"))


def _matches(net: nn.Module, rule: BoundRule) -> dict[tuple[str, ...], str]:
    """Return the parameters that a rule matches: all the names of each, and the one by which the rule finds it."""
    found = ((target.names, rule.names_of(target)) for target in targets_in(net))
    return {names: matched[0] for names, matched in found if matched}


def _is_loop(rule: BoundRule) -> bool:
    """Tell whether one statement fills every parameter of the rule: none of its arguments is left to the model."""
    return not rule.rows and not (isinstance(rule.scheme, BoundScheme) and rule.scheme.is_open)


def scaling_statements(rules: tuple[BoundRule, ...], spec: Spec) -> list[str]:
    """Write the second step of the schemes that look at the input, for the weights that no later rule filled anew."""
    if spec.device == "meta" or not any(rule.needs_batch for rule in rules):
        return []
    net = _on_meta(spec)
    last: dict[tuple[str, ...], tuple[str, BoundRule]] = {}
    for rule in rules:
        last |= {names: (name, rule) for names, name in _matches(net, rule).items() if not rule.rows}
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
