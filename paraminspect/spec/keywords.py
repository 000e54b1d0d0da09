"""The arguments for the user's own code: the command line's ``--arg NAME=VALUE``, where VALUE is YAML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from paraminspect.errors import UserError
from paraminspect.spec.nodes import plain, shown
from paraminspect.spec.yaml import read_yaml

MAX_CHARACTERS: Final = 10_000
_FORM = "write NAME=VALUE, e.g. --arg depth=2 or --arg sizes=[4,8] or --arg name=small"


def parse_keywords(texts: Iterable[str]) -> dict[str, Any]:
    """Return the value of every ``--arg``: a number, true, false, null, a text, a list or a mapping of these.

    Raises UserError naming the option and what is wrong with it.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"{shown(text)} is not an argument", where="--arg", hint=_FORM, code="bad-option")
        if name in found:
            raise UserError(f"{name!r} is given twice", where="--arg", hint="keep one of them", code="bad-option")
        found[name] = _value(value, f"--arg {name}")
    return found


def _value(text: str, where: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        message = f"the value has {len(text):,} characters, {MAX_CHARACTERS:,} are the most"
        raise UserError(message, where=where, hint="name a function that takes it from a file", code="bad-option")
    node = read_yaml(text, where)
    if node is None:
        hint = "null is the value None, '' in quotes is an empty text"
        raise UserError("the value is missing", where=where, hint=hint, code="bad-option")
    return plain(node)
