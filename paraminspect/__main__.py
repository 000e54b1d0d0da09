"""The entry point: nothing but the standard library until Ctrl-C and SIGTERM are handled."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End at once with the shell's code for the signal; torch may be half imported, so run no clean-up of its own."""
    os._exit(128 + number)


def main() -> NoReturn:
    """Run the command line and exit with its code, without the tenth of a second torch takes to unload."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    from paraminspect.cli.app import main as run

    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
