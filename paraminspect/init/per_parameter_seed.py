"""A stream of random numbers for every parameter, so that what else a model holds has no say in its draws."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator


def seed_of(seed: int, name: str) -> int:
    """Return the 64 bits, from SHA-256, that seed the stream of the parameter that first goes by `name`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode(errors="surrogatepass")).digest()[:8], "little")


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Put torch's generators back afterwards: what follows draws as if nothing had been drawn inside."""
    import torch

    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
