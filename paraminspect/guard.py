"""Run code the user named on the command line without letting it become a wrong answer.

It may print, read stdin, call ``sys.exit(0)`` or ``os._exit(0)``, raise anything. While it runs, file descriptor 1
is stderr and stdin is empty; afterwards both are as before.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from paraminspect.errors import UserError, did_you_mean


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Contain the user's code; anything it raises becomes one UserError that names `what`.

    Raises UserError, with the file and line of the user's own code that failed.
    """
    real_exit = os._exit
    os._exit = _refuse_exit  # type: ignore[assignment]  # a run that ends without our report must not look done
    try:
        with _stdout_to_stderr():
            yield
    except UserError:
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except SystemExit as error:
        raise UserError(f"{what} called exit({error.code!r})", where=_place(error), code="user-code-exited") from error
    except BaseException as error:
        text = " ".join(str(error).split())
        message = f"{what} raised {type(error).__name__}" + (f": {text}" if text else "")
        raise UserError(message, where=_place(error), code="user-code-failed") from error
    finally:
        os._exit = real_exit


def _refuse_exit(status: int = 0) -> NoReturn:
    raise SystemExit(status)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Point descriptor 1 at stderr and descriptor 0 at the null device, below Python's own streams."""
    _flush(sys.stdout)
    with contextlib.ExitStack() as undo:
        for descriptor, target in ((1, 2), (0, None)):
            _redirect(descriptor, target, undo)
        yield
        _flush(sys.stdout)


def _redirect(descriptor: int, target: int | None, undo: contextlib.ExitStack) -> None:
    try:
        saved = os.dup(descriptor)
        source = os.dup(target) if target is not None else os.open(os.devnull, os.O_RDONLY)
    except OSError:  # closed: nothing to protect
        return
    os.dup2(source, descriptor)
    os.close(source)

    def restore() -> None:
        _flush(sys.stdout)
        os.dup2(saved, descriptor)
        os.close(saved)

    undo.callback(restore)


def _flush(stream: Any) -> None:
    with contextlib.suppress(Exception):
        stream.flush()


def _place(error: BaseException) -> str:
    """Return ``file:line`` of the innermost frame that is neither ours nor torch's."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "torch" not in Path(name).parts and Path(__file__).parent not in Path(name).parents and name[:1] != "<":
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form ``path/file.py:attr`` or ``pkg.mod:attr``."""
    target, colon, attribute = text.rpartition(":")
    return bool(colon and target) and all(part.isidentifier() for part in attribute.split("."))


def load_attribute(reference: str) -> Any:
    """Import what ``path/file.py:attr`` or ``pkg.mod:attr`` names.

    Raises UserError: no such file or module, a module that fails while it is imported, no such attribute.
    """
    target, _, attribute = reference.rpartition(":")
    module = _load_file(target, reference) if target.endswith(".py") else _load_module(target, reference)
    value: Any = module
    for part in attribute.split("."):
        names = [name for name in vars(value) if not name.startswith("__")] if hasattr(value, "__dict__") else []
        if not hasattr(value, part):
            hint = did_you_mean(part, names) or f"it has: {', '.join(names[:12])}"
            raise UserError(f"{target} has no attribute {part!r}", where=reference, hint=hint, code="no-such-attribute")
        value = getattr(value, part)
    return value


def _load_file(target: str, reference: str) -> ModuleType:
    path = Path(target)
    if not path.is_file():
        hint = did_you_mean(path.name, (p.name for p in path.parent.glob("*.py"))) if path.parent.is_dir() else ""
        raise UserError(f"no such file: {target}", where=reference, hint=hint, code="no-such-file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"cannot load {target}", where=reference, code="no-such-file")
    module = importlib.util.module_from_spec(spec)
    with user_code(f"{target}, while it was imported,"):
        spec.loader.exec_module(module)
    return module


def _load_module(target: str, reference: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        with user_code(f"{target}, while it was imported,"):
            return importlib.import_module(target)
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and (target + ".").startswith(cause.name + "."):
            hint = "the name is a module's, as in an import statement, or a path that ends in .py"
            raise UserError(
                f"no module named {cause.name!r}", where=reference, hint=hint, code="no-such-module"
            ) from cause
        raise
    finally:
        sys.path.remove(str(Path.cwd()))


def call(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call the user's `function` contained, see `user_code`."""
    with user_code(what):
        return function(*args)
