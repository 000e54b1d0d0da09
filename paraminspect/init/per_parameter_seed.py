"""A stream of random numbers for every parameter, so that what else a model holds has no say in its draws."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, name: str) -> int:
    """Return the 64 bits, from SHA-256, that seed the stream of the parameter that first goes by `name`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode(errors="surrogatepass")).digest()[:8], "little")
