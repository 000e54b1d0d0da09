"""The schemes by name, and a name with arguments turned into a scheme that can run. Nothing here imports torch."""

from __future__ import annotations

import importlib
import operator
import pkgutil
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from paraminspect.errors import UserError, did_you_mean
from paraminspect.init.schemes import families
from paraminspect.init.schemes.bound_scheme import BoundScheme
from paraminspect.init.schemes.scheme import REQUIRED, Argument, Scheme

ELSEWHERE: Final = {
    "default": "that is what compare calls the model as it is built: leave the scheme out",
    "glorot_normal": "torch calls it 'xavier_normal'",
    "glorot_uniform": "torch calls it 'xavier_uniform'",
    "he_normal": "torch calls it 'kaiming_normal'",
    "he_uniform": "torch calls it 'kaiming_uniform'",
    "random_normal": "torch calls it 'normal'",
    "random_uniform": "torch calls it 'uniform'",
}
"""What other frameworks call the schemes; these are not accepted, only explained."""


def _collect() -> Mapping[str, Scheme]:
    """Gather SCHEMES from every module in `families`: a new family is one new file."""
    found: dict[str, Scheme] = {}
    for module in sorted(pkgutil.iter_modules(families.__path__), key=lambda info: info.name):
        for scheme in importlib.import_module(f"{families.__name__}.{module.name}").SCHEMES:
            if scheme.name in found:
                raise RuntimeError(f"two families define the scheme {scheme.name!r}")
            found[scheme.name] = scheme
    return MappingProxyType(found)


SCHEMES: Final = _collect()
"""Every scheme by its name, families in alphabetical order."""


def canonical_name(name: str) -> str | None:
    """Return the name in `SCHEMES` that `name` spells, or None: ``nn.init.normal_`` and ``normal_`` are ``normal``."""
    for prefix in ("torch.nn.init.", "nn.init.", "init."):
        name = name.removeprefix(prefix)
    name = name.removesuffix("_")
    return name if name in SCHEMES else None


def known_name(name: str, *, where: str = "") -> str:
    """Return the name in `SCHEMES` that `name` spells; raises `UserError`, placed at `where`, when none does."""
    canonical = canonical_name(name)
    if canonical is None:
        raise _unknown_scheme(name, where)
    return canonical


def is_function_reference(text: str) -> bool:
    """Tell whether `text` names a Python function, as ``path/file.py:func`` or ``pkg.mod:func``.

    What stands before the first colon must not be a scheme: ``normal:std`` is a scheme that misses its ``=``.
    """
    left, colon, right = text.rpartition(":")
    dotted = all(word.isidentifier() for word in right.split("."))
    return bool(colon and left) and dotted and canonical_name(text.partition(":")[0]) is None


def bind(name: str, given: Mapping[str, Any], *, where: str = "") -> BoundScheme:
    """Return the scheme `name` with the arguments `given` and its defaults for the rest.

    Raises `UserError`, placed at `where`, for an unknown scheme or argument, a missing argument, a value of
    another type, outside its range, or in conflict with another.
    """
    scheme = SCHEMES[known_name(name, where=where)]
    _refuse_unknown_arguments(scheme, given, where)
    args = {argument.name: _value(scheme, argument, given, where) for argument in scheme.arguments}
    conflict = scheme.conflict(args)
    if conflict:
        values = ", ".join(f"{key}={value}" for key, value in args.items())
        raise UserError(f"{scheme.name}: {conflict}", where=where, hint=f"it has {values}", code="bad-argument")
    return BoundScheme(scheme, args)


def _unknown_scheme(name: str, where: str) -> UserError:
    meant = ELSEWHERE.get(name) or did_you_mean(name, SCHEMES)
    hint = "; ".join(filter(None, [meant, "'paraminspect schemes' lists them all"]))
    return UserError(f"unknown scheme {name!r}", where=where, hint=hint, code="unknown-scheme")


def _refuse_unknown_arguments(scheme: Scheme, given: Mapping[str, Any], where: str) -> None:
    known = [argument.name for argument in scheme.arguments]
    for name in given:
        if name not in known:
            takes = f"{scheme.name} takes {', '.join(known) or 'no arguments'}"
            hint = "; ".join(filter(None, [did_you_mean(str(name), known), takes]))
            message = f"{scheme.name} has no argument {name!r}"
            raise UserError(message, where=where, hint=hint, code="unknown-argument")


def _value(scheme: Scheme, argument: Argument, given: Mapping[str, Any], where: str) -> Any:
    """Return the value of one argument, given or default, as the argument's type; raises UserError if it cannot be."""
    if argument.name in given:
        return _converted(scheme, argument, given[argument.name], where)
    if argument.default is REQUIRED:
        hint = f"{argument.name} is {argument.doc}, e.g. {scheme.name}:{argument.name}=0.5"
        raise UserError(f"{scheme.name} needs {argument.name}", where=where, hint=hint, code="missing-argument")
    return argument.default


def _converted(scheme: Scheme, argument: Argument, value: Any, where: str) -> Any:
    """Return `value` as the argument's type; ``2`` is a float, ``True`` is no number, NaN and infinity are refused."""
    if argument.check is not None:
        return _checked(scheme, argument, argument.check, value, where)
    fault = _wrong_choice(argument, value) if argument.type == "str" else _wrong_number(argument, value)
    if fault:
        message = f"{argument.name} of {scheme.name} must be {fault}; got {value!r}"
        raise UserError(message, where=where, code="bad-argument")
    return {"str": str, "int": int, "float": float}[argument.type](value)


def _checked(scheme: Scheme, argument: Argument, check: Callable[[Any], None], value: Any, where: str) -> Any:
    """Return `value` if the argument's own check lets it pass."""
    try:
        check(value)
    except UserError as error:
        message = f"{argument.name} of {scheme.name}: {error.message}"
        raise UserError(message, where=where, hint=error.hint, code="bad-argument") from error
    return value


def _wrong_choice(argument: Argument, value: Any) -> str:
    return "" if value in argument.choices else f"one of {', '.join(argument.choices)}"


def _wrong_number(argument: Argument, value: Any) -> str:
    """Return what `value` must be and is not, in the words of an error message, or an empty text."""
    numbers = int if argument.type == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, numbers):
        return "a whole number" if argument.type == "int" else "a number"
    if not -sys.float_info.max <= value <= sys.float_info.max:
        return "a finite number"
    limits = {
        "at least": (argument.at_least, operator.ge),
        "above": (argument.above, operator.gt),
        "below": (argument.below, operator.lt),
    }
    given = {word: (limit, holds) for word, (limit, holds) in limits.items() if limit is not None}
    if all(holds(value, limit) for limit, holds in given.values()):
        return ""
    return " and ".join(f"{word} {limit:g}" for word, (limit, _) in given.items())
