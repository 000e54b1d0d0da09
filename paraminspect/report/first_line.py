"""What a person reads first: that nothing is wrong, or the one thing that matters most."""

from __future__ import annotations

from paraminspect.frozen import dataclass


@dataclass(frozen=True)
class Headline:
    """Say in one sentence whether something is wrong, and of several things the one that matters most.

    `tone` is ``fine`` (nothing found), ``note`` (worth knowing, nothing has to be done), ``warning`` or ``error``.
    `about` names the sort of problem in a word: ``failed``, ``nonfinite``, ``uninitialised``, ``forgotten``,
    ``disconnected``, ``unused``, ``tie``, ``overlap``, ``scheme``, ``vanishing``, ``exploding``, ``dead``, …; ``none``
    where there is none. `hint` is what to try, `more` how many further ones there are.
    """

    tone: str
    about: str
    text: str
    hint: str = ""
    more: int = 0
