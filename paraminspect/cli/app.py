"""The Typer app, and `main(argv) -> int`: the one place where an exception becomes an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from paraminspect import __version__, output
from paraminspect.cli.code import code
from paraminspect.cli.edit import edit
from paraminspect.cli.init import init
from paraminspect.cli.options import Debug, spread
from paraminspect.cli.parsing import Command, Group
from paraminspect.cli.schema import schema
from paraminspect.cli.schemes import schemes
from paraminspect.cli.session import DONE, FAILED
from paraminspect.cli.share import share
from paraminspect.cli.show import show
from paraminspect.errors import UserError, did_you_mean
from paraminspect.report import Environment, Failure, Report, Source

INTERRUPTED = 130
_NAME = "paraminspect"
_COMPLETE = "_PARAMINSPECT_COMPLETE"
_HELP = "Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing."
_EPILOG = (
    "Without SOURCE a command takes the built-in spec mlp. "
    "Exit codes: 0 done, 1 a check found something, 2 could not do it, 130 interrupted, 141 the reader left."
)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True)
class Entry:
    """A command, and its line in the list of commands."""

    function: Callable[..., int]
    short: str


COMMANDS: dict[str, Entry] = {
    "show": Entry(show, "The whole picture: parameters, values, gradients, sharing."),
    "init": Entry(init, "What an initialiser did: before, after, expected."),
    "share": Entry(share, "Who shares what with whom, and what it means."),
    "edit": Entry(edit, "Change values in place; gradients and graph stay."),
    "code": Entry(code, "The same experiment as a plain PyTorch script."),
    "schemes": Entry(schemes, "The initialisation schemes, with formulas."),
    "schema": Entry(schema, "The JSON Schema of a spec or of the report."),
}


class Shell(StrEnum):
    """The shells that can complete our command lines."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


class Unexpected(Exception):
    """Carry an exception that Typer would take for its own past Typer, as the cause."""


def _contained(command: Callable[..., int]) -> Callable[..., int]:
    """Let no command end the program by itself: only the code it returns, and errors of ours, pass."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        try:
            return command(**given)
        except (SystemExit, EOFError, OSError, typer.Exit, typer.Abort) as error:
            raise Unexpected from error

    return wrapper


app = typer.Typer(
    name=_NAME,
    cls=Group,
    help=_HELP,
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings=_CONTEXT,
)
for _name, _entry in COMMANDS.items():
    app.command(_name, cls=Command, context_settings=_CONTEXT, short_help=_entry.short)(
        _contained(spread(_entry.function))
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        output.emit([f"{_NAME} {__version__}\n"])
        raise typer.Exit


def _print_completion(shell: Shell | None) -> None:
    """Print the script by the protocol that the script itself uses; Typer leaves by SystemExit."""
    if shell is not None:
        os.environ[_COMPLETE] = f"source_{shell.value}"
        try:
            app([], prog_name=_NAME, standalone_mode=False)
        finally:
            del os.environ[_COMPLETE]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    completion: Annotated[
        Shell | None,
        typer.Option(
            "--show-completion",
            metavar="SHELL",
            callback=_print_completion,
            is_eager=True,
            help="Print the completion script for bash, zsh, fish or powershell.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing."""
    if context.invoked_subcommand is None:
        output.complain(context.get_help())
        raise typer.Exit(FAILED)


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code; no exception comes out.

    0 done, 1 a check found something, 2 could not do the job, 130 interrupted, 141 the reader went away.
    """
    try:
        return _run(argv)
    except output.ReaderGone:
        return output.BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        return _report_failure(argv, error)


def _report_failure(argv: list[str], error: BaseException) -> int:
    try:
        return _fail(argv, error if isinstance(error, UserError) else _unexpected(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # out of memory once more, a closed stderr: the code is all that is left to give
        return FAILED


def _run(argv: list[str]) -> int:
    try:
        result: Any = app(argv, prog_name=_NAME, standalone_mode=False)
    except typer.TyperException as error:
        return _fail(argv, _usage(argv, error))
    except SystemExit as error:
        result = _typer_left(error)
    except OSError as error:  # Typer's own printing: help and completion
        raise output.cannot_write(error) from error
    output.emit([])  # nothing more, but find out now whether stdout took what Typer printed
    return result if isinstance(result, int) else DONE


def _typer_left(error: SystemExit) -> int:
    """Return the code with which Typer ended the program: after completion, or because the reader of the help left.

    The scripts of the shells read the code of a completion, so it stays as it is.
    """
    if isinstance(error.__context__, OSError):
        raise output.cannot_write(error.__context__) from error
    if _COMPLETE in os.environ and isinstance(error.code, int):
        return error.code
    return FAILED if error.code else DONE


# --- errors ------------------------------------------------------------------------------------------------


def _usage(argv: list[str], error: typer.TyperException) -> UserError:
    """Turn Typer's own usage errors into ours."""
    context = getattr(error, "ctx", None)
    command = _command_in(argv if context is None else [context.info_name])
    known = getattr(error, "possibilities", None)
    message = error.format_message() if known is None else error.message
    hint = _close(getattr(error, "option_name", ""), known or ()) or _how(command, argv)
    return UserError(" ".join(message.split()), where=command, hint=hint, code="usage")


