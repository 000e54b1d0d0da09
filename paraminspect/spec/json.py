"""JSON to a tree: the standard parser says whether the text is right, its tokens say where things stand."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Final

from paraminspect.spec.composer import Composer
from paraminspect.spec.nodes import Mark, Node, syntax_error
from paraminspect.spec.scalars import checked_text, plain_value

_TOKEN: Final = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([-+.\w]+)|([\[\]{},:]))', re.DOTALL)


def read_json(text: str, label: str) -> Node | None:
    """Return the tree of a JSON document; None for no text. Raises UserError."""
    if not text.strip():
        return None
    try:
        json.loads(text, parse_int=float, parse_constant=str)
    except json.JSONDecodeError as error:
        problem = re.sub(" at$", " here", error.msg[:1].lower() + error.msg[1:])
        raise syntax_error(f"not valid JSON: {problem}", Mark(label, error.lineno, error.colno)) from None
    except RecursionError:
        pass  # the walk below stops at the place where it gets too deep
    composer = Composer()
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    for token in _TOKEN.finditer(text):
        line = bisect_right(starts, token.start(token.lastindex or 0))
        mark = Mark(label, line, token.start(token.lastindex or 0) - starts[line - 1] + 1)
        _compose_token(composer, token, mark)
    return composer.root


def _compose_token(composer: Composer, token: re.Match[str], mark: Mark) -> None:
    string, atom, sign = token.groups()
    if string:
        composer.scalar(checked_text(json.loads(string), mark), mark)
    elif atom in ("NaN", "Infinity", "-Infinity"):
        raise syntax_error(f"{atom} is not a finite number", mark)
    elif atom:
        composer.scalar(plain_value(atom, mark), mark)
    elif sign in "[{":
        composer.open("sequence" if sign == "[" else "mapping", mark)
    elif sign in "]}":
        composer.close()
