"""What to type instead of a command line that Typer refuses: read from the words, as a person would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from paraminspect.cli.commands import COMMANDS, PROGRAM
from paraminspect.errors import nearest
from paraminspect.frozen import dataclass
from paraminspect.isolation.importing import is_reference

_COMMANDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("inspect", "view", "print", "describe", "info", "parameters", "params", "stats"), "show"),
    **dict.fromkeys(("tree", "layers", "torchinfo", "flops", "macs"), "summary"),
    **dict.fromkeys(("gradient", "gradients", "backward", "signal"), "grad"),
    **dict.fromkeys(("initialise", "initialize", "initialisation", "initialization", "weights"), "init"),
    **dict.fromkeys(("sharing", "ties", "tied"), "share"),
    **dict.fromkeys(("activation", "activations"), "theory"),
    **dict.fromkeys(("script", "export", "source"), "code"),
    **dict.fromkeys(("man", "docs", "doc", "manual", "topics"), "help"),
    **dict.fromkeys(("set", "change"), "edit"),
}
_ROOT: Final[Mapping[str, str]] = {"version": "--version", "-v": "--version", "--info": "--version"}
_OPTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("shape", "size", "input-size", "input-shape", "input-data", "x", "i"), "--input"),
    **dict.fromkeys(("init", "initializer", "initialiser", "weights-init"), "--scheme"),
    **dict.fromkeys(("filter", "names", "grep", "only"), "--params"),
    **dict.fromkeys(("module", "block"), "--layer"),
    **dict.fromkeys(("cuda", "gpu"), "--device cuda"),
    **dict.fromkeys(("criterion", "objective"), "--loss"),
    **dict.fromkeys(("kwargs", "set", "a"), "--arg"),
    **dict.fromkeys(("csv", "markdown", "plain", "table"), "--format {}"),
    **dict.fromkeys(("md",), "--format markdown"),
    **dict.fromkeys(("limit", "n", "head"), "--top"),
    **dict.fromkeys(("expand", "all", "full"), "--no-fold"),
    **dict.fromkeys(("fold",), "--no-fold (folded is the default)"),
    **dict.fromkeys(("silent", "s"), "--quiet"),
    **dict.fromkeys(("verbose", "v", "trace", "traceback"), "--debug"),
}
_FILES: Final = ("o", "out", "output", "save-as", "export", "to")


@dataclass(frozen=True)
class Word:
    """A word of the command line that is no option; `after` is the option whose value stands right before it."""

    text: str
    after: str = ""
    value: str = ""


def no_such_command(word: str, argv: Sequence[str]) -> str:
    """Say what to type where the first word names no command."""
    rest = shlex.join(argv[argv.index(word) + 1 :]) if word in argv else ""
    if word in _ROOT:
        return f"did you mean: {PROGRAM} {_ROOT[word]}"
    if word.casefold() in ("list", "ls", "models", "builtins"):
        return f"built in: {', '.join(_builtin())}; for example: {PROGRAM} show cnn"
    command = _COMMANDS.get(word.casefold()) or nearest(word, COMMANDS)
    if command and not _is_source(word):
        return f"did you mean: {PROGRAM} {command} {rest}".rstrip()
    if word.startswith("-"):
        following = next((one for one in argv if one in COMMANDS), "")
        others = shlex.join(one for one in argv if one != following)
        line = f"{following} {others}" if following else "COMMAND [SOURCE] [OPTIONS]"
        return f"the command comes first: {PROGRAM} {line}; see: {PROGRAM} --help"
    line = f"show {shlex.join([word])} {rest}".rstrip() if _is_source(word) else "COMMAND [SOURCE] [OPTIONS]"
    return f"the command comes first: {PROGRAM} {line}; see: {PROGRAM} --help"


def no_such_option(option: str, known: Iterable[str], argv: Sequence[str], command: str) -> str:
    """Say which option was meant, by its spelling or by what others call it, or an empty text."""
    name = option.lstrip("-").replace("_", "-").casefold()
    if name in _FILES and "--format" in known:
        source = next((word.text for word in words_in(argv, ()) if word.text not in COMMANDS), "")
        line = " ".join(filter(None, [PROGRAM, command, source and shlex.quote(source), "--json > report.json"]))
        return f"the answer goes to stdout: {line}"
    if not command and option in _ROOT:
        return f"did you mean: {PROGRAM} {_ROOT[option]}"
    other = "--fill" if name == "set" and "--fill" in known else _OPTIONS.get(name, "")
    if other and other.split()[0] in known:
        return f"did you mean {other.format(name)!r}?"
    names = {one.lstrip("-"): one for one in known}
    close = nearest(name, names)
    own = [word for word in argv if is_reference(word)]
    if own and "--arg" in known and len(name) > 1 and (close is None or name not in close):
        value = next(iter(argv[argv.index(option) + 1 :][:1]), "VALUE") if option in argv else "VALUE"
        value = "VALUE" if value.startswith("-") else value
        keyword = name.replace("-", "_")
        argument = f"--arg {shlex.quote(f'{keyword}={value}')}"
        return f"an argument of {own[0]}: {argument}" + (f"; or did you mean {names[close]!r}?" if close else "")
    return f"did you mean {names[close]!r}?" if close is not None else ""


def extra_words(command: str, argv: Sequence[str], options: Sequence[Any]) -> tuple[str, str]:
    """Return message and hint for words that stand where the command takes no more of them."""
    words = [word for word in words_in(argv, options) if word.text != command or word.after]
    metavar = next((one.metavar for one in options if one.param_type_name == "argument"), "word")
    texts = [word.text for word in words]
    message = f"one {metavar} at a time, got {len(texts)}: {', '.join(texts)}"
    return message, _where_it_belongs(command, words) or _one_at_a_time(command, texts)


def _where_it_belongs(command: str, words: Sequence[Word]) -> str:
    """Say what the second word was meant to be, if it is no SOURCE."""
    first, *rest = words
    loose = [word for word in words if word.after]
    if loose:
        option, values = loose[0].after, [loose[0].value, *(word.text for word in words[words.index(loose[0]) :])]
        if option == "--input":
            return f"write it as one word: --input {','.join(filter(None, (value.strip(',') for value in values)))}"
        if option in ("--arg", "--rule") and "=" not in values[0]:
            return f"write it as one word: {option} {shlex.quote('='.join(values[:2]))}"
        if option in ("--params", "--rule", "--scheme", "--arg"):
            if option == "--params" and all(Path(value).exists() for value in values):
                return f"put a pattern in quotes, or the shell takes it for files: {option} '*.weight'"
            return "name the option each time: " + " ".join(f"{option} {shlex.quote(value)}" for value in values)
    if first.text.endswith(".py") and rest[0].text.isidentifier():
        return f"did you mean: {PROGRAM} {command} {shlex.quote(f'{first.text}:{rest[0].text}')}"
    if command in ("init", "compare", "show", "grad") and _is_scheme(rest[0].text):
        schemes = " ".join(f"--scheme {shlex.quote(word.text)}" for word in rest)
        return f"did you mean: {PROGRAM} {command} {shlex.quote(first.text)} {schemes}"
    return ""


def _one_at_a_time(command: str, texts: Sequence[str]) -> str:
    if not all(re.fullmatch(r"[\w./:*-]+", text) for text in texts):
        return f"see: {PROGRAM} {command} --help"
    return f'for each in {" ".join(texts)}; do {PROGRAM} {command} "$each"; done'


def words_in(argv: Sequence[str], options: Sequence[Any]) -> Iterator[Word]:
    """Yield the words that are neither options nor their values, each with the option that it follows."""
    with_value = {
        name for one in options if not getattr(one, "is_flag", True) for name in (*one.opts, *one.secondary_opts)
    }
    after = value = pending = ""
    only_words = False
    for text in argv:
        if pending:
            after, value, pending = pending, text, ""
        elif text == "--" and not only_words:
            only_words = True
        elif text.startswith("-") and len(text) > 1 and not only_words:
            name, equals, given = text.partition("=")
            pending = name if name in with_value and not equals else ""
            after, value = (name, given) if equals and name in with_value else ("", "")
        else:
            yield Word(text, after, value)


def _is_source(word: str) -> bool:
    return word in _builtin() or is_reference(word) or word.endswith((".py", ".yaml", ".yml", ".json")) or "/" in word


def _builtin() -> tuple[str, ...]:
    from paraminspect.sources.locate import builtin_names

    return builtin_names()


def _is_scheme(word: str) -> bool:
    from paraminspect.init.schemes.registry import canonical_name
    from paraminspect.init.schemes.scheme_slips import meant

    name = word.partition(":")[0]
    return canonical_name(name) is not None or (name.isalpha() and bool(meant(word)))
