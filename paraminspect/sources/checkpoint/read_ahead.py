"""A file far away, read in long stretches: what is asked for next is mostly what lies behind."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import ClassVar, Final, Self

from paraminspect.sources.checkpoint.file_bytes import Bytes

_STRETCH: Final = 2**24


class ReadAhead:
    """Read from a file in stretches of 16 MiB; the last is kept, one for all files, as they are read in turn."""

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

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on. Raises as `read` does."""
        buffer[:] = self.read(start, len(buffer))

    def close(self) -> None:
        """Give the file back."""
        ReadAhead._kept = (None, 0, b"")
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
