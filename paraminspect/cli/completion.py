"""What the shell completes: names from the package, from a spec, and from a Python file, which is read, never run.

Nothing here imports torch. The names of the parameters of a model in Python are not offered: its code would have to
run, because somebody pressed a key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from paraminspect.errors import UserError

if TYPE_CHECKING:
    from paraminspect.spec.model import Spec

BASH: Final = """\
_paraminspect_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" at last IFS=$' \\t\\n'
    local -a words
    read -r -a words <<< "$line"
    at=$(( ${#words[@]} - 1 ))
    [[ $line == *[[:space:]] ]] && at=$(( at + 1 ))
    last="${words[at]-}"
    IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="$line" COMP_CWORD=$at _PARAMINSPECT_COMPLETE=complete_bash "$1" ) )
    if [[ $last == *:* && $COMP_WORDBREAKS == *:* ]]; then  # bash puts an answer behind the last colon
        COMPREPLY=( "${COMPREPLY[@]#"${last%"${last##*:}"}"}" )
    fi
}

complete -o default -F _paraminspect_completion paraminspect
"""
"""Typer's script for bash takes a colon for the end of a word; this one completes model.py:Net."""


def starting(incomplete: str, known: Iterable[str]) -> list[str]:
    """Return the words that go on from what is typed."""
    return [word for word in known if word.startswith(incomplete)]


def sources(incomplete: str) -> list[str]:
    """Complete the built-in names, and behind a colon what a Python file defines; else the shell takes files."""
    from paraminspect.isolation.importing import file_of, names_defined_in
    from paraminspect.sources.locate import builtin_names

    target, colon, _ = incomplete.partition(":")
    if not colon:
        return starting(incomplete, builtin_names())
    path = Path(target) if target.endswith(".py") else file_of(target)
    return starting(incomplete, (f"{target}:{name}" for name in (names_defined_in(path) if path else ())))


def schemes(incomplete: str) -> list[str]:
    """Complete the names of schemes."""
    from paraminspect.init.schemes.registry import SCHEMES

    return starting(incomplete, SCHEMES)


def losses(incomplete: str) -> list[str]:
    """Complete the losses by name."""
    from paraminspect.spec.model import LOSSES

    return starting(incomplete, LOSSES)


def devices(incomplete: str) -> list[str]:
    """Complete the kinds of device."""
    from paraminspect.spec.dtypes import DEVICES

    return starting(incomplete, DEVICES)


def activations(incomplete: str) -> list[str]:
    """Complete the activations that theory knows."""
    from paraminspect.theory.activations import NAMES

    return starting(incomplete, sorted(NAMES))


def parameters(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of the parameters of SOURCE, where it is a spec."""
    from paraminspect.spec.spec_names import parameter_names

    spec = _spec(context)
    return starting(incomplete, parameter_names(spec)) if spec else []


def layers(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the paths of the layers of SOURCE, where it is a spec."""
    from paraminspect.spec.spec_names import layer_paths

    spec = _spec(context)
    return starting(incomplete, layer_paths(spec)) if spec else []


def _spec(context: typer.Context) -> Spec | None:
    """Return the spec that is named on the line so far, the default one without a name; None for any other SOURCE."""
    from paraminspect.sources.locate import DEFAULT, find
    from paraminspect.spec.model import Spec

    source = context.params.get("source") or next(iter(context.args), DEFAULT)  # an unfinished line leaves it in args
    with contextlib.suppress(UserError):
        found = find(source) if source != "-" else None
        return found if isinstance(found, Spec) else None
    return None
