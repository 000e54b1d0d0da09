"""What is compared: the schemes, each with all the rules of its trials, and the sizes of the model. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.init.schemes.registry import bind
from paraminspect.init.target_search import targets_in
from paraminspect.isolation.importing import check_target, is_reference
from paraminspect.spec.model import Rule

if TYPE_CHECKING:
    from torch import nn

    from paraminspect.modules.subject import Subject
    from paraminspect.sources.setup import Setup

AS_BUILT: Final = "default"
USUAL: Final = (AS_BUILT, "xavier_normal", "kaiming_normal:nonlinearity=relu", "lecun_normal", "orthogonal", "critical")


@dataclass(frozen=True)
class Contender:
    """A scheme to try: what the user calls it, and all the rules of its trial.

    An `optional` one that cannot fill the model is left out instead of failing; the rule `perhaps` is for parameters
    that need not be there.
    """

    name: str
    rules: tuple[BoundRule, ...] = ()
    optional: bool = False
    perhaps: BoundRule | None = None

    def rules_for(self, module: nn.Module) -> list[BoundRule]:
        """Return the rules, the one for what need not be there only where the module has a parameter for it."""
        targets = targets_in(module)
        return [rule for rule in self.rules if rule is not self.perhaps or any(map(rule.names_of, targets))]


@dataclass(frozen=True)
class Size:
    """The model at one width or depth; `rebuild` makes it anew from a seed that is so much later than the first."""

    rebuild: Callable[[int], Subject]
    width: int | None = None
    depth: int | None = None


def scheme_rules(given: Sequence[str] | None) -> dict[str, Rule | None]:
    """Return the rule of each scheme by what the user calls it, None for the model as it is built.

    Without any `given` these are the usual ones. Checked as far as that is possible without torch. Raises UserError for
    a scheme that is given twice.
    """
    rules: dict[str, Rule | None] = {}
    spellings: dict[str, str] = {}
    for name in given or USUAL:
        rule = None if name == AS_BUILT else _rule(name)
        spelling = name if rule is None else _spelling(rule)
        if spelling in spellings:
            first = spellings[spelling]
            message = f"{name!r} is given twice" if name == first else f"{name!r} is {first!r} again"
            raise UserError(message, where="--scheme", hint="leave one of them out", code="bad-option")
        rules[name], spellings[spelling] = rule, name
    return rules


def _rule(name: str) -> Rule:
    (rule,) = option_rules(name, None, ())
    return replace(rule, where=f"--scheme {name}")


def _spelling(rule: Rule) -> str:
    """Return the one spelling that a scheme has; raises UserError where there is no such scheme."""
    if is_reference(rule.scheme):
        check_target(rule.scheme)
        return rule.scheme
    return str(bind(rule.scheme, rule.args, where=rule.where))


def contenders_of(setup: Setup, rules: Mapping[str, Rule | None], usual: bool, bias: bool) -> list[Contender]:
    """Put each scheme where ``--scheme`` stands elsewhere: after the spec's own rules, before --bias and --rule.

    What is critical is a pair of variances, σw² and σb²: that scheme fills biases too, unless a rule for the `bias` is
    given. Of the `usual` schemes it is the one that need not fit the model.
    """
    contenders = []
    for name, rule in rules.items():
        scheme = () if rule is None else bind_rules([rule], True, setup.seed_per_parameter)
        perhaps = None
        if rule is not None and rule.scheme == "critical" and not bias:
            perhaps = replace(scheme[0], rule=replace(rule, params="*bias*", weights_or_biases="bias"))
            scheme = (*scheme, perhaps)
        every = (*setup.own_rules, *scheme, *setup.given_rules)
        contenders.append(Contender(name, every, usual and name == "critical", perhaps))
    return contenders


def sizes_of(setup: Setup, widths: Sequence[int], depths: Sequence[int]) -> list[Size]:
    """Return the model at every width and at every depth; without any, as it is."""
    sizes = [Size(setup.resized("width", width).subject, width=width) for width in widths]
    sizes += [Size(setup.resized("depth", depth).subject, depth=depth) for depth in depths]
    return sizes or [Size(setup.subject)]
