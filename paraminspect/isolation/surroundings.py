"""What the code of a model runs inside, and how its input is drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch

from paraminspect.isolation import user_code
from paraminspect.modules.subject import Batch

NOTHING: AbstractContextManager[object] = contextlib.nullcontext()


@contextlib.contextmanager
def around(foreign: bool, watching: AbstractContextManager[object] = NOTHING) -> Iterator[None]:
    """Contain the code of a module that is the user's, under the mode that watches its writes."""
    with user_code.contained() if foreign else contextlib.nullcontext(), watching:
        yield


def drawn(make_input: Callable[[], Batch]) -> Batch:
    """Draw the input, also where the caller has gradients switched off for good."""
    with torch.inference_mode(False):
        return make_input()
