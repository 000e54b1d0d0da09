"""What is being done right now, in a word or two for whoever waits: set where it begins, read by `output.waiting`."""

from __future__ import annotations

_now = ["starting"]


def enter(phase: str) -> None:
    """Say what begins now; it stands until the next phase does."""
    _now[0] = phase


def current() -> str:
    """Return what was entered last."""
    return _now[0]
