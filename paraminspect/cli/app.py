"""The Typer app, and `main(argv) -> int`: the one place where an exception becomes an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from paraminspect import __version__, output
from paraminspect.cli.code import code
from paraminspect.cli.edit import edit
from paraminspect.cli.init import init
from paraminspect.cli.options import spread
from paraminspect.cli.schema import schema
from paraminspect.cli.schemes import schemes
from paraminspect.cli.session import FAILED
from paraminspect.cli.share import share
from paraminspect.cli.show import show
from paraminspect.errors import UserError
from paraminspect.report import Environment, Failure, Report, Source

_EPILOG = "Exit codes: 0 done, 1 a check found something, 2 could not do it, 130 interrupted, 141 the reader left."
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="paraminspect",
    help="Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings=_CONTEXT,
)
COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "show": (show, "The whole picture: parameters, values, gradients, sharing."),
    "init": (init, "What an initialiser did: before, after, expected."),
    "share": (share, "Who shares what with whom, and what it means."),
    "edit": (edit, "Change values in place; gradients and graph stay."),
    "code": (code, "The same experiment as a plain PyTorch script."),
    "schemes": (schemes, "The initialisation schemes, with formulas."),
    "schema": (schema, "The JSON Schema of a spec or of the report."),
}
for _name, (_command, _short) in COMMANDS.items():
    app.command(_name, context_settings=_CONTEXT, short_help=_short)(spread(_command))


def _print_version(wanted: bool) -> None:
    if wanted:
        output.emit([f"paraminspect {__version__}\n"])
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing."""
    if context.invoked_subcommand is None:
        output.complain(context.get_help())
        raise typer.Exit(FAILED)


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code; nothing but SystemExit-free integers comes out.

    0 done, 1 a check found something, 2 could not do the job, 130 interrupted, 141 the reader went away.
    """
    try:
        return _run(argv)
    except output.ReaderGone:
        return output.BROKEN_PIPE
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        return _fail(argv, error)
    except Exception as error:
        return _fail(argv, _unexpected(error))


def _run(argv: list[str]) -> int:
    try:
        result: Any = app(argv, prog_name="paraminspect", standalone_mode=False)
    except typer.TyperException as error:
        if isinstance(error, UserError):
            raise
        return _usage(argv, error)
    except typer.Abort:
        return 130
    except BrokenPipeError as error:
        raise output.ReaderGone from error
    output.emit([])
    return result if isinstance(result, int) else 0


def _usage(argv: list[str], error: typer.TyperException) -> int:
    """Turn Typer's own usage errors into ours."""
    hint = f"see: paraminspect {_command_in(argv)} --help".replace("  ", " ")
    return _fail(argv, UserError(error.format_message(), hint=hint, code="usage"))


def _command_in(argv: list[str]) -> str:
    return next((word for word in argv if word in COMMANDS), "")


def _unexpected(error: Exception) -> UserError:
    if isinstance(error, MemoryError):
        return UserError("out of memory", hint="use smaller sizes, or --device meta", code="out-of-memory")
    text = " ".join(str(error).split())
    message = f"internal error: {type(error).__name__}: {text}"
    shown = UserError(message, hint="this is a bug in paraminspect; --debug shows the traceback", code="internal-error")
    shown.__cause__ = error
    return shown


def _fail(argv: list[str], error: UserError) -> int:
    """Say on stderr what is wrong; with --json also on stdout, as an object with `errors`."""
    if "--debug" in argv:
        output.complain("".join(traceback.format_exception(error.__cause__ or error)).rstrip())
    output.complain(f"error: {error}")
    if _wants_json(argv):
        from paraminspect.render.json import pieces

        try:
            output.emit(pieces(_failed_report(argv, error).to_dict()))
        except output.ReaderGone:
            return output.BROKEN_PIPE
        except UserError:
            return FAILED
    return FAILED


def _wants_json(argv: list[str]) -> bool:
    pairs = zip(argv, argv[1:], strict=False)
    return bool({"--json", "--format=json", "-fjson"} & {*argv}) or ("-f", "json") in pairs or _long_form(argv)


def _long_form(argv: list[str]) -> bool:
    return ("--format", "json") in zip(argv, argv[1:], strict=False)


def _failed_report(argv: list[str], error: UserError) -> Report:
    python = ".".join(map(str, sys.version_info[:3]))
    return Report(
        command=_command_in(argv),
        source=Source("spec", ""),
        environment=Environment(__version__, None, python, "", "", None),
        errors=(Failure(error.code, error.message, error.where),),
    )
