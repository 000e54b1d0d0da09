"""What kind of checkpoint a file is, told by its first bytes, or in one message why it is none."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Literal

from paraminspect.errors import UserError, did_you_mean
from paraminspect.text.numbers import size

Kind = Literal["safetensors", "zip", "pickle"]

_FLAGS = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
_HEADER_LIMIT = 100_000_000  # bytes of a safetensors header, that of the reference reader
_PROTOCOLS = b"\x02\x03\x04\x05"
_FOLDER = "name one file: a .safetensors, .pt, .pth, .bin or .ckpt"
_FETCHED = "fetch the file itself: git lfs pull"
_PAGE = "download the file itself, not the page about it"


def refusal(path: str, message: str, hint: str = "") -> UserError:
    """Build the error for a checkpoint that cannot be read; it never quotes what the file holds."""
    return UserError(message, where=path, hint=hint, code="unreadable-checkpoint")


def kind_of(path: str) -> Kind:
    """Return the kind of a checkpoint file. Raises UserError for what is no regular file, and for any other content."""
    first, length = _first_bytes(path)
    if not length:
        raise refusal(path, "is empty", "it was not written to the end: save it again")
    if first.startswith(b"PK\x03\x04"):
        return "zip"
    if first[:1] == b"\x80" and first[1:2] in _PROTOCOLS and first[1:2]:
        return "pickle"
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise refusal(path, "is a Git LFS pointer: the file itself has not been fetched", _FETCHED)
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise refusal(path, "is a web page, not a checkpoint", _PAGE)
    if first[8:9] == b"{":
        _check_header(path, int.from_bytes(first[:8], "little"), length)
        return "safetensors"
    if path.endswith(".safetensors"):
        raise refusal(path, "does not begin as a safetensors file does", "save it again: safetensors.torch.save_file")
    if path.endswith(".index.json") and text.startswith(b"{"):
        raise refusal(path, "is the index of several files, and holds no tensors", "name one of the files it lists")
    raise refusal(path, "is no checkpoint: neither a safetensors file nor one of torch.save", _FOLDER)


def _first_bytes(path: str) -> tuple[bytes, int]:
    """Return the first bytes of a regular file, and how long it is."""
    try:
        descriptor = os.open(path, _FLAGS)  # non-blocking: a named pipe that nobody writes to must not hold us up
    except FileNotFoundError:
        raise refusal(path, "no such file", _near(path)) from None
    except (OSError, ValueError) as error:
        raise refusal(path, f"cannot be opened: {reason_of(error)}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise refusal(path, "is a folder, not a file", _FOLDER)
        if not stat.S_ISREG(status.st_mode):
            raise refusal(path, "is no regular file", _FOLDER)
        return os.read(descriptor, 512), status.st_size
    except OSError as error:
        raise refusal(path, f"cannot be read: {reason_of(error)}") from None
    finally:
        os.close(descriptor)


def _near(path: str) -> str:
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError):
        return did_you_mean(name, [entry.name for entry in Path(folder or ".").iterdir()])
    return f"there is no folder {folder!r}"


def reason_of(error: Exception) -> str:
    """Return the reason of an operating system's error, in lower case."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "the name is not one a file can have"


def _check_header(path: str, declared: int, length: int) -> None:
    """Refuse a safetensors file whose header would be too large or ends after the file does."""
    if declared > _HEADER_LIMIT:
        what = f"its header would have {size(declared)}; the largest there is has {size(_HEADER_LIMIT)}"
        raise refusal(path, what, "the file is damaged: fetch or save it again")
    if 8 + declared > length:
        message = f"is cut short: its header has {declared:,} bytes, the file {length:,}"
        raise refusal(path, message, "fetch or save it again")
