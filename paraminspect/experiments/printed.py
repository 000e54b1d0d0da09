"""The module as it prints itself: its repr, made harmless, or why there is none."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from itertools import filterfalse

from paraminspect.experiments.run import State
from paraminspect.isolation import user_code
from paraminspect.text.escape import clean


def printed(state: State) -> str:
    """Return the module's repr; a name in it stays on its line, so that it cannot pass for lines of the report."""
    text = _repr(state)
    names = {path.rpartition(".")[2] for path in state.inventory.modules}
    for name in filterfalse(str.isprintable, names):
        broken = "\n *".join(map(re.escape, name.split("\n")))  # PyTorch indents what follows a newline
        text = re.sub(rf"\({broken}\): ", _shown(name), text)
    return text


def _repr(state: State) -> str:
    """Return the module's repr, or why there is none: it may be the user's code, and torch's own visits every path."""
    kind = type(state.scope).__name__
    if state.inventory.cut:
        return f"{kind} (its repr would not end: modules go by too many names)"
    try:
        with user_code.contained() if state.subject.foreign else contextlib.nullcontext():
            return str.__str__(repr(state.scope))  # of a subclass of str, the text alone
    except (Exception, SystemExit) as error:
        return f"{kind} (its repr failed: {type(error).__name__})"


def _shown(name: str) -> Callable[[re.Match[str]], str]:
    return lambda _: f"({clean(name, limit=None)}): "
