"""The Typer app, and `main(argv) -> int`: the one place where an exception becomes an exit code."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from paraminspect import __version__, output
from paraminspect.cli.commands import BEGINNINGS, COMMANDS, PROGRAM, Entry, function_of
from paraminspect.cli.completion import BASH
from paraminspect.cli.failures import Unexpected, fail, unexpected, usage
from paraminspect.cli.options import Debug, spread
from paraminspect.cli.parsing import Command, Group
from paraminspect.cli.session import DONE, FAILED, tell_warnings
from paraminspect.errors import UserError
from paraminspect.isolation.issued_warnings import warnings_collected

INTERRUPTED = 130
_COMPLETE = "_PARAMINSPECT_COMPLETE"
_HELP = (
    "See what is inside a PyTorch network before you train it: every parameter, how it was initialised, what gradient "
    "reaches it, what is shared with what, and whether the signal survives its way through the layers. It finds layers "
    "that no optimizer sees or no gradient reaches, ties that are copies, weights of the wrong size."
)
_EPILOG = (
    "Without SOURCE a command takes the built-in spec mlp. "
    "Exit codes: 0 done, 1 check or diff found something, 2 could not do it, 130 interrupted, 141 the reader left."
)
_PLAIN: Any = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "pretty_exceptions_show_locals": False,
}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Shell(StrEnum):
    """The shells that can complete our command lines."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


def _contained(command: Callable[..., int]) -> Callable[..., int]:
    """Let no command end the program by itself: only the code it returns, and errors of ours, pass.

    Warnings that were issued before an error are notes before it; after Ctrl-C nothing is said.
    """

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        wanted = bool({"source", "sources", "a"} & given.keys()) and not given.get("quiet", False)
        with warnings_collected(), output.waiting(wanted):
            try:
                code = command(**given)
            except UserError:
                tell_warnings(given.get("quiet", False))
                raise
            except (SystemExit, EOFError, OSError, typer.Exit, typer.Abort) as error:
                raise Unexpected from error
            tell_warnings(given.get("quiet", False))
            return code

    return wrapper


class _Commands(Mapping[str, Any]):
    """Typer's commands, each of them made when it is asked for."""

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __getitem__(self, name: str) -> Any:
        return _made(name, COMMANDS[name])


@functools.cache
def _made(name: str, entry: Entry) -> Any:
    alone = typer.Typer(add_completion=False, **_PLAIN)
    alone.command(
        name,
        cls=Command,
        context_settings=_CONTEXT,
        short_help=entry.short,
        epilog="\n".join(f"{PROGRAM} {example}" for example in entry.examples),
        options_metavar="[OPTIONS]",
    )(_contained(spread(function_of(name))))
    return typer.main.get_command(alone)


class _Root(Group):
    beginnings = BEGINNINGS

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short) for name, entry in COMMANDS.items()])


app = typer.Typer(
    name=PROGRAM,
    cls=_Root,
    help=_HELP,
    epilog=_EPILOG,
    context_settings=_CONTEXT,
    subcommand_metavar="COMMAND [SOURCE] [OPTIONS]",
    options_metavar="",
    **_PLAIN,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.emit([f"{PROGRAM} {__version__}\n"])
        raise typer.Exit


def _print_completion(shell: Shell | None) -> None:
    """Print the script by the protocol that the script itself uses; Typer leaves by SystemExit."""
    if shell is Shell.bash:
        output.emit([BASH])
        raise typer.Exit
    if shell is not None:
        os.environ[_COMPLETE] = f"source_{shell.value}"
        try:
            app([], prog_name=PROGRAM, standalone_mode=False)
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
    if context.invoked_subcommand is None:
        root: Any = context.command
        output.complain(root.first_screen(context))
        raise typer.Exit(FAILED)


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code; no exception comes out.

    0 done, 2 could not do the job, 130 interrupted, 141 the reader went away.
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
        return fail(argv, error if isinstance(error, UserError) else unexpected(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # out of memory once more, a closed stderr: the code is all that is left to give
        return FAILED


def _run(argv: list[str]) -> int:
    try:
        result: Any = app(argv, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        return fail(argv, usage(argv, error))
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
