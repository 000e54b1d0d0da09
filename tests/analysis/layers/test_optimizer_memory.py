"""The memory of torch's optimizers: held against what they themselves allocate, on tensors without memory."""

import pytest
import torch
from torch import Tensor, nn, optim

from paraminspect.analysis.layers.live_memory import LiveStorages, storages_of
from paraminspect.analysis.layers.optimizer_memory import OptimizerMemory, optimizer_memory
from tests.cases import each

_TORCH = {
    "sgd": optim.SGD,
    "momentum": lambda params, **how: optim.SGD(params, momentum=0.9, **how),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adafactor": lambda params, foreach: optim.Adafactor(params),  # it loops unless it is asked not to
    "muon": lambda params, foreach: optim.Muon(params),
}
_SHAPES = [(), (7,), (64, 3, 7, 7), (300, 200), (200, 300), (3, 1), (5, 4, 3), (1, 100), (96,), (300, 200)]


class _Steps(LiveStorages):
    """Let an optimizer step on tensors without values: a norm that it asks for is 1."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 1.0
        return super().__torch_dispatch__(func, types, args, kwargs)


def _measured(name: str, shapes, dtype: torch.dtype, foreach: bool) -> tuple[int, int]:
    """Return the bytes of the state after two steps, and of the largest transient of the second."""
    params: list[Tensor] = [nn.Parameter(torch.empty(shape, dtype=dtype, device="meta")) for shape in shapes]
    for one in params:
        one.grad = torch.empty_like(one)
    if not params:
        return 0, 0
    mode = _Steps([*params, *(one.grad for one in params)], lambda: None)
    optimizer = _TORCH[name](params, foreach=foreach)
    with mode:
        optimizer.step()
        mode.begin("second")
        optimizer.step()
    held = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    storages = {storage._cdata: storage.nbytes() for one in held for storage in storages_of(one)}
    live, state = mode.timeline.live(), sum(storages.values())
    return state, max(live[moment] for moment in mode.timeline.span("second")) - state


@each("foreach", [False, True])
@each("dtype", [torch.float32, torch.bfloat16], ids=str)
@each("name", [*_TORCH])
def test_state_and_transient_are_what_torch_allocates(name: str, dtype: torch.dtype, foreach: bool) -> None:
    params = [torch.empty(shape, dtype=dtype, device="meta") for shape in _SHAPES]
    found = optimizer_memory(params, name, foreach)
    if name == "muon":
        matrices = [shape for shape in _SHAPES if len(shape) == 2]
        parts = [("muon", matrices), ("adamw", [shape for shape in _SHAPES if len(shape) != 2])]
    else:
        parts = [(name, _SHAPES)]
    measured = [_measured(one, shapes, dtype, foreach) for one, shapes in parts]
    assert found.state == sum(state for state, _ in measured)
    assert found.transient == pytest.approx(max(taken for _, taken in measured), rel=1e-3)
    for shape in _SHAPES:  # and each on its own
        if name != "muon" or len(shape) == 2:
            one = optimizer_memory([torch.empty(shape, dtype=dtype, device="meta")], name, foreach)
            state, transient = _measured(name, [shape], dtype, foreach)
            assert (one.state, one.transient) == (state, pytest.approx(transient, abs=8)), shape


def test_master_weights_are_float32_for_less_precision_only() -> None:
    half = [torch.empty(100, 10, dtype=torch.bfloat16), torch.empty(10, dtype=torch.float32)]
    found = optimizer_memory(half, "adamw", False, master_weights=True)
    assert found == OptimizerMemory(state=2 * 4 * 1010 + 8, masters=4000, transient=4000 + 2 * 4000)
    plain = [torch.empty(100, 10)]
    assert optimizer_memory(plain, "adamw", True, master_weights=True) == optimizer_memory(plain, "adamw", True)
