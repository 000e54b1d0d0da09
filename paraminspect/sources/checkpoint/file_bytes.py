"""The bytes of a file, here or far away, read piece by piece: never mapped, never more than is asked for."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from paraminspect.errors import UserError
from paraminspect.spec.text import kind_of, near, reason_of

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HEAD = 2**17
_STRETCH = 2**24
_PACKAGES = {
    "http": ("aiohttp", "paraminspect[http]"),
    "https": ("aiohttp", "paraminspect[http]"),
    "s3": ("s3fs", "paraminspect[s3]"),
    "hf": ("huggingface_hub", "paraminspect[hf]"),
    "gs": ("gcsfs", "gcsfs"),
    "gcs": ("gcsfs", "gcsfs"),
    "abfs": ("adlfs", "adlfs"),
    "az": ("adlfs", "adlfs"),
}


class ShortRead(UserError):
    """Say that a file ended before what was to be read of it; it may have been cut while it was read."""


class Bytes(Protocol):
    """A file of known `size` that gives its bytes in any order; safe from several threads. `count` is what it gave."""

    name: str
    size: int

    @property
    def count(self) -> int:
        """Return how many bytes it gave."""
        ...

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` on. Raises ShortRead, or UserError where the system refuses."""
        ...

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on. Raises as `read` does."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def is_remote(path: str) -> bool:
    """Tell whether a name is that of a file far away, as ``s3://bucket/name``."""
    return "://" in path


def open_bytes(path: str) -> Bytes:
    """Open a regular file, or a URL through fsspec. Raises UserError for anything else."""
    return RemoteFile(path) if is_remote(path) else LocalFile(path)


class _ByteFile:
    """What such files have in common: the end of a ``with`` gives them back."""

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` on."""
        raise NotImplementedError

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on. Raises as `read` does."""
        buffer[:] = self.read(start, len(buffer))

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalFile(_ByteFile):
    """A regular file of this machine, read with ``pread``: one that is cut meanwhile is an error, not a crash."""

    def __init__(self, path: str) -> None:
        self.name, self._count = path, 0
        try:
            # Non-blocking: a named pipe that nobody writes to must not hold us up before its kind is known.
            self._descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise _error("no such file", path, near(path), code="no-such-file") from None
        except (OSError, ValueError) as error:
            raise _error(f"cannot be opened: {reason_of(error)}", path) from None
        status = os.fstat(self._descriptor)
        kind = kind_of(status.st_mode)
        if kind:
            os.close(self._descriptor)
            raise _error(f"is {kind}, not a file", path)
        self.size = status.st_size

    @property
    def count(self) -> int:
        """Return how much was read, not more than all: the first bytes are read again, once the format is known."""
        return min(self._count, self.size)

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` on. Raises ShortRead, or UserError where the system refuses."""
        pieces: list[bytes] = []
        at, end = start, start + length
        if not 0 <= start <= end <= self.size:
            raise _short(self.name, start, length, self.size)
        try:
            while at < end and (piece := os.pread(self._descriptor, min(end - at, 2**30), at)):
                pieces.append(piece)
                at += len(piece)
        except OSError as error:
            raise _error(f"cannot be read: {reason_of(error)}", self.name) from None
        self._count += at - start
        if at < end:
            raise _short(self.name, start, length, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on, without a copy. Raises as `read` does."""
        at = 0
        try:
            while at < len(buffer) and (got := os.preadv(self._descriptor, [buffer[at:]], start + at)):
                at += got
        except OSError as error:
            raise _error(f"cannot be read: {reason_of(error)}", self.name) from None
        self._count += at
        if at < len(buffer):
            raise _short(self.name, start, len(buffer), start + at)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


