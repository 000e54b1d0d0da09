"""Import what the user names as ``path/file.py:attr`` or ``pkg.mod:attr``, contained by `guard`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from paraminspect.errors import UserError, did_you_mean
from paraminspect.guard import user_code

_loaded: dict[tuple[str, int, int], ModuleType] = {}


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form ``path/file.py:attr`` or ``pkg.mod:attr``."""
    target, colon, attribute = text.rpartition(":")
    return bool(colon and target) and all(part.isidentifier() for part in attribute.split("."))


def load_attribute(reference: str) -> Any:
    """Import what ``path/file.py:attr`` or ``pkg.mod:attr`` names.

    Raises UserError: no such file or module, a module that fails while it is imported, no such attribute.
    """
    target, _, attribute = reference.rpartition(":")
    value: Any = _load_file(target, reference) if target.endswith(".py") else _load_module(target, reference)
    with user_code(f"{reference}, while it was looked up,"):
        for part in attribute.split("."):
            if not hasattr(value, part):
                raise _no_attribute(target, part, value, reference)
            value = getattr(value, part)
    return value


def _no_attribute(target: str, part: str, value: Any, reference: str) -> UserError:
    names = [name for name in getattr(value, "__dict__", {}) if not name.startswith("__")]
    hint = did_you_mean(part, names) or (f"it has: {', '.join(names[:12])}" if names else "it has no names of its own")
    return UserError(f"{target} has no attribute {part!r}", where=reference, hint=hint, code="no-such-attribute")


def _load_file(target: str, reference: str) -> ModuleType:
    """Run a file once, however often it is named, under a module name that hides no other module."""
    path = Path(target)
    if not path.is_file():
        raise _no_file(path, reference)
    state = path.stat()
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    if key not in _loaded:
        _loaded[key] = _run_file(path, target)
    return _loaded[key]


def _run_file(path: Path, target: str) -> ModuleType:
    name = f"_paraminspect_user_{len(_loaded)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # the path ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        with user_code(f"{target}, while it was imported,"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _no_file(path: Path, reference: str) -> UserError:
    try:
        names = sorted(near.name for near in path.parent.glob("*.py"))
    except OSError:
        names = []
    is_folder = path.is_dir()
    message = f"{path} is a folder, not a file" if is_folder else f"no such file: {path}"
    return UserError(message, where=reference, hint=did_you_mean(path.name, names), code="no-such-file")


def _load_module(target: str, reference: str) -> ModuleType:
    """Import a module as ``python -m`` would: the working directory comes first."""
    hint = "the name is a module's, as in an import statement, or a path that ends in .py"
    if not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{target!r} is not a module's name", where=reference, hint=hint, code="no-such-module")
    try:
        with user_code(f"{target}, while it was imported,"):
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(target)
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and (target + ".").startswith(cause.name + "."):
            message = f"no module named {cause.name!r}"
            raise UserError(message, where=reference, hint=hint, code="no-such-module") from cause
        raise
