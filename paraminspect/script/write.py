"""A Spec as the PyTorch script a person would write by hand: no import of this package, the same bits."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from paraminspect import __version__
from paraminspect.init.rules import BoundRule
from paraminspect.modules.demo import PlainBiasLinear, Residual
from paraminspect.modules.subject import Loading
from paraminspect.script.initialisers import (
    fill_statements,
    loop_helpers,
    recipe_sources,
    scaling_statements,
    standard_imports,
)
from paraminspect.script.input_and_loss import input_statement, loss_helpers, pass_statements
from paraminspect.script.loading import loading_imports, loading_statements
from paraminspect.script.network import NetworkWriter, groups, is_named, module_expression, quoted, walk
from paraminspect.spec.model import GroupItem, LayerItem, Spec, Tie

_PRINT = """\
for name, parameter in net.named_parameters():
    print(name, tuple(parameter.shape))
    print("data", parameter.data)
    print("grad", parameter.grad)
"""


def script(
    spec: Spec,
    rules: tuple[BoundRule, ...],
    torch: str,
    loading: Loading | None = None,
    training: bool | None = None,
) -> str:
    """Return the whole script; `torch` is the version to name in its first line.

    Weights are loaded, and the mode that is wanted is set, before anything is initialised.

    After it ran, ``net``, ``X``, ``Y`` and ``loss`` hold what this package computes for the same spec. Raises UserError
    where a scheme is left to a network that does not tell, or to an input that is not known.
    """
    title = f'"""{_title(spec)}: the experiment as plain PyTorch, written by paraminspect {__version__} on {torch}."""'
    scaled = scaling_statements(rules, spec)
    head = f"{title}\n\n{_imports(spec, rules, bool(scaled), loading)}"
    definitions = [head, *_helpers(spec, rules, bool(scaled))]
    statements = [f"torch.manual_seed({spec.seed})", *_build(spec)]
    statements += [_tied(spec, tie) for tie in spec.ties]
    statements += [*loading_statements(loading, training), *fill_statements(rules, spec)]
    if spec.input is not None:
        statements += [input_statement(spec.input, spec), *scaled, *pass_statements(spec)]
    body = "\n\n".join([*statements, _PRINT])
    return "\n\n\n".join([*definitions, body]) if len(definitions) > 1 else f"{head}\n\n{body}"


def _title(spec: Spec) -> str:
    """Return the spec's name without the characters that cannot stand in a docstring."""
    return "".join(c for c in spec.name if c.isprintable() and c not in '"\\') or "spec"


def _imports(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool, loading: Loading | None) -> str:
    standard = standard_imports(spec, rules, scaled)
    if any(is_named(group) for group in groups(spec.layers)):
        standard.append("from collections import OrderedDict")
    standard.sort(key=lambda line: (line.startswith("from"), line))
    ours = ["import torch", *loading_imports(loading), "from torch import nn"]
    return "\n".join([*standard, *([""] if standard else []), *ours])


def _helpers(spec: Spec, rules: tuple[BoundRule, ...], scaled: bool) -> Iterator[str]:
    """Yield the source of every function and class that the script needs and torch does not have."""
    types = {item.type for item in walk(spec.layers) if isinstance(item, (LayerItem, GroupItem))}
    yield from (inspect.getsource(one).strip() for one in (Residual, PlainBiasLinear) if one.__name__ in types)
    yield from recipe_sources(spec, rules, scaled)
    yield from loss_helpers(spec)
    yield from loop_helpers(spec, rules)


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


def _tied(spec: Spec, tie: Tie) -> str:
    owners = [name.rpartition(".") for name in tie.names]
    return " = ".join(f"{module_expression(spec, owner)}.{leaf}" for owner, _, leaf in owners)
