"""The one family of errors a user can cause: what is wrong, where, and what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Report something the user can put right.

    `where` names what they typed (``file:line:column``, a key path, a parameter, an option), `hint` says
    what to try, `code` is a stable kebab-case word for scripts.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "", code: str = "bad-input") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  {self.hint}" if self.hint else head


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to `word`, whatever the case, or None if none is close."""
    folded = {name.lower(): name for name in reversed([*known])}
    close = difflib.get_close_matches(word[:80].lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known word closest to `word`, or an empty string."""
    close = nearest(word, known)
    return "" if close is None else f"did you mean {close!r}?"
