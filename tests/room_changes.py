"""Profile a command line: the files it enters, by their first call, and how often that changes the room.

python -m tests.room_changes show configs/mlp.yaml
"""

from __future__ import annotations

import contextlib
import io
import sys
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType

import paraminspect
from paraminspect.cli.app import main

PACKAGE = Path(paraminspect.__file__).parent


def files_entered(*argv: str) -> list[Path]:
    """Return the files of the package in the order in which a function of theirs is first called.

    By the second run of the command: the first one imports everything, in an order that no reader follows.
    """
    entered: dict[str, None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            entered.setdefault(frame.f_code.co_filename)

    before = sys.getprofile()
    with contextlib.redirect_stdout(io.StringIO()):
        main(list(argv))
        sys.setprofile(note)
        try:
            main(list(argv))
        finally:
            sys.setprofile(before)
    return [path.relative_to(PACKAGE) for path in map(Path, entered) if path.is_relative_to(PACKAGE)]


def room(path: Path) -> str:
    """Return the folder, or the file, right below the package."""
    return path.parts[0].removesuffix(".py")


def room_changes(files: list[Path]) -> int:
    return sum(room(one) != room(other) for one, other in pairwise(files))


if __name__ == "__main__":
    files = files_entered(*sys.argv[1:])
    print(f"{len(files)} files in {len({*map(room, files)})} rooms, {room_changes(files)} changes of room")
    for name, inside in groupby(files, room):
        print(f"  {name:<12} {' '.join(path.stem for path in inside)}")
