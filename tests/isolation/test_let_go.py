"""Of a model that was looked at nothing stays behind: it can be freed, and so can its graph."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import paraminspect
from tests.zoo import HEALTHY


def test_a_model_that_was_looked_at_can_be_freed() -> None:
    """Python's collector does not see the way from a node of autograd's graph to the hooks on it.

    A model whose own hooks keep it alive is none of ours.
    """
    ways: dict[str, Callable[..., Any]] = {"inspect": paraminspect.inspect, "check": paraminspect.check}
    ways["nothing"] = lambda module, inputs: None
    left: dict[tuple[str, str], list[weakref.ref[Any]]] = {}
    for name, build in HEALTHY.items():
        for word, way in ways.items():
            specimen = build()
            inputs = {"left": specimen.args[0], **specimen.kwargs} if specimen.kwargs else specimen.args
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, about hooks and complex numbers
                way(specimen.module, inputs)
            left[word, name] = [weakref.ref(one) for one in (specimen.module, *specimen.module.parameters())]
            del specimen, inputs
    gc.collect()
    kept = {key for key, every in left.items() if any(one() is not None for one in every)}
    assert {(word, name) for word, name in kept if ("nothing", name) not in kept} == set()
