"""Digests of tensors as a text that a person can read and diff: a line each, ``digest  dtype  shape  name``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from paraminspect.errors import UserError
from paraminspect.rules.expectation_rules import TensorDigest

_HEAD: Final = "# paraminspect digests, version 1"
_EXPLAINED: Final = (
    '# the first 16 hex digits of SHA-256 over a line "dtype shape" and the elements; dtype; shape; name'
)
_UNKNOWN = "-" * 16
_LINE = re.compile(r"(-{16}|[0-9a-f]{16})\s+(\S+)\s+(\(\)|\d+(?:x\d+)*)\s+(\S.*)")


def digests_as_text(digests: Mapping[str, TensorDigest]) -> Iterator[str]:
    """Yield the lines, in the order of the tensors. A name with other than plain characters is quoted as in JSON."""
    yield f"{_HEAD}\n{_EXPLAINED}\n"
    shapes = {name: "x".join(map(str, one.shape)) or "()" for name, one in digests.items()}
    wide = max((len(one.dtype) for one in digests.values()), default=0)
    long = max(map(len, shapes.values()), default=0)
    for name, one in digests.items():
        plain = name.isprintable() and name == name.strip() and name[:1] not in ('"', "")
        written = name if plain else json.dumps(name)
        yield f"{one.digest or _UNKNOWN}  {one.dtype:<{wide}}  {shapes[name]:<{long}}  {written}\n"


def digests_in(text: str, where: str) -> dict[str, TensorDigest]:
    """Return the digests by name. Raises UserError, placed at file and line, for what is no such text."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith(_HEAD.rpartition(" ")[0]):
        hint = "check SOURCE --write-digest FILE writes one"
        raise UserError("is no list of digests", where=where, hint=hint, code="bad-digests")
    if lines[0] != _HEAD:
        raise UserError(
            "is a list of another version", where=f"{where}:1", hint=f"begin it {_HEAD!r}", code="bad-digests"
        )
    found: dict[str, TensorDigest] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line.rstrip())
        try:
            name = parts[4] if parts is not None and parts[4][0] != '"' else json.loads(parts[4] if parts else "")
        except ValueError:
            name = None
        if parts is None or not isinstance(name, str) or name in found:
            message = f"{name!r} stands there twice" if name in found else "is no line of digest, dtype, shape and name"
            raise UserError(message, where=f"{where}:{number}", hint="write the list again", code="bad-digests")
        shape = () if parts[3] == "()" else tuple(map(int, parts[3].split("x")))
        found[name] = TensorDigest(None if parts[1] == _UNKNOWN else parts[1], parts[2], shape)
    return found
