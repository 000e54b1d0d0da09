"""Which scheme goes to which parameter: rules from a spec or the command line, bound to schemes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from paraminspect.errors import UserError
from paraminspect.init.custom_scheme import CustomScheme, load_scheme
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.registry import bind, is_function_reference
from paraminspect.init.schemes.scheme import parse_scheme
from paraminspect.spec.model import Rule


@dataclass(frozen=True)
class BoundRule:
    """A rule whose scheme is known and whose arguments are checked.

    With `seed_per_parameter` each parameter it fills has random numbers of its own, which follow from the seed and the
    parameter's first name alone; without, they come from torch's global generator, in the order of the rules.
    """

    rule: Rule
    scheme: BoundScheme | CustomScheme
    seed_per_parameter: bool = False

    @property
    def needs_batch(self) -> bool:
        """Tell whether the scheme goes by what the layers return on a batch."""
        return self.scheme.needs_batch

    def matches(self, name: str) -> bool:
        """Tell whether the rule's glob matches a parameter's full name."""
        if self.rule.weights_or_biases:
            return self.rule.weights_or_biases in name.rpartition(".")[2]
        return fnmatchcase(name, self.rule.params)


def seed_of(seed: int, name: str) -> int:
    """Return the 64 bits, from SHA-256, that seed the stream of the parameter that first goes by `name`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode(errors="surrogatepass")).digest()[:8], "little")


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


def bind_rules(rules: Iterable[Rule], allow_code: bool, seed_per_parameter: bool = False) -> tuple[BoundRule, ...]:
    """Look every scheme up and check its arguments; torch is not imported for torch's and our own schemes.

    A rule that names a Python function has it loaded with `allow_code`, and is refused with a UserError without.
    """
    return tuple(BoundRule(rule, _scheme(rule, allow_code), seed_per_parameter) for rule in rules)


def _scheme(rule: Rule, allow_code: bool) -> BoundScheme | CustomScheme:
    if not is_function_reference(rule.scheme):
        return bind(rule.scheme, rule.args, where=rule.where)
    if not allow_code:
        message = f"scheme {rule.scheme!r} is Python code"
        hint = "a spec runs no code; pass --allow-code if you trust it, or name it with --scheme"
        raise UserError(message, where=rule.where, hint=hint, code="code-not-allowed")
    return load_scheme(rule.scheme, rule.args)
