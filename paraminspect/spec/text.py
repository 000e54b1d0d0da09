"""The text of a spec, from a file or from stdin: bounded, UTF-8, and only from what is a file."""

from __future__ import annotations

import os
import stat
import sys
from itertools import islice
from pathlib import Path
from typing import Final

from paraminspect.errors import UserError, did_you_mean

MAX_BYTES: Final = 1_000_000
SUFFIXES: Final = (".yaml", ".yml", ".json")

_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_source(path: str) -> str:
    """Return the text of a spec file, or of stdin for ``-``, without a byte order mark.

    Raises UserError for anything but at most `MAX_BYTES` of UTF-8 text in a regular file. No error quotes content.
    """
    data = _read_stdin() if path == "-" else _read_file(path)
    _refuse_other_formats(data, path)
    if len(data) > MAX_BYTES:
        raise _error(f"larger than {MAX_BYTES:,} bytes; a spec is not", path)
    return _decode(data, path)


def _error(message: str, path: str, hint: str = "") -> UserError:
    return UserError(message, where=path, hint=hint, code="unreadable-spec")


# --- bytes -------------------------------------------------------------------------------------------------


def _read_stdin() -> bytes:
    """Return what stdin holds, cut one byte above `MAX_BYTES`."""
    if sys.stdin is None:
        raise _error("standard input is closed", "-")
    try:
        data = getattr(sys.stdin, "buffer", sys.stdin).read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _error(f"standard input cannot be read: {reason_of(error)}", "-") from None
    if data is None:
        raise _error("standard input has nothing to read", "-")
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "surrogatepass")


def _read_file(path: str) -> bytes:
    """Return what the file holds, cut one byte above `MAX_BYTES`."""
    descriptor = _open(path)
    try:
        kind = kind_of(os.fstat(descriptor).st_mode)
        if kind:
            raise _not_a_file(kind, path)
        return _read(descriptor)
    except OSError as error:
        raise _error(f"cannot be read: {reason_of(error)}", path) from None
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    try:
        # Non-blocking: a named pipe that nobody writes to must not hold us up before its kind is known.
        return os.open(path, _FLAGS)
    except FileNotFoundError:
        raise _error("no such file", path, near(path)) from None
    except (OSError, ValueError) as error:
        kind = _kind_by_name(path)
        raise (_not_a_file(kind, path) if kind else _error(f"cannot be opened: {reason_of(error)}", path)) from None


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) <= MAX_BYTES and (chunk := os.read(descriptor, MAX_BYTES + 1 - len(data))):
        data += chunk
    return data


def kind_of(mode: int) -> str:
    """Return what stands there that is no file, by the mode that the system gives; an empty text if it is a file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def _kind_by_name(path: str) -> str:
    """Return what stands under a name that could not be opened, such as a socket; an empty text if it is a file."""
    try:
        return kind_of(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return ""


def _not_a_file(kind: str, path: str) -> UserError:
    specs = [name for name in names_in(path) if name.endswith(SUFFIXES)]
    return _error(f"is {kind}, not a file", path, f"specs in it: {', '.join(specs[:12])}" if specs else "")


def reason_of(error: Exception) -> str:
    """Return why a file could not be opened or read, in the words of the system."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "the name is not one a file can have" if isinstance(error, UnicodeError) else str(error)


def near(path: str) -> str:
    """Return a hint naming a file of the same folder that is called almost the same."""
    folder, name = os.path.split(path)
    if folder and not Path(folder).is_dir():
        return f"there is no folder {folder!r}"
    hint = did_you_mean(name, names_in(folder or "."))
    return f"in {folder}: {hint}" if hint and folder else hint


def names_in(folder: str) -> list[str]:
    """Return the names in a folder, sorted, of at most 2,000 of them; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, 2_000))
    except OSError:
        return []


# --- text --------------------------------------------------------------------------------------------------


def _refuse_other_formats(data: bytes, path: str) -> None:
    what = _other_format(data)
    if what:
        raise _error(f"{what}, not a spec", path)


def _other_format(data: bytes) -> str:
    if data.startswith(b"PK\x03\x04"):
        return "a zip archive, such as torch.save writes"
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer: the file itself has not been fetched"
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**32:
        return "a safetensors checkpoint"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a pickle, such as an old checkpoint"
    return ""


def _decode(data: bytes, path: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error("is UTF-16", path, "save it as UTF-8")
    if b"\0" in data:
        raise _error(f"is binary: byte {data.index(0)} is NUL", path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _error(f"is not UTF-8: byte {error.start}, on line {line}", path, "save it as UTF-8") from None
