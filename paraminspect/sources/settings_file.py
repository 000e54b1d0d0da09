"""The settings of `check` in a project: ``[tool.paraminspect]`` of pyproject.toml, or a paraminspect.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from paraminspect.errors import UserError, did_you_mean
from paraminspect.frozen import dataclass

OWN, PYPROJECT = "paraminspect.toml", "pyproject.toml"
_TABLE: Final = "tool.paraminspect"
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class Settings:
    """What a file sets, as far as it does; `where` is the file, and the table in it.

    IDs of rules are as written. `per_name_ignores` has the rules to ignore by a glob for names. The path of `baseline`
    is relative to the folder that the command runs in, or absolute.
    """

    where: str = ""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_name_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    fail_on: str | None = None
    baseline: str | None = None


def find_settings(folder: Path) -> Settings:
    """Return the settings that are nearest, in the folder or above it; those that set nothing where there are none.

    A paraminspect.toml comes before a pyproject.toml beside it, and a pyproject.toml without our table is passed over.
    Raises UserError for what is wrong in the file.
    """
    for place in (folder, *folder.parents):
        for name in (OWN, PYPROJECT):
            path = place / name
            if path.is_file() and (name == OWN or "paraminspect" in _text(path)):
                table = _table(path, named=False)
                if table is not None:
                    return _settings(table, path)
    return Settings()


def read_settings(file: str) -> Settings:
    """Return the settings of the file that is named. Raises UserError for one that has none."""
    path = Path(file)
    if not path.is_file():
        raise UserError("no such file", where=f"--config {file}", hint="name a .toml file", code="no-such-file")
    table = _table(path, named=True)
    if table is None:
        hint = f"begin the settings with [{_TABLE}]"
        raise UserError(f"has no [{_TABLE}]", where=file, hint=hint, code="bad-settings")
    return _settings(table, path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte {error.start}"
        raise UserError(message, where=_shown(path), hint="TOML is UTF-8", code="bad-settings") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read: {reason}", where=_shown(path), code="bad-settings") from error


def _shown(path: Path) -> str:
    """Return a path as a person would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _table(path: Path, named: bool) -> dict[str, Any] | None:
    """Return our table: in pyproject.toml below its name, in a file of ours, or one that is `named`, at the top too."""
    try:
        whole = tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _PLACE.search(str(error))
        last = len(_text(path).splitlines())
        place = "" if not found else f":{found[1]}:{found[2]}" if found[1] else f":{last}"
        message = _PLACE.sub("", str(error)) or "nested too deeply"
        raise UserError(f"not valid TOML: {message}", where=f"{_shown(path)}{place}", code="bad-settings") from None
    tool = whole.get("tool")
    inner = tool.get("paraminspect") if isinstance(tool, dict) else None
    if inner is not None and not isinstance(inner, dict):
        raise UserError(f"{_TABLE} must be a table", where=_shown(path), code="bad-settings")
    if inner is not None or path.name == PYPROJECT or (named and isinstance(tool, dict)):
        return inner
    return whole


def _settings(table: Mapping[str, Any], path: Path) -> Settings:
    """Read the keys, each by its reader. Raises UserError for a key that there is not."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in READERS:
            hint = did_you_mean(key.replace("_", "-"), READERS) or f"known keys: {', '.join(READERS)}"
            raise UserError(f"unknown key {key!r}", where=_line_of(key, path), hint=hint, code="unknown-setting")
        found[key.replace("-", "_")] = READERS[key](value, f"{_line_of(key, path)}: {key}")
    if "baseline" in found:
        found["baseline"] = _shown(path.absolute().parent / found["baseline"])
    return Settings(_shown(path), **found)


def _line_of(key: str, path: Path) -> str:
    """Return the file, with the line of a key where exactly one has it."""
    pattern = re.compile(rf"\s*(?:\[{re.escape(_TABLE)}\.)?[\"']?{re.escape(key)}[\"']?\s*[=\].]")
    lines = [number for number, line in enumerate(_text(path).splitlines(), 1) if pattern.match(line)]
    return f"{_shown(path)}:{lines[0]}" if len(lines) == 1 else _shown(path)


def _wrong(where: str, wanted: str) -> UserError:
    return UserError(f"must be {wanted}", where=where, code="bad-settings")


def _ids(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise _wrong(where, 'a list of rules, as ["PI3", "PI401"]')


def _ids_by_glob(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _wrong(where, 'a table of rules by names, as {"head.*" = ["PI201"]}')
    return {glob: _ids(rules, f"{where}.{glob}") for glob, rules in value.items()}


def _numbers(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong(where, "a table of numbers by rules, as {PI503 = 0.99}")
    for rule, number in value.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise _wrong(f"{where}.{rule}", "a number")
    return value


def _severity(value: Any, where: str) -> str:
    if value in ("error", "warning", "note"):
        return str(value)
    raise _wrong(where, '"error", "warning" or "note"')


def _path(value: Any, where: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise _wrong(where, "the path of a file")


READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "select": _ids,
    "ignore": _ids,
    "per-name-ignores": _ids_by_glob,
    "thresholds": _numbers,
    "fail-on": _severity,
    "baseline": _path,
}
