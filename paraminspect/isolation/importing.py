"""Import what the user names as ``path/file.py:attr`` or ``pkg.mod:attr``, contained as `user_code` does it."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from paraminspect.errors import UserError, did_you_mean
from paraminspect.isolation.user_code import user_code

_SHOWN = 12
_LARGEST = 1_000_000
_BASES = ("Module", "Sequential", "ModuleList", "Model", "Net", "Network")
_HINT = "the name is a module's, as in an import statement, or a path that ends in .py"
_loaded: dict[tuple[str, int, int], ModuleType] = {}


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form ``path/file.py:attr`` or ``pkg.mod:attr``."""
    target, colon, attribute = text.rpartition(":")
    return bool(colon and target) and all(part.isidentifier() for part in attribute.split("."))


def check_target(reference: str) -> None:
    """Refuse a file or a module that does not exist, as far as that is known before any code of it runs."""
    target = reference.rpartition(":")[0]
    if target.endswith(".py"):
        _check_file(Path(target), reference)
        return
    names = target.split(".")
    if not all(name.isidentifier() for name in names):
        raise UserError(f"{target!r} is not a module's name", where=reference, hint=_HINT, code="no-such-module")
    if names[0] not in sys.modules and _spec_of(names[0]) is None and names[0] not in sys.builtin_module_names:
        raise _no_module(names[0], [str(Path.cwd())], reference)


def load_attribute(reference: str) -> Any:
    """Import what ``path/file.py:attr`` or ``pkg.mod:attr`` names.

    Raises UserError: no such file or module, a module that fails while it is imported, no such attribute.
    """
    target, _, attribute = reference.rpartition(":")
    value: Any = _load_file(target, reference) if target.endswith(".py") else _load_module(target, reference)
    with user_code(f"{reference}, while it was looked up,"):
        for part in attribute.split("."):
            value = _look_up(value, part, target, reference)
    return value


def import_statement(reference: str) -> str:
    """Return the statement that brings what `reference` names into a script."""
    target, _, attribute = reference.rpartition(":")
    first = attribute.partition(".")[0]
    if target.endswith(".py"):
        return f"import runpy\n\n{first} = runpy.run_path({target!r})[{first!r}]"
    return f"from {target} import {first}"


# --- attributes ------------------------------------------------------------------------------------------------


def _look_up(value: Any, part: str, target: str, reference: str) -> Any:
    try:
        return getattr(value, part)
    except AttributeError:
        if any(part in vars(cls) for cls in type(value).__mro__):
            raise  # it is there: a property of the user's that failed
        raise _no_attribute(target, part, value, reference) from None


def _no_attribute(target: str, part: str, value: Any, reference: str) -> UserError:
    names = names_of(value)
    hint = did_you_mean(part, names) or _it_has(names) or "it has no names of its own"
    return UserError(f"{target} has no attribute {part!r}", where=reference, hint=hint, code="no-such-attribute")


def names_of(value: Any) -> list[str]:
    """Return the public names in a module, a class or an object: what can be called first, best what is its own."""
    own: dict[str, Any] = {}
    if not isinstance(value, type | ModuleType):
        for cls in reversed(type(value).__mro__):
            if cls.__module__.partition(".")[0] not in ("builtins", "torch"):
                own |= vars(cls)
    own |= getattr(value, "__dict__", {})
    found = {name: member for name, member in own.items() if not name.startswith("_")}
    children = own.get("_modules")
    if isinstance(children, dict):  # of a torch.nn.Module
        found = children | found
    home = getattr(value, "__name__", "")
    names = sorted(found, key=lambda name: _rank(found[name], home))
    return [name for name in names if not isinstance(found[name], ModuleType)] or names


def _rank(member: Any, home: str) -> int:
    """Put what the module makes itself before what it imports, and both before what cannot be called."""
    if not callable(member):
        return 2
    is_named = isinstance(member, type | FunctionType | BuiltinFunctionType)
    is_imported = is_named and member.__module__ != home and not str(member.__module__).startswith(f"{home}.")
    return 1 if is_imported else 0


