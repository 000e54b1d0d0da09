"""Numbers of bytes, written for people."""

from __future__ import annotations


def format_bytes(n: int) -> str:
    """Return a number of bytes in units of 1024, to one decimal, halves up: ``1023 bytes``, ``1.5 KiB``.

    Integer arithmetic throughout: `n` may be larger than any float.
    """
    if n < 1024:
        return "1 byte" if n == 1 else f"{n} bytes"
    for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), start=1):
        tenths = (20 * n + 1024**power) // (2 * 1024**power)
        if tenths < 10240:
            return f"{tenths // 10}.{tenths % 10} {unit}"
    return "over 1024 YiB"