def _close(option: str, known: Iterable[str]) -> str:
    """Suggest an option; the dashes, which all of them have, would make any two of them alike."""
    names = {name.lstrip("-"): name for name in known}
    hint = did_you_mean(option.lstrip("-"), names)
    return f"did you mean {names[hint.split(chr(39))[1]]!r}?" if hint else ""


def _how(command: str, argv: list[str]) -> str:
    if command:
        return f"see: {_NAME} {command} --help"
    word = next((word for word in argv if not word.startswith("-")), "")
    example = f"show {word}" if "." in word or "/" in word else "COMMAND [SOURCE] [OPTIONS]"
    return f"the command comes first: {_NAME} {example}; see: {_NAME} --help"


def _unexpected(error: BaseException) -> UserError:
    """Explain what is no user's fault: what Python ran out of, or a bug."""
    cause = error.__cause__ if isinstance(error, Unexpected) and error.__cause__ else error
    if isinstance(cause, MemoryError):
        shown = UserError("out of memory", hint="use smaller sizes, or --device meta", code="out-of-memory")
    elif isinstance(cause, RecursionError):
        shown = UserError("nested too deeply for Python", hint="use fewer levels", code="too-deep")
    else:
        message = " ".join(f"internal error: {type(cause).__name__}: {cause}".split())
        hint = "this is a bug in paraminspect; --debug shows the traceback"
        shown = UserError(message, hint=hint, code="internal-error")
    shown.__cause__ = cause
    return shown


def _fail(argv: list[str], error: UserError) -> int:
    """Say on stderr what is wrong; with --json also on stdout, as an object with `errors`."""
    if "--debug" in _words(argv):
        import traceback

        output.complain("".join(traceback.format_exception(error.__cause__ or error)).rstrip())
    output.error(f"{error.where}: {error.message}" if error.where else error.message, error.hint)
    if _wants_json(argv):
        from paraminspect.render.json import pieces

        try:
            output.emit(pieces(_failed_report(argv, error).to_dict()))
        except output.ReaderGone:
            return output.BROKEN_PIPE
        except UserError:
            return FAILED
    return FAILED


def _failed_report(argv: list[str], error: UserError) -> Report:
    python = ".".join(map(str, sys.version_info[:3]))
    return Report(
        command=_command_in(argv),
        source=Source("spec", ""),
        environment=Environment(__version__, None, python, "", "", None),
        errors=(Failure(error.code, error.message, error.where),),
    )


# --- the command line, read without Typer: it may be what is wrong ----------------------------------------


def _words(argv: list[str]) -> list[str]:
    """Return the words before ``--``: only these can be options."""
    return argv[: argv.index("--")] if "--" in argv else argv


def _command_in(argv: list[str]) -> str:
    first = next((word for word in argv if not word.startswith("-")), "")
    return first if first in COMMANDS else ""


def _wants_json(argv: list[str]) -> bool:
    """Tell whether failures are to be JSON: ``--json`` anywhere, or the last format given is json."""
    words = _words(argv)
    if "--json" in words:
        return True
    chosen = ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--format="):
            chosen = word.partition("=")[2]
        elif word == "--format" or (_is_cluster(word) and word.endswith("f")):
            chosen = following
        elif _is_cluster(word) and "f" in word:
            chosen = word.partition("f")[2]
    return chosen == "json"


def _is_cluster(word: str) -> bool:
    """Tell whether `word` is one or more short options with, at most, the value of the last: -f, -qf, -fjson."""
    return word[:1] == "-" and word[1:2] not in ("", "-") and word.lstrip("-q")[:1] == "f"
