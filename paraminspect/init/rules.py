"""Which scheme goes to which parameter: rules from a spec or the command line, bound to schemes."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.custom_scheme import CustomScheme, load_scheme
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.registry import bind, canonical_name, is_function_reference
from paraminspect.init.schemes.scheme import parse_scheme
from paraminspect.init.schemes.scheme_slips import explained
from paraminspect.init.slice_text import SliceText, split_slice
from paraminspect.spec.model import Rule
from paraminspect.text.numbers import plural, some_of

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.init.target import Target


@dataclass(frozen=True)
class BoundRule:
    """A rule whose scheme is known and whose arguments are checked.

    With `seed_per_parameter` each parameter it fills has random numbers of its own, which follow from the seed and the
    parameter's first name alone; without, they come from torch's global generator, in the order of the rules.
    `rows` is the slice of each parameter that the rule is for, `glob` what stands before it.
    """

    rule: Rule
    scheme: BoundScheme | CustomScheme
    seed_per_parameter: bool = False
    glob: str = ""
    rows: SliceText | None = None

    @property
    def needs_batch(self) -> bool:
        """Tell whether the scheme goes by what the layers return on a batch."""
        return self.scheme.needs_batch

    def names_of(self, target: Target) -> tuple[str, ...]:
        """Return the names by which the rule fills a target; none where it does not.

        A glob is about the full name alone. ``--scheme`` fills the weights that mix inputs, ``--bias`` the biases that
        are no shifts of normalisation layers, see `modules.mixing_weights`.
        """
        if not self.rule.weights_or_biases:
            from paraminspect.modules.walk import without_prefix

            globs = {self.glob, without_prefix(self.glob)}
            return tuple(name for name in target.names if any(fnmatchcase(name, glob) for glob in globs))
        owners = zip(target.names, target.owners, strict=True)
        return tuple(name for name, (owner, leaf) in owners if self._is_for(owner, leaf, target))

    def _is_for(self, owner: nn.Module, leaf: str, target: Target) -> bool:
        from paraminspect.modules.mixing_weights import is_of_norm, mixes_inputs

        kind = self.rule.weights_or_biases
        if kind not in leaf:
            return False
        return mixes_inputs(owner, leaf, target.known_shape) if kind == "weight" else not is_of_norm(owner, leaf)

    def leaves(self, target: Target) -> bool:
        """Tell whether the target is called what ``--scheme`` or ``--bias`` is for, and is left alone all the same."""
        kind = self.rule.weights_or_biases
        return bool(kind) and any(kind in leaf for _, leaf in target.owners) and not self.names_of(target)


def left_in_words(kind: str, norms: Sequence[str], others: Sequence[str]) -> str:
    """Say how many tensors ``--scheme`` (of the `kind` weight) or ``--bias`` leaves alone, and name the first.

    For example ``2 gains of normalisation layers (1.weight, 4.weight)``.
    """
    gains = plural(len(norms), "gain" if kind == "weight" else "shift")
    layers = "a normalisation layer" if len(norms) == 1 else "normalisation layers"
    found = [f"{gains} of {layers} ({some_of(norms)})"] if norms else []
    found += [f"{plural(len(others), f'other {kind}')} of single elements ({some_of(others)})"] if others else []
    return " and ".join(found)


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
        first, colon, rest = text.partition(":")
        is_colon_meant = bool(colon) and "=" not in first and canonical_name(rest.partition(":")[0]) is not None
        if not (glob and equals and wanted) or is_colon_meant:
            hint = "write GLOB=SCHEME, e.g. --rule '*=normal:std=0.02'"
            if is_colon_meant:
                hint = f"did you mean --rule {shlex.quote(f'{first}={rest}')}?"
            raise UserError(f"{text!r} is not a rule", where="--rule", hint=hint, code="bad-option")
        found.append(_option("--rule", wanted, glob, ""))
    return tuple(found)


def _option(option: str, text: str, glob: str, part: str) -> Rule:
    if is_function_reference(text):
        return Rule(glob, text, {}, option, part)
    try:
        name, args = parse_scheme(text, f"{option} {text}")
    except UserError as error:
        raise explained(error, text) from error
    return Rule(glob, name, args, option, part)


def bind_rules(rules: Iterable[Rule], allow_code: bool, seed_per_parameter: bool = False) -> tuple[BoundRule, ...]:
    """Look every scheme up and check its arguments; torch is not imported for torch's and our own schemes.

    A rule that names a Python function has it loaded with `allow_code`, and is refused with a UserError without.
    """
    return tuple(
        BoundRule(rule, _scheme(rule, allow_code), seed_per_parameter, *split_slice(rule.params)) for rule in rules
    )


def _scheme(rule: Rule, allow_code: bool) -> BoundScheme | CustomScheme:
    if not is_function_reference(rule.scheme):
        try:
            return bind(rule.scheme, rule.args, where=rule.where)
        except UserError as error:
            if not rule.where.startswith("--"):
                raise
            arguments = ",".join(f"{key}={value}" for key, value in rule.args.items())
            raise explained(error, f"{rule.scheme}:{arguments}" if arguments else rule.scheme) from error
    if not allow_code:
        message = f"scheme {rule.scheme!r} is Python code"
        hint = "a spec runs no code; pass --allow-code if you trust it, or name it with --scheme"
        raise UserError(message, where=rule.where, hint=hint, code="code-not-allowed")
    return load_scheme(rule.scheme, rule.args)
