"""The entry point: nothing but the standard library until Ctrl-C and SIGTERM are handled."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_exit = os._exit  # the user's code, while it runs, finds another one in its place
_FAILED = 2


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End at once with the shell's code for the signal; torch may be half imported, so run no clean-up of its own."""
    _exit(128 + number)


def _handle_signals() -> None:
    """Answer Ctrl-C and SIGTERM, unless whoever started us asked that they be ignored (nohup, a job in a script)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _answer(argv: list[str]) -> int:
    """Run the command line; whatever comes out of it but an exit code, a broken installation included, is 2."""
    try:
        from paraminspect.cli.app import main as run
        from paraminspect.isolation.process import reserve_stdout_for_good

        reserve_stdout_for_good()
        return run(argv)
    except BaseException as error:
        if "--debug" in argv:
            sys.excepthook(type(error), error, error.__traceback__)
        elif sys.stderr is not None:
            text = f"error: internal error: {type(error).__name__}: {error}"
            sys.stderr.write(ascii(text)[1:-1] + "\n")
        return _FAILED


def main() -> NoReturn:
    """Run the command line and exit with its code, without the tenth of a second torch takes to unload."""
    _handle_signals()
    gc.disable()  # what a command line allocates lives as long as it: walking that again and again is a quarter of it
    code = _FAILED
    try:
        code = _answer(sys.argv[1:])
        if sys.stderr is not None:
            sys.stderr.flush()
    finally:
        _exit(code)


if __name__ == "__main__":
    main()
