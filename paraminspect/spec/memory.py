"""How much memory is free."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that can be taken now: what the system has available, or less where a cgroup limits us.

    Pages of files that a cgroup holds but can drop count as free. Where the system does not say, all of the
    physical memory; where not even that is known, `sys.maxsize`. `root` is where /proc and /sys are mounted.
    """
    system = _meminfo(root / "proc/meminfo", "MemAvailable:")
    rooms = [room for room in _cgroup_rooms(root) if room is not None]
    return max(0, min([*rooms, _physical_memory() if system is None else 1024 * system]))


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _cgroup_rooms(root: Path) -> Iterator[int | None]:
    """Yield what is left in each cgroup of this process, from the innermost to the outermost."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            yield from (_room(folder, *names) for folder in _upwards(mount, path))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from (_room(folder, *names) for folder in _upwards(mount / "memory", path))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    inside = PurePosixPath(*(part for part in path.split("/") if part not in ("", ".", "..")))
    yield from (mount / folder for folder in (inside, *inside.parents))


def _room(folder: Path, limit: str, usage: str, droppable: str) -> int | None:
    allowed, used = (_integer(_read(folder / name)) for name in (limit, usage))
    if allowed is None or used is None:
        return None
    return allowed - used + (_meminfo(folder / "memory.stat", droppable) or 0)


def _meminfo(path: Path, key: str) -> int | None:
    """Return the number behind `key` in a file of lines ``key number …``."""
    fields = (line.split() for line in _read(path).splitlines())
    return next((_integer(words[1]) for words in fields if len(words) > 1 and words[0] == key), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _integer(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None
