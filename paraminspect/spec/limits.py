"""The largest numbers that torch takes."""

from __future__ import annotations

from typing import Final

LARGEST: Final = 2**63 - 1
"""The largest size, and the most bytes, of a tensor: sizes are int64."""

SEEDS: Final = 2**64
"""How many seeds there are: 0 to 2**64 - 1."""