def _it_has(names: Iterable[str]) -> str:
    shown = [*names]
    more = ", …" if len(shown) > _SHOWN else ""
    return f"it has: {', '.join(shown[:_SHOWN])}{more}" if shown else ""


# --- files -----------------------------------------------------------------------------------------------------


def _load_file(target: str, reference: str) -> ModuleType:
    """Run a file once, however often it is named, under a module name that hides no other module."""
    path = Path(target)
    _check_file(path, reference)
    state = path.stat()
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    if key not in _loaded:
        _loaded[key] = _run_file(path, target)
    return _loaded[key]


def _run_file(path: Path, target: str) -> ModuleType:
    """Run a file as ``python file.py`` would: what lies beside it can be imported."""
    name = f"_paraminspect_user_{len(_loaded)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # the path ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        with user_code(f"{target}, while it was imported,"):
            sys.path.insert(0, str(path.resolve().parent))
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_file(path: Path, reference: str) -> None:
    if path.is_file():
        return
    try:
        names = sorted(near.name for near in path.parent.glob("*.py") if near.is_file())
    except OSError:
        names = []
    is_folder = path.is_dir()
    message = f"{path} is a folder, not a file" if is_folder else f"no such file: {path}"
    if path.exists() and not is_folder:
        message = f"{path} is not a file"
    raise UserError(message, where=reference, hint=did_you_mean(path.name, names), code="no-such-file")


# --- modules ---------------------------------------------------------------------------------------------------


def _load_module(target: str, reference: str) -> ModuleType:
    """Import a module as ``python -m`` would: the working directory comes first."""
    check_target(reference)
    try:
        with user_code(f"{target}, while it was imported,"):
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(target)
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and (target + ".").startswith(cause.name + "."):
            parent = sys.modules.get(cause.name.rpartition(".")[0])
            raise _no_module(cause.name, getattr(parent, "__path__", ()), reference) from cause
        raise


def _no_module(name: str, folders: Iterable[str], reference: str) -> UserError:
    last = name.rpartition(".")[2]
    hint = did_you_mean(last, [found.name for found in pkgutil.iter_modules(folders)]) or _HINT
    return UserError(f"no module named {name!r}", where=reference, hint=hint, code="no-such-module")


def _spec_of(name: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module without importing it or the packages that it is in."""
    importlib.invalidate_caches()
    spec, folders = None, [str(Path.cwd()), *sys.path]
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), folders)
        if spec is None:
            return None
        folders = [*(spec.submodule_search_locations or ())]
    return spec


# --- before anything is run ------------------------------------------------------------------------------------


def file_of(name: str) -> Path | None:
    """Return the file of the Python module ``pkg.mod``, None if there is no such module; nothing is imported."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    spec = _spec_of(name)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def names_defined_in(path: Path) -> list[str]:
    """Return what a Python file defines, read and not run: Modules by their look, classes, functions, other names."""
    with contextlib.suppress(OSError, ValueError, SyntaxError, RecursionError):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            body = ast.parse(path.read_bytes()).body
            classes = _modules_first([node for node in body if isinstance(node, ast.ClassDef)])
            functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
            targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
            others = [target.id for target in targets if isinstance(target, ast.Name)]
            found = dict.fromkeys([*classes, *functions, *others])
            return [name for name in found if not name.startswith("_")]
    return []


def _modules_first(classes: list[ast.ClassDef]) -> list[str]:
    """Return the names of classes, first those whose base is called as a Module is, or is one of these."""
    modules: list[str] = []
    for node in classes:
        bases = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]
        if any(base.endswith(_BASES) or base in modules for base in bases):
            modules.append(node.name)
    return [*modules, *(node.name for node in classes if node.name not in modules)]


def must_name_something(target: str, path: Path) -> UserError:
    """Build the error for Python code without the name of what is in it."""
    names = names_defined_in(path)
    is_package = path.name == "__init__.py"  # what it defines itself is the least of what is in it
    hint = f"for example: {target}:{names[0] if names and not is_package else 'NAME'}"
    if len(names) > 1 and not is_package:
        hint += f"; {_it_has(names)}"
    message = f"Python code: name what is in it, as {target}:NAME"
    return UserError(message, where=target, hint=hint, code="no-attribute-named")
