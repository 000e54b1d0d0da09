"""How a forward of the user's runs: recorded by autograd, eagerly, and with room for our frames beside its own."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Let autograd record, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Let a forward nest as deep as it does without us: each of its calls takes some frames of ours beside its own."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Run compiled modules eagerly: what is compiled makes no calls to follow."""
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and the import takes seconds
        with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using `torch.compile\\(module\\)` when there are global hooks")
            yield
    else:
        yield
