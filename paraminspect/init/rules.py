"""Which scheme goes to which parameter: rules bound to schemes, and applied in the order written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.custom import CustomScheme, load_scheme
from paraminspect.init.defaults import bias_fan_in, default_moments
from paraminspect.init.registry import bind
from paraminspect.init.scheme import BoundScheme, Moments
from paraminspect.init.text import is_function_reference, parse_scheme
from paraminspect.render.escape import some_names
from paraminspect.report import Init
from paraminspect.spec.model import Rule

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BoundRule:
    """A rule whose scheme is known and whose arguments are checked."""

    rule: Rule
    scheme: BoundScheme | CustomScheme

    def matches(self, name: str) -> bool:
        """Tell whether the rule's glob matches a parameter's full name."""
        if self.rule.weights_or_biases:
            return self.rule.weights_or_biases in name.rpartition(".")[2]
        return fnmatchcase(name, self.rule.params)


def option_rules(scheme: str | None, bias: str | None, rules: Iterable[str]) -> tuple[Rule, ...]:
    """Turn ``--scheme``, ``--bias`` and ``--rule GLOB=SCHEME`` into rules, in that order.

    Raises UserError naming the option.
    """
    found = []
    if scheme is not None:
        found.append(_option("--scheme", scheme, "*weight*", "weight"))
    if bias is not None:
        found.append(_option("--bias", bias, "*bias*", "bias"))
    for text in rules:
        glob, equals, wanted = text.partition("=")
        if not (glob and equals and wanted):
            hint = "write GLOB=SCHEME, e.g. --rule '0.*=normal:std=0.02'"
            raise UserError(f"{text!r} is not a rule", where="--rule", hint=hint, code="bad-option")
        found.append(_option("--rule", wanted, glob, ""))
    return tuple(found)


def _option(option: str, text: str, glob: str, part: str) -> Rule:
    if is_function_reference(text):
        return Rule(glob, text, {}, option, part)
    name, args = parse_scheme(text, f"{option} {text}")
    return Rule(glob, name, args, option, part)


def bind_rules(rules: Iterable[Rule], allow_code: bool) -> tuple[BoundRule, ...]:
    """Look every scheme up and check its arguments; torch is not imported for torch's and our own schemes.

    A rule that names a Python function has it loaded with `allow_code`, and is refused with a UserError without.
    """
    return tuple(BoundRule(rule, _scheme(rule, allow_code)) for rule in rules)


def _scheme(rule: Rule, allow_code: bool) -> BoundScheme | CustomScheme:
    if not is_function_reference(rule.scheme):
        return bind(rule.scheme, rule.args, where=rule.where)
    if not allow_code:
        message = f"scheme {rule.scheme!r} is Python code"
        hint = "a spec runs no code; pass --allow-code if you trust it, or name it with --scheme"
        raise UserError(message, where=rule.where, hint=hint, code="code-not-allowed")
    return load_scheme(rule.scheme, rule.args)


def targets(module: nn.Module, rule: BoundRule) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters a rule touches, each once however many names it has, in order of registration.

    Raises UserError when no name matches.
    """
    from paraminspect.analysis.inventory import names_of

    found = []
    for parameter, names in names_of(module):
        name = next(filter(rule.matches, names), None)
        if name is not None:
            found.append((name, parameter))
    if not found:
        raise _no_match(module, rule.rule)
    return found


def _no_match(module: nn.Module, rule: Rule) -> UserError:
    from paraminspect.analysis.inventory import names_of

    names = [name for _, found in names_of(module) for name in found]
    if rule.weights_or_biases:
        message = f"no parameter is a {rule.weights_or_biases}: none has it in the last part of its name"
    else:
        message = f"{rule.params!r} matches no parameter"
    hint = did_you_mean(rule.params, names) or f"parameters: {some_names(names)}"
    return UserError(message, where=rule.where, hint=hint, code="glob-matches-nothing")


@dataclass(frozen=True)
class Applied:
    """What a parameter's last rule did, and the moments its values should have."""

    init: Init
    moments: Moments | None


def apply_rules(module: nn.Module, rules: tuple[BoundRule, ...]) -> dict[int, Applied]:
    """Run every rule in order; a later one wins, and says which it overrode. Keyed by the id of the Parameter.

    Everything is checked before anything is changed, except what only a user's function can know.
    Raises UserError naming the parameter that a scheme cannot fill.
    """
    plan = [(rule, targets(module, rule)) for rule in rules]
    for rule, matched in plan:
        for name, parameter in matched:
            _check(rule, name, parameter)
    done: dict[int, Applied] = {}
    for rule, matched in plan:
        for name, parameter in matched:
            rule.scheme.apply(parameter, name)
            done[id(parameter)] = _describe(rule, parameter, done.get(id(parameter)))
    return done


def _check(rule: BoundRule, name: str, parameter: nn.Parameter) -> None:
    from torch.nn.parameter import is_lazy

    if is_lazy(parameter):
        message = f"parameter {name!r} has no shape before the first forward"
        raise UserError(message, where=rule.rule.where, hint="give the layer its sizes", code="lazy-parameter")
    try:
        rule.scheme.check(name, tuple(parameter.shape), str(parameter.dtype).removeprefix("torch."))
    except UserError as error:
        where = ": ".join(filter(None, (rule.rule.where, error.where)))
        raise UserError(error.message, where=where, hint=error.hint, code=error.code) from error


def _describe(rule: BoundRule, parameter: nn.Parameter, before: Applied | None) -> Applied:
    shape = tuple(parameter.shape)
    fan_in, fan_out = rule.scheme.fans(shape) or (None, None)
    overridden = () if before is None else (*before.init.overridden, before.init.rule or before.init.scheme)
    moments = rule.scheme.moments(shape)
    init = Init(
        scheme=rule.scheme.name,
        args=dict(rule.scheme.args),
        expected_mean=moments.mean if moments else None,
        expected_std=moments.std if moments else None,
        fan_in=fan_in,
        fan_out=fan_out,
        rule=str(rule.rule),
        overridden=overridden,
    )
    return Applied(init, moments)


def constructed(owner: nn.Module, name: str, parameter: nn.Parameter) -> Applied | None:
    """Describe what torch's own constructor did to a parameter no rule touched; None where it is not known.

    It looks at what `owner` holds and asks for no attribute: a parametrised weight would be computed by that.
    """
    kind = type(owner)
    if not kind.__module__.startswith("torch.nn.") or parameter.is_complex():
        return None
    held = vars(owner)
    weight = tuple(getattr(held["_parameters"].get("weight", held.get("weight")), "shape", ()))
    leaf = name.rpartition(".")[2]
    moments = default_moments(kind.__name__, leaf, tuple(parameter.shape), bias_fan_in(kind.__name__, weight))
    if moments is None:
        return None
    return Applied(Init("default", expected_mean=moments.mean, expected_std=moments.std), moments)
