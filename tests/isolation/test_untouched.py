"""Looking changes nothing: a full fingerprint of model, generators and torch before and after, on every model."""

from __future__ import annotations

import os
import random
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.nn.parameter import is_lazy
from torch.overrides import _get_current_function_mode_stack

from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.experiments.summary import summary
from paraminspect.modules.subject import Batch, Given, Loss, Subject
from paraminspect.report import Report, Source
from tests.cases import each
from tests.zoo import ZOO, Specimen


def look(specimen: Specimen, command: str = "show", **kwargs: Any) -> Report:
    given = (*map(Given, specimen.args), *(Given(value, name) for name, value in specimen.kwargs.items()))
    module = specimen.module
    subject = Subject(module, Source("module", "m"), None, lambda: Batch(given), loss=Loss(), foreign=True)
    return (summary if command == "summary" else show)(subject, Request(command, **kwargs))


def _tensor(tensor: Tensor | None) -> Any:
    """Everything about a tensor that can be seen, its bits included, and which object it is."""
    if tensor is None or is_lazy(tensor):
        return id(tensor), type(tensor)
    own = id(tensor), type(tensor), tensor.dtype, tuple(tensor.shape), str(tensor.device), tensor.requires_grad
    if tensor.is_meta or tensor.is_sparse:
        return own
    hooks = list((tensor._post_accumulate_grad_hooks or {}).items()) if tensor.is_leaf else []
    bits = tensor.detach().resolve_conj().reshape(-1).contiguous().view(torch.uint8).tolist() if tensor.numel() else []
    return (
        *own,
        tensor.data_ptr(),
        tensor.stride(),
        bits,
        hooks,
        list((tensor._backward_hooks or {}).items()),
        dict(vars(tensor)),
    )


def _value(value: Any, seen: set[int]) -> Any:
    """Go through containers and modules, also those that no module registers; every module once."""
    if isinstance(value, Tensor):
        return _tensor(value), _tensor(value.grad) if value.is_leaf else None
    if isinstance(value, dict):
        return id(value), [(key, _value(item, seen)) for key, item in value.items()]
    if isinstance(value, (list, tuple, set)):
        return id(value), [_value(item, seen) for item in value]
    if isinstance(value, nn.Module) and id(value) not in seen:
        seen.add(id(value))
        return id(value), type(value), [(key, _value(item, seen)) for key, item in vars(value).items()]
    if isinstance(value, torch.Generator):
        return id(value), value.get_state().tolist()
    if isinstance(value, random.Random):
        return id(value), value.getstate()
    if isinstance(value, np.random.Generator):
        return id(value), repr(value.bit_generator.state)
    return id(value) if callable(value) else repr(value)


def _process() -> Any:
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), rest),
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "cudnn": torch.backends.cudnn.benchmark,
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "modes": len(_get_current_function_mode_stack()),
        "global hooks": [
            len(getattr(module_hooks, name))
            for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
        ],
        "filters": list(warnings.filters),
        "print": torch._tensor_str.get_printoptions(),
        "environment": dict(os.environ),
        "path": list(sys.path),
    }


def fingerprint(specimen: Specimen) -> dict[str, Any]:
    model, inputs = _value(specimen.module, set()), _value((specimen.args, specimen.kwargs), set())
    return {"model": model, "inputs": inputs[1], **_process()}


@each("command", ["show", "grad", "summary"])
@each("name", ZOO)
def test_looking_changes_nothing(name: str, command: str) -> None:
    torch.manual_seed(0)
    specimen = ZOO[name]()
    before = fingerprint(specimen)
    report = look(specimen, command, all_uses=command == "grad")
    after = fingerprint(specimen)
    for part, value in before.items():
        assert after[part] == value, part
    assert report.forward is not None
    assert (report.forward.error is not None) == ("raises" in name)


def test_the_fingerprint_would_see_it() -> None:
    """A test of the test: without our care, every model that disturbs something is caught."""
    for name, make in ZOO.items():
        if ", raises" in name or name in ("uses a weight", "installs hooks"):
            continue
        torch.manual_seed(0)
        specimen = make()
        before = fingerprint(specimen)
        state = torch.get_rng_state(), random.getstate(), np.random.get_state()
        settings = torch.get_num_threads(), torch.get_float32_matmul_precision()
        try:
            if any(p.requires_grad for p in specimen.module.parameters()) and name != "structured":
                output = specimen.module(*specimen.args, **specimen.kwargs)
                output = output[0] if isinstance(output, tuple) else output
                if output.requires_grad and output.dtype is torch.float32:
                    with torch.enable_grad():  # which the forward may have switched off
                        output.sum().backward()
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_grad_enabled(True)
            torch.use_deterministic_algorithms(False)
            seen = fingerprint(specimen)
            torch.set_rng_state(state[0])
            random.setstate(state[1])
            np.random.set_state(state[2])
            torch.set_num_threads(settings[0])
            torch.set_float32_matmul_precision(settings[1])
            torch.autograd.set_detect_anomaly(False, check_nan=True)
            torch.backends.cudnn.benchmark = False
            torch.set_printoptions(profile="default")
            os.environ.pop("PARAMINSPECT_ZOO", None)
            sys.path[:] = [entry for entry in sys.path if entry != "zoo"]
        trains = name not in ("frozen", "structured", "half")
        assert (seen != before) == trains, name
