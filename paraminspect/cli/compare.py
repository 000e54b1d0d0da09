"""`paraminspect compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from paraminspect import output
from paraminspect.cli import picture, session
from paraminspect.cli.options import Call, Format, Notes, Output, Passes, Rows, Rules, Setting, Source, check_seeds
from paraminspect.cli.picture import Plot
from paraminspect.errors import UserError

if TYPE_CHECKING:
    from paraminspect.experiments.comparison.trials import Contender, Size
    from paraminspect.modules.subject import Subject
    from paraminspect.sources.locate import Reference
    from paraminspect.spec.model import Rule, Spec

AS_BUILT: Final = "default"
USUAL: Final = (AS_BUILT, "xavier_normal", "kaiming_normal:nonlinearity=relu", "lecun_normal", "orthogonal", "critical")
_DIGITS = 18


def _schemes(incomplete: str) -> list[str]:
    from paraminspect.init.schemes.registry import SCHEMES

    return [name for name in (AS_BUILT, *SCHEMES) if name.startswith(incomplete)]


@dataclass(frozen=True)
class Schemes(Rules):
    """The schemes to compare; the other rules go with all of them alike."""

    scheme: Annotated[
        list[str] | None,
        typer.Option(
            "--scheme",
            metavar="SCHEME",
            help="Compare this one for the weights; default: as built. Repeatable. Without: the usual ones.",
            autocompletion=_schemes,
        ),
    ] = None  # type: ignore[assignment]  # here it is repeatable


@dataclass(frozen=True)
class Trials:
    """How often, and at which sizes, each scheme is tried, and where it is drawn."""

    seeds: Annotated[int, typer.Option("--seeds", metavar="K", help="Try each from K seeds on end.")] = 5
    width: Annotated[
        str | None,
        typer.Option(
            "--width", metavar="N,N", help="At these hidden widths, with the slopes across them: 64,256,1024."
        ),
    ] = None
    depth: Annotated[
        str | None,
        typer.Option("--depth", metavar="N,N", help="At these depths: hidden layers of an MLP, times of a Repeat."),
    ] = None
    plot: Plot = None

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if self.width is not None and self.depth is not None:
            hint = "what one of them does is seen while the other stays: leave one out"
            raise UserError("not together with --width", where="--depth", hint=hint, code="bad-option")


def compare(
    source: Source,
    schemes: Schemes,
    trials: Trials,
    passes: Passes,
    setting: Setting,
    call: Call,
    printing: Output,
    notes: Notes,
) -> int:
    """Set initialisation schemes side by side on one model and input: which of them keeps the signal steady?"""
    rules = _rules(schemes.scheme)
    widths, depths = _numbers("--width", trials.width), _numbers("--depth", trials.depth)
    path = picture.chosen(trials.plot)
    prepared = session.prepare(source, call, replace(schemes, scheme=None), setting, notes, passes)
    contenders = [_contender(name, rule, prepared, schemes) for name, rule in rules.items()]
    sizes = [*_resized(prepared, "width", widths), *_resized(prepared, "depth", depths)] or [_as_it_is(prepared)]
    from paraminspect.experiments.compare import compare as run

    quiet = notes.quiet or printing.json or printing.format is Format.json
    with output.progress(len(contenders) * len(sizes) * trials.seeds, "runs", wanted=not quiet) as advance:
        report = run(contenders, sizes, trials.seeds, advance)
    return session.finish(picture.drawn(report, path), Rows(), printing, notes)


# --- the schemes -------------------------------------------------------------------------------------------------


def _rules(given: list[str] | None) -> dict[str, Rule | None]:
    """Return the rule of each scheme by what the user calls it, None for the model as it is built.

    Checked as far as that is possible without torch. Raises UserError for a scheme that is given twice.
    """
    found: dict[str, Rule | None] = {}
    known: dict[str, str] = {}
    for name in given or USUAL:
        rule = None if name == AS_BUILT else _rule(name)
        spelled = name if rule is None else _spelled(rule)
        if spelled in known:
            message = f"{name!r} is given twice" if name == known[spelled] else f"{name!r} is {known[spelled]!r} again"
            raise UserError(message, where="--scheme", hint="leave one of them out", code="bad-option")
        found[name], known[spelled] = rule, name
    return found


def _rule(name: str) -> Rule:
    from paraminspect.init.rules import option_rules

    (rule,) = option_rules(name, None, ())
    return replace(rule, where=f"--scheme {name}")


def _spelled(rule: Rule) -> str:
    """Return the one spelling that a scheme has; raises UserError where there is no such scheme."""
    from paraminspect.init.schemes.registry import bind
    from paraminspect.isolation.importing import check_target, is_reference

    if is_reference(rule.scheme):
        check_target(rule.scheme)
        return rule.scheme
    return str(bind(rule.scheme, rule.args, where=rule.where))


def _contender(name: str, rule: Rule | None, prepared: session.Prepared, schemes: Schemes) -> Contender:
    """Put a scheme where ``--scheme`` stands elsewhere: after the spec's own rules, before --bias and --rule.

    What is critical is a pair of variances, σw² and σb²: that scheme fills biases too, unless --bias does.
    """
    from paraminspect.experiments.comparison.trials import Contender
    from paraminspect.init.rules import bind_rules
    from paraminspect.sources.locate import Reference

    own, apart = 0, schemes.seed_per_parameter
    if not isinstance(prepared.source, Reference):
        own, apart = len(prepared.source.init), apart or prepared.source.seed_per_parameter
    tried = () if rule is None else bind_rules([rule], allow_code=True, seed_per_parameter=apart)
    perhaps = None
    if rule is not None and rule.scheme == "critical" and schemes.bias is None:
        perhaps = replace(tried[0], rule=replace(rule, params="*bias*", weights_or_biases="bias"))
        tried = (*tried, perhaps)
    optional = schemes.scheme is None and name == "critical"
    return Contender(name, (*prepared.rules[:own], *tried, *prepared.rules[own:]), optional, perhaps)


# --- the sizes ---------------------------------------------------------------------------------------------------


def _numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Read ``64,256,1024``: whole numbers of at least 1, each once, in the order given."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    found = tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) <= _DIGITS)
    if len(found) < len(words) or not all(found) or len(set(found)) < len(found):
        message = f"{text!r} is not one or more different whole numbers of at least 1, with commas between them"
        hint = f"for example: {option} {'5,10,20' if option == '--depth' else '64,256,1024'}"
        raise UserError(message, where=option, hint=hint, code="bad-option")
    return found


def _as_it_is(prepared: session.Prepared) -> Size:
    from paraminspect.experiments.comparison.trials import Size

    return Size(prepared.subject)


def _resized(prepared: session.Prepared, what: str, numbers: Iterable[int]) -> Iterator[Size]:
    """Yield the model with each number as its width or depth: another spec, or an argument of the user's code."""
    from paraminspect.experiments.comparison.trials import Size
    from paraminspect.sources.locate import Reference

    for number in numbers:
        found = prepared.source
        resized = _called(found, what, number) if isinstance(found, Reference) else _respecified(found, what, number)
        rebuild = replace(prepared, source=resized).subject
        placed = _placed(rebuild, f"--{what}") if isinstance(found, Reference) else rebuild
        yield Size(placed, **{what: number})


def _called(reference: Reference, what: str, number: int) -> Reference:
    if what in reference.args:
        raise UserError(f"{what!r} is given twice", where=f"--arg {what}", hint="keep one of them", code="bad-option")
    return replace(reference, args=reference.args | {what: number})


def _placed(rebuild: Callable[[int], Subject], option: str) -> Callable[[int], Subject]:
    """Say in an error about the arguments which option gave them."""

    def placed(later: int) -> Subject:
        try:
            return rebuild(later)
        except UserError as error:
            where = option if error.where == "--arg" else error.where
            raise UserError(error.message, where=where, hint=error.hint, code=error.code) from error

    return placed


def _respecified(spec: Spec, what: str, number: int) -> Spec:
    from paraminspect.spec.footprint import check_memory
    from paraminspect.spec.model import resolve_references
    from paraminspect.spec.resize import with_depth, with_width

    resized = with_width(spec, number) if what == "width" else with_depth(spec, number)
    check_memory(resized, backward=True)
    resolve_references(resized)
    return resized
