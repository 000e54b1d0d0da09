"""What went wrong, as an error of ours: on stderr, and with --json as a report on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from paraminspect import __version__, output
from paraminspect.cli.commands import COMMANDS, PROGRAM
from paraminspect.cli.session import FAILED
from paraminspect.cli.usage_slips import extra_words, no_such_command, no_such_option
from paraminspect.errors import UserError
from paraminspect.isolation.importing import is_reference

if TYPE_CHECKING:
    from paraminspect.report import Report, Source


class Unexpected(Exception):
    """Carry an exception that Typer would take for its own past Typer, as the cause."""


def usage(argv: list[str], error: typer.TyperException) -> UserError:
    """Turn Typer's own usage errors into ours."""
    context = getattr(error, "ctx", None)
    command = _command_in(argv if context is None else [context.info_name])
    options = context.command.params if context is not None else []
    message = error.format_message() if getattr(error, "possibilities", None) is None else error.message
    message, hint = " ".join(message.split()), ""
    if message.startswith("Got unexpected extra argument") and command:
        message, hint = extra_words(command, argv, options)
    elif message.startswith("Missing argument") and command:
        hint = f"for example: {PROGRAM} {COMMANDS[command].examples[0]}"
    elif option := getattr(error, "option_name", ""):
        known = [name for one in options for name in one.opts if name.startswith("--")]
        hint = no_such_option(option, known, argv, command) or ("" if command else no_such_command(option, argv))
    elif message.startswith("No such command"):
        word = next(word for word in argv if not word.startswith("-"))
        message, hint = f"there is no command {word[:80]!r}", no_such_command(word, argv)
    return UserError(message, where=command, hint=hint or f"see: {_see(command)} --help", code="usage")


def _see(command: str) -> str:
    return f"{PROGRAM} {command}".rstrip()


def unexpected(error: BaseException) -> UserError:
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


def fail(argv: list[str], error: UserError) -> int:
    """Say on stderr what is wrong; with --json also on stdout, as an object with `errors`."""
    if "--debug" in _options_in(argv):
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


def _source(given: str) -> Source:
    """Return what is known of a source before it is read: that code is code; a spec has its name in it."""
    from paraminspect.report import Source

    return Source("module", given) if is_reference(given) else Source("spec", "")


def _failed_report(argv: list[str], error: UserError) -> Report:
    from paraminspect.report import Environment, Failure, Report

    python = ".".join(map(str, sys.version_info[:3]))
    return Report(
        command=_command_in(argv),
        source=_source(_source_in(argv)),
        environment=Environment(__version__, None, python, "", "", None),
        errors=(Failure(error.code, error.message, error.where),),
    )


# --- the command line, read without Typer: it may be what is wrong with it --------------------------------------


def _options_in(argv: list[str]) -> list[str]:
    """Return the words before ``--``: only these can be options."""
    return argv[: argv.index("--")] if "--" in argv else argv


def _command_in(argv: list[str]) -> str:
    """Return the command, or an empty text where there is none."""
    first = next((word for word in argv if not word.startswith("-")), "")
    return first if first in COMMANDS else ""


def _source_in(argv: list[str]) -> str:
    """Return SOURCE where it follows the command, which is where a person writes it; else an empty text."""
    words = _options_in(argv)
    at = next((at for at, word in enumerate(words) if word in COMMANDS), len(words)) + 1
    return words[at] if at < len(words) and not words[at].startswith("-") else ""


def _wants_json(argv: list[str]) -> bool:
    """Tell whether failures are to be JSON: ``--json`` anywhere, or the last format given is json."""
    words = _options_in(argv)
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