class RemoteFile(_ByteFile):
    """A file behind a URL, read in ranges through fsspec.

    Nothing of it is kept but its beginning, which is fetched at once: a header is one request.
    """

    def __init__(self, url: str) -> None:
        self.name, self.count = without_secrets(url), 0
        self._head = b""
        self._system, self._path = file_system(url)
        with _explained(self.name):
            self.size = int(self._system.info(self._path)["size"] or 0)

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` on. Raises ShortRead, or UserError where the system refuses."""
        if not 0 <= start <= start + length <= self.size:
            raise _short(self.name, start, length, self.size)
        if start == 0 and length and not self._head:
            self._head = self._fetch(0, min(max(length, _HEAD), self.size))
        if start + length <= len(self._head):
            return self._head[start : start + length]
        return self._fetch(start, length)

    def _fetch(self, start: int, length: int) -> bytes:
        with _explained(self.name):
            found: bytes = self._system.cat_file(self._path, start=start, end=start + length)
        self.count += len(found)
        if len(found) == self.size > length:  # a server that does not know of ranges sends all there is
            return found[start : start + length]
        if len(found) != length:
            raise _short(self.name, start, length, start + len(found))
        return found


class ReadAhead(_ByteFile):
    """A file far away, read in stretches of 16 MiB, for what is asked for next is mostly what lies behind.

    The last stretch is kept, one for all files, as they are read in turn.
    """

    _lock: ClassVar = threading.Lock()
    _kept: ClassVar[tuple[object, int, bytes]] = (None, 0, b"")

    def __init__(self, file: Bytes) -> None:
        self.name, self.size, self.count, self._file = file.name, file.size, 0, file

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` on. Raises as the file does."""
        if length >= _STRETCH or not 0 <= start <= start + length <= self.size:
            return self._fetch(start, length)
        with ReadAhead._lock:
            owner, first, data = ReadAhead._kept
            if owner is not self or not first <= start <= start + length <= first + len(data):
                data, first = self._fetch(start, min(max(length, _STRETCH), self.size - start)), start
                ReadAhead._kept = (self, first, data)
        return data[start - first : start - first + length]

    def _fetch(self, start: int, length: int) -> bytes:
        found = self._file.read(start, length)
        self.count += len(found)
        return found

    def close(self) -> None:
        """Give the file back."""
        ReadAhead._kept = (None, 0, b"")
        self._file.close()


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it. Raises UserError where none speaks its protocol."""
    import fsspec  # type: ignore[import-untyped]

    protocol = url.partition("://")[0]
    with _explained(without_secrets(url)):
        try:
            return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
        except ImportError as error:
            raise _missing(protocol, error, without_secrets(url)) from None
        except ValueError as error:
            known = "https, s3, gs, hf, memory and others"
            message = f"no file system is known for {protocol}://: {error}"
            raise _error(message, without_secrets(url), f"known with their packages: {known}") from None


def _missing(protocol: str, error: ImportError, name: str) -> UserError:
    package, extra = _PACKAGES.get(protocol, ("", ""))
    if not package:
        return _error(f"needs a package: {error}", name, code="missing-package")
    message = f"{protocol}:// needs the package {package}, which cannot be imported"
    return _error(message, name, f"pip install '{extra}'", code="missing-package")


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: without what signs it, and without a password."""
    if not is_remote(url):
        return url
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) + ("?…" if parts.query else "")


class _explained:  # noqa: N801 (read as a phrase: with _explained(name))
    """Turn what a file system of others raises into one message."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        status = getattr(error.__cause__ or error, "status", None)
        if status in (401, 403):
            hint = "sign in as its file system wants it, or use an address that is signed"
            raise _error(f"the server refuses it, with status {status}", self._name, hint, "refused") from None
        if isinstance(error, FileNotFoundError):
            raise _error("no such file", self._name, code="no-such-file") from None
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise _error(f"cannot be read: {text}", self._name) from None


def _error(message: str, path: str, hint: str = "", code: str = "unreadable") -> UserError:
    return UserError(message, where=path, hint=hint, code=code)


def _short(name: str, start: int, length: int, end: int) -> ShortRead:
    message = f"ends at byte {end:,}; {length:,} bytes from {start:,} on were to be read"
    return ShortRead(message, where=name, hint="it is cut off, or was changed while it was read", code="truncated")
