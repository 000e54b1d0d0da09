"""`paraminspect help`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from paraminspect import output
from paraminspect.cli.options import Debug
from paraminspect.cli.session import DONE
from paraminspect.errors import UserError, did_you_mean

TOPICS: Final = (
    *("spec", "modules", "summary", "memory", "init", "gradients", "signal", "sharing", "files", "rules", "python"),
    *("scripts", "words"),
)
"""The pages under paraminspect/help/, in the order in which a reader needs them."""

PAGES: Final = Path(__file__).resolve().parent.parent / "help"
_COMMENT: Final = re.compile(r"<!-- .* -->\n")
_INDENT: Final = "  "
_FOOT: Final = (
    "paraminspect help TOPIC prints a page, paraminspect help WORD what a word on the\n"
    "screen means, paraminspect COMMAND --help the options."
)
_MORE: Final = {
    "What there is": "modules",
    "Initialisation": "init",
    "Gradient": "gradients",
    "Signal": "signal",
    "Theory": "signal",
    "Sharing": "sharing",
}
"""The page that goes on about what a section of the words is about."""
_WIDTH: Final = 80


def _topics(context: typer.Context, incomplete: str) -> list[str]:
    from paraminspect.cli.words import glossary

    root: Any = context.parent
    known = [*TOPICS, *(root.command.commands if root else ())]
    words = glossary(_page("words")) if incomplete else ()
    return [name for name in dict.fromkeys([*known, *words]) if name.startswith(incomplete)]


def help(
    context: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help=f"One of {', '.join(TOPICS)}; another command; or a word that one of them printed.",
            autocompletion=_topics,
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Print a page of the manual, or what a word means; without TOPIC what pages there are."""
    wanted = " ".join(topic or ())
    root: Any = context.parent
    if not wanted:
        output.emit([*_contents(), f"\n{_FOOT}\n"])
    elif wanted in TOPICS:
        output.emit(_plain(_page(wanted)))
    elif wanted in root.command.commands:
        output.emit([_options_of(wanted, root)])
    else:
        output.emit([_meaning_of(wanted, [*TOPICS, *root.command.commands])])
    return DONE


def _options_of(command: str, root: Any) -> str:
    """Return what ``paraminspect COMMAND --help`` prints."""
    found = root.command.commands[command]
    return f"{found.make_context(command, [], root, resilient_parsing=True).get_help()}\n"


def _meaning_of(word: str, others: list[str]) -> str:
    """Return what the page of words says of one, and where there is more; raises UserError for one it does not have."""
    from paraminspect.cli.words import glossary, meaning_of
    from paraminspect.sources.locate import builtin_names

    page = _page("words")
    found = meaning_of(word, page)
    if found is None:
        hint = did_you_mean(word, [*others, *glossary(page)]) or f"known: {', '.join(TOPICS)}, and every command"
        if word in builtin_names():
            hint = f"a built-in spec: paraminspect show {word}"
        raise UserError(f"no help on {word!r}", where="TOPIC", hint=hint, code="no-such-topic")
    lines = textwrap.wrap(f"{', '.join(found.spellings)}: {found.text}", _WIDTH, subsequent_indent=_INDENT)
    more = _MORE.get(found.section, "words")
    return "\n".join([*lines, f"{_INDENT}more: paraminspect help {more}\n"])


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
            shown = f"{_INDENT}{line}" if fenced else line.removeprefix("## ").removeprefix("# ")
            yield f"{shown.rstrip()}\n"
