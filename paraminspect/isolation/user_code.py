"""Run code the user named on the command line without letting it become a wrong answer.

It may print, read stdin, call ``sys.exit(0)`` or ``os._exit(0)``, raise anything, change what Python and torch keep
for the whole process. While it runs, stdout is stderr and stdin is empty; afterwards everything is as before.
Out of reach without a second process: C code that calls ``exit``, and changes to modules themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from paraminspect.errors import UserError
from paraminspect.isolation.issued_warnings import begin_other_run
from paraminspect.isolation.process import is_stdout_reserved_for_good, stdout_reserved

if TYPE_CHECKING:
    import torch

_LONGEST = 1_000
_ENDINGS = ("_exit", "execv", "execve")  # what ends the process, or makes it another one, from Python
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE")
_NETWORK = {"ConnectError", "ConnectionError", "LocalEntryNotFoundError", "TimeoutException", "URLError", "gaierror"}

# What the user's code has changed for the whole process, and its own later calls go by.
_search_path: list[str] = []
_defaults: list[tuple[torch.dtype, torch.device]] = []
_warning_filters: list[tuple[Any, ...]] = []


def forget() -> None:
    """Begin anew: what earlier code of the user's put on ``sys.path`` or made torch's default is not this code's.

    Nor are the warnings that it filtered.
    """
    _search_path.clear()
    _defaults.clear()
    _warning_filters.clear()


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Contain the user's code; anything it raises becomes one UserError that names `what`.

    Raises UserError, with the file and line of the user's own code that failed. KeyboardInterrupt passes through.
    """
    try:
        with contained():
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise explained(what, error) from error


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Contain the user's code; what it raises, SystemExit among it, passes through as it is."""
    with contextlib.ExitStack() as undo:
        for keep in (_endings, _folder, _imports, _signals, _torch_defaults, _stdin, _filters):
            undo.enter_context(keep())
        undo.enter_context(stdout_reserved())
        with _process():
            begin_other_run()
            yield


