"""What torch, numpy and Python keep for the whole process: put back afterwards, and set as a forward needs it."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from paraminspect.isolation import user_code
from paraminspect.modules.subject import Batch

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
    yield torch_generators()


def torch_generators() -> Restore:
    """Remember torch's generators, of the CPU and of every device in use, and return what puts them back."""
    undo: list[Restore] = [partial(torch.set_rng_state, torch.get_rng_state())]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's
        undo.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        undo.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return lambda: [restore() for restore in undo]


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Put torch's generators back afterwards: what follows draws as if nothing had been drawn inside."""
    restore = torch_generators()
    try:
        yield
    finally:
        restore()


def _settings() -> Iterator[Restore]:
    yield _setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _setting(torch.get_default_device, _set_default_device)
    yield _setting(torch.get_num_threads, torch.set_num_threads)
    yield _setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield _setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode)
    yield _setting(_anomaly, lambda found: torch.set_anomaly_enabled(*found))
    for device in ("cpu", "cuda"):
        yield _setting(partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device))
        yield _setting(partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device))
    yield _setting(torch._tensor_str.get_printoptions, _set_print_options)
    yield _setting(lambda: list(sys.path), lambda found: sys.path.__setitem__(slice(None), found))
    yield _setting(lambda: dict(os.environ), _set_environment)
    cudnn = torch.backends.cudnn
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _setting(partial(getattr, cudnn, name), partial(setattr, cudnn, name))


def _setting(get: Callable[[], T], put: Callable[[T], Any]) -> Restore:
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


NOTHING: AbstractContextManager[object] = contextlib.nullcontext()


@contextlib.contextmanager
def around(foreign: bool, watching: AbstractContextManager[object] = NOTHING) -> Iterator[None]:
    """Contain the code of a module that is the user's, under the mode that watches its writes."""
    with user_code.contained() if foreign else contextlib.nullcontext(), watching:
        yield


def draw_batch(make_input: Callable[[], Batch]) -> Batch:
    """Draw the input, also where the caller has gradients switched off for good."""
    with torch.inference_mode(False):
        return make_input()
