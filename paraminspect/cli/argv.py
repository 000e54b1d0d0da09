"""The command line, read without Typer: it may be what is wrong with it."""

from __future__ import annotations

from paraminspect.cli.commands import COMMANDS


def options_in(argv: list[str]) -> list[str]:
    """Return the words before ``--``: only these can be options."""
    return argv[: argv.index("--")] if "--" in argv else argv


def command_in(argv: list[str]) -> str:
    """Return the command, or an empty text where there is none."""
    first = next((word for word in argv if not word.startswith("-")), "")
    return first if first in COMMANDS else ""


def source_in(argv: list[str]) -> str:
    """Return SOURCE where it follows the command, which is where a person writes it; else an empty text."""
    words = options_in(argv)
    at = next((at for at, word in enumerate(words) if word in COMMANDS), len(words)) + 1
    return words[at] if at < len(words) and not words[at].startswith("-") else ""


def wants_json(argv: list[str]) -> bool:
    """Tell whether failures are to be JSON: ``--json`` anywhere, or the last format given is json."""
    words = options_in(argv)
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
