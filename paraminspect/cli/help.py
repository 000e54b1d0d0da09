"""`paraminspect help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError, did_you_mean

TOPICS: Final = ("spec", "modules", "init", "gradients", "signal", "sharing", "python", "scripts")
"""The pages under paraminspect/help/, in the order in which a reader needs them."""

PAGES: Final = Path(__file__).resolve().parent.parent / "help"
_COMMENT: Final = re.compile(r"<!-- .* -->\n")
_INDENT: Final = "  "
_FOOT: Final = "paraminspect help TOPIC prints a page, paraminspect COMMAND --help the options."


def _topics(context: typer.Context, incomplete: str) -> list[str]:
    root: Any = context.parent
    commands = root.command.commands if root else ()
    return [name for name in dict.fromkeys([*TOPICS, *commands]) if name.startswith(incomplete)]


def help(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC", help=f"One of {', '.join(TOPICS)}; or another command.", autocompletion=_topics
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Print a page of the manual, or without TOPIC what pages there are."""
    if topic is None:
        output.emit([*_contents(), f"\n{_FOOT}\n"])
    elif topic in TOPICS:
        output.emit(_plain(_page(topic)))
    else:
        output.emit([_options_of(topic, context)])
    return DONE


def _options_of(command: str, context: typer.Context) -> str:
    """Return what ``paraminspect COMMAND --help`` prints; raises UserError for a text that names no command."""
    from paraminspect.sources.locate import builtin_names

    root: Any = context.parent
    commands = root.command.commands
    if command not in commands:
        hint = did_you_mean(command, [*TOPICS, *commands]) or f"known: {', '.join(TOPICS)}, and every command"
        if command in builtin_names():
            hint = f"a built-in spec: paraminspect show {command}"
        raise UserError(f"no help on {command!r}", where="TOPIC", hint=hint, code="no-such-topic")
    found = commands[command]
    return f"{found.make_context(command, [], root, resilient_parsing=True).get_help()}\n"


def _page(topic: str) -> str:
    return (PAGES / f"{topic}.md").read_text(encoding="utf-8")


def _contents() -> Iterator[str]:
    """Yield a line a page: its name, and what it is about as its own title says."""
    width = max(map(len, TOPICS))
    for topic in TOPICS:
        yield f"{topic:<{width}}  {_page(topic).partition(chr(10))[0].partition(': ')[2]}\n"


def _plain(page: str) -> Iterator[str]:
    """Yield a page as text: what markdown fences is indented instead, and comments for the tests are left out."""
    fenced = False
    for line in _COMMENT.sub("", page).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        else:
            shown = f"{_INDENT}{line}" if fenced else line.removeprefix("# ")
            yield f"{shown.rstrip()}\n"
