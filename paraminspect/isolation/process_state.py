"""What Python, numpy and torch keep for the whole process, and how to put it back."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

Restore = Callable[[], Any]
T = TypeVar("T")


@contextlib.contextmanager
def process_kept() -> Iterator[None]:
    """Put the random number generators and torch's settings back afterwards."""
    undo = [*process_state()]
    try:
        yield
    finally:
        for restore in reversed(undo):
            restore()


def process_state() -> Iterator[Restore]:
    """Yield what puts back the random number generators and torch's settings as they are now."""
    yield from _generators()
    yield from _settings()


def _generators() -> Iterator[Restore]:
    yield partial(random.setstate, random.getstate())
    yield partial(np.random.set_state, np.random.get_state())
    yield partial(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's
        yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        yield partial(torch.mps.set_rng_state, torch.mps.get_rng_state())


def _settings() -> Iterator[Restore]:
    yield _kept(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _kept(torch.get_default_dtype, torch.set_default_dtype)
    yield _kept(torch.get_default_device, _set_default_device)
    yield _kept(torch.get_num_threads, torch.set_num_threads)
    yield _kept(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield _kept(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode)
    yield _kept(_anomaly, lambda found: torch.set_anomaly_enabled(*found))
    for device in ("cpu", "cuda"):
        yield _kept(partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device))
        yield _kept(partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device))
    yield _kept(torch._tensor_str.get_printoptions, _set_print_options)
    yield _kept(lambda: list(sys.path), lambda found: sys.path.__setitem__(slice(None), found))
    yield _kept(lambda: dict(os.environ), _set_environment)
    cudnn = torch.backends.cudnn
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _kept(partial(getattr, cudnn, name), partial(setattr, cudnn, name))


def _kept(get: Callable[[], T], put: Callable[[T], Any]) -> Restore:
    """Return what puts a setting back where it differs: some of torch's setters import half of torch, or add up."""
    before = get()

    def restore() -> None:
        if get() != before:
            put(before)

    return restore


def _set_print_options(options: dict[str, Any]) -> None:
    torch.set_printoptions(**options)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