def call(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call the user's `function` contained, see `user_code`."""
    with user_code(what):
        return function(*args)


# --- what the user's code may have changed ------------------------------------------------------------------


@contextlib.contextmanager
def _process() -> Iterator[None]:
    """End a copy of this process that the user's code made and let return: only one may answer.

    At once: a lock that another thread held when the process was copied is never released in the copy.
    """
    process, leave = os.getpid(), os._exit
    try:
        yield
    finally:
        if os.getpid() != process:
            leave(2)


@contextlib.contextmanager
def _endings() -> Iterator[None]:
    """Let ``os._exit`` and its like raise SystemExit here; in a child process they do what they always did."""
    process = os.getpid()
    real = {name: getattr(os, name) for name in _ENDINGS}
    places = [os, *filter(None, [sys.modules.get(os.name)])]  # posix or nt, which os took them from

    def refusal(name: str) -> Callable[..., NoReturn]:
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            if os.getpid() != process:
                real[name](*args, **kwargs)
            raise SystemExit(args[0] if name == "_exit" and args else f"os.{name}")

        return refuse

    for place, name in product(places, real):
        setattr(place, name, refusal(name))
    try:
        yield
    finally:
        if not is_stdout_reserved_for_good():  # threads that the user's code left behind may still call them
            for place, (name, function) in product(places, real.items()):
                setattr(place, name, function)


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """Keep the working directory."""
    try:
        before = Path.cwd()
    except OSError:  # it was removed: there is nothing to come back to
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(before)


@contextlib.contextmanager
def _imports() -> Iterator[None]:
    """Keep ``sys.path``, ``sys.argv`` and bytecode: ours for us, the user's for the user, nothing written beside it.

    The user's code sees no arguments: those on the command line are for this program.
    """
    path, argv, no_bytecode = list(sys.path), sys.argv, sys.dont_write_bytecode
    sys.path[:0] = _search_path
    sys.argv, sys.dont_write_bytecode = argv[:1], True
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            _search_path[:] = [entry for entry in sys.path if entry not in path]
        sys.path, sys.argv, sys.dont_write_bytecode = path, argv, no_bytecode


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Keep the handlers of the signals that end a run; only the main thread may set them."""
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)


@contextlib.contextmanager
def _torch_defaults() -> Iterator[None]:
    """Keep torch's default dtype, default device and gradient mode, also if the user's code is first to import torch.

    The defaults that the user's code has set are in force again whenever more of it runs: a file that begins with
    ``torch.set_default_dtype`` means its forward too. The random number generator is not kept: an initialiser is
    there to draw from it.
    """
    ours = _torch_now()
    if ours and _defaults:
        _set_torch(*_defaults[-1])
    before = _torch_now()
    gradients = ours is None or sys.modules["torch"].is_grad_enabled()
    try:
        yield
    finally:
        after = _torch_now()
        if after:
            ours = ours or (sys.modules["torch"].float32, sys.modules["torch"].device("cpu"))
            if after != (before or ours):
                _defaults[:] = [after]
            _set_torch(*ours)
            sys.modules["torch"].set_grad_enabled(gradients)


def _torch_now() -> tuple[torch.dtype, torch.device] | None:
    """Return torch's default dtype and device, None before torch was imported, whole."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_default_device"):
        return None
    return torch.get_default_dtype(), torch.get_default_device()


def _set_torch(dtype: torch.dtype, device: torch.device) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


@contextlib.contextmanager
def _stdin() -> Iterator[None]:
    """Let descriptor 0 be empty."""
    try:
        saved = os.dup(0)
    except OSError:  # closed: there is nothing to read
        yield
        return
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


@contextlib.contextmanager
def _filters() -> Iterator[None]:
    """Keep the filters of warnings; those that the user's code has set are in force whenever more of it runs."""
    with warnings.catch_warnings():
        ours = list(warnings.filters)
        for action, message, category, module, line in reversed(_warning_filters):
            warnings.filterwarnings(action, _pattern(message), category, _pattern(module), line)
        try:
            yield
        finally:
            with contextlib.suppress(Exception):
                _warning_filters[:] = [one for one in warnings.filters if one not in ours]


def _pattern(expression: re.Pattern[str] | str | None) -> str:
    return expression.pattern if isinstance(expression, re.Pattern) else expression or ""


# --- what went wrong, and where -----------------------------------------------------------------------------


def explained(what: str, error: BaseException) -> UserError:
    """Say in one message what the user's code did, and at which of its lines."""
    place = _place(error)
    if isinstance(error, SystemExit):
        return UserError(f"{what} called exit({_text(error.code, repr)})", where=place, code="user-code-exited")
    if isinstance(error, SyntaxError) and error.filename:
        where = ":".join(str(part) for part in (error.filename, error.lineno, error.offset) if part is not None)
        return UserError(f"{what} has a syntax error: {error.msg}", where=where, code="user-code-failed")
    if isinstance(error, RecursionError):
        return UserError(f"{what} never stopped calling itself", where=place, code="user-code-failed")
    if isinstance(error, MemoryError):
        return UserError(f"{what} ran out of memory", where=place, code="out-of-memory")
    text = _text(error, str)
    message = f"{what} raised {type(error).__name__}" + (f": {text}" if text else "")
    return UserError(message, where=place, hint=_advice(error), code="user-code-failed")


def _advice(error: BaseException) -> str:
    """Return what to try, for the failures that have one cause."""
    text = _text(error, str)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what provides {error.name!r} in the environment of paraminspect"
    if isinstance(error, ImportError) and "relative import" in text:
        return "the file belongs to a package: name it as pkg.mod:attr, in the folder that holds the package"
    if isinstance(error, AttributeError) and "before Module.__init__() call" in text:
        return "call super().__init__() before anything is assigned"
    if "meta tensor" in text:
        return "it needs values, and tensors on the meta device hold none: a real device, --device cpu"
    if isinstance(error, EOFError):
        return "its standard input is empty: whatever it asks for has to be an argument"
    if any(_NETWORK & {cls.__name__ for cls in type(one).__mro__} for one in _chain(error)):
        return "it needs the network: name a function that downloads nothing"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those it came from."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and all(following is not one for one in seen):
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__


def _text(value: object, form: Callable[[object], str]) -> str:
    """Return a text of bounded length on one line; the value is the user's, so even this may fail."""
    try:
        text = form(value)
    except (Exception, SystemExit):
        return f"(a {type(value).__name__} that cannot be shown)"
    short = " ".join(text[: 4 * _LONGEST].split())
    return short if len(text) <= _LONGEST else f"{short[:_LONGEST]}… ({len(text):,} characters)"


def _place(error: BaseException) -> str:
    """Return ``file:line`` of the innermost frame in the user's code: not ours, not Python's, best not installed."""
    import sysconfig

    ours = Path(__file__).parent
    paths = sysconfig.get_paths()
    libraries = {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    place = installed = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        parents = Path(name).parents
        if ours not in parents and name[:1] != "<":
            if libraries.isdisjoint(parents):
                place = f"{name}:{trace.tb_lineno}"
            elif not ({"torch", "importlib"} & {*Path(name).parts}):
                installed = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place or installed
