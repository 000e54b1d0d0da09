"""The CRC-32 of bytes that are read in pieces, by several threads and in any order."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any, Final

_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31  # as a polynomial: the highest bit is that of x**0


class PiecewiseCrc:
    """Take pieces as they come; of those that begin at the same byte the longest counts, as a sample may come first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._pieces: dict[int, tuple[int, int]] = {}
        self._whole: int | None = None

    def add(self, at: int, piece: Any) -> None:
        """Take a piece that begins at a byte."""
        if self._pieces.get(at, (0, 0))[0] < len(piece):
            self._pieces[at] = len(piece), zlib.crc32(piece)

    def whole(self) -> int | None:
        """Return the CRC-32 of all the bytes; None where some were in no piece, or pieces do not follow each other.

        The pieces are not kept.
        """
        if self._pieces or not self._length:
            self._whole = self._joined()
            self._pieces.clear()
        return self._whole

    def _joined(self) -> int | None:
        at = crc = 0
        while at < self._length and at in self._pieces:
            length, other = self._pieces[at]
            crc = _product(_shift(length), crc) ^ other
            at += length
        return crc if at == self._length else None


def _product(one: int, other: int) -> int:
    """Multiply two polynomials modulo that of the CRC."""
    found = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            found ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return found


@cache
def _power(exponent: int) -> int:
    """Return x to the power of 2**exponent."""
    return _product(_power(exponent - 1), _power(exponent - 1)) if exponent else _ONE >> 1


@cache
def _shift(length: int) -> int:
    """Return what the CRC of bytes is multiplied by where so many follow: x to the power of their bits."""
    found = _ONE
    for place in range(length.bit_length()):
        if length >> place & 1:
            found = _product(_power(place + 3), found)
    return found
