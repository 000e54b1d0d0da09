"""What a step keeps and takes: held against sizes worked out by hand, and against a real step in a fresh process."""

import subprocess
import sys
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import paraminspect
from paraminspect.analysis.layers.live_memory import Allocation, Timeline
from paraminspect.report import StepMemory

_STEP = """
import torch
from tests.analysis.layers import test_live_memory as tests
net, given, optimizer = tests.NETS[{name!r}]()
optimizer = optimizer(net.parameters())

def step():
    optimizer.zero_grad()
    output = net(given)
    output.square().mean().backward()
    optimizer.step()

step()
optimizer.zero_grad()
state = [value for one in optimizer.state.values() for value in one.values() if torch.is_tensor(value)]
held = [*net.parameters(), *net.buffers(), given, *state]
before = sum({{one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in held}}.values())
with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
    step()
events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
now = peak = 0
for event in sorted(events, key=lambda event: event.start_ns()):
    now += event.nbytes()
    peak = max(peak, now)
print(before + peak)
"""


class Attention(nn.Module):
    """A block of a transformer; with `repeated` its activations are computed again in the backward."""

    def __init__(self, width: int, repeated: bool = False) -> None:
        super().__init__()
        self.repeated = repeated
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=False) if self.repeated else self.block(x)

    def block(self, x: Tensor) -> Tensor:
        parts = self.mix(self.norm(x)).unflatten(-1, (3, 8, -1)).permute(2, 0, 3, 1, 4)
        x = x + functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return x + self.wide(x)


def _convolutions() -> nn.Module:
    def block(width: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]

    return nn.Sequential(*block(3, 48), *block(48, 48), nn.Flatten(), nn.Linear(48 * 64 * 64, 10))


def _shared() -> nn.Module:
    layer = nn.Linear(2500, 2500)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(2500, 2500), nn.Tanh(), layer)


def _blocks(depth: int, repeated: bool) -> nn.Module:
    return nn.Sequential(*(Attention(256, repeated) for _ in range(depth)))


NETS = {
    "mlp": lambda: (
        nn.Sequential(nn.Linear(3500, 3500), nn.ReLU(), nn.Linear(3500, 3500)),
        torch.rand(32, 3500),
        adamw,
    ),
    "inplace": lambda: (_convolutions(), torch.rand(48, 3, 64, 64), momentum),
    "attention": lambda: (_blocks(4, False), torch.rand(6, 512, 256), adamw),
    "checkpointed": lambda: (_blocks(12, True), torch.rand(12, 512, 256), adamw),
    "shared": lambda: (_shared(), torch.rand(256, 2500), adamw),
}


def adamw(parameters):
    return torch.optim.AdamW(parameters)


def momentum(parameters):
    return torch.optim.SGD(parameters, 1e-3, momentum=0.9)


def _memory(net: nn.Module, given: Tensor, **options) -> StepMemory:
    found = paraminspect.summary(net, given, **options)
    assert not found.errors, found.errors
    assert found.memory is not None
    return found.memory


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETS])
def test_a_real_step_in_a_fresh_process_takes_as_much(name: str) -> None:
    net, given, optimizer = NETS[name]()
    found = _memory(net, given, loss=lambda output: output.square().mean(), optimizer=optimizer.__name__)
    code = [sys.executable, "-c", _STEP.format(name=name)]
    measured = int(subprocess.run(code, capture_output=True, text=True, check=True).stdout)
    assert measured > 200e6
    assert found.step is not None
    assert found.step.total == pytest.approx(measured, rel=0.02)


def _parts(found: StepMemory) -> int:
    assert found.step is not None
    there = found.parameters + found.buffers + found.inputs + found.others
    step = found.step
    return (
        there
        + (found.optimizer_state or 0)
        + (found.master_weights or 0)
        + step.gradients
        + step.saved
        + step.transient
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_saved_is_what_the_formulas_of_the_derivatives_need(device: str) -> None:
    x = torch.rand(8, 16, device=device)

    def saved(*layers: nn.Module) -> int | None:
        net = nn.Sequential(*layers).to(device)
        found = _memory(net, x, loss="mean")
        assert found.step is not None
        assert found.step.total == _parts(found)
        assert found.step.total == max(one.total for one in found.peaks)
        return found.saved

    row = 8 * 16 * 4
    assert saved(nn.Linear(16, 16)) == 0  # its input is the model's own, its weight a parameter
    assert saved(nn.Linear(16, 16), nn.ReLU()) == row
    assert saved(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) == row  # one storage, saved twice
    assert saved(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16)) == 2 * row
    assert saved(nn.Linear(16, 16), nn.GELU(), nn.ReLU(), nn.Linear(16, 16)) == 2 * row
    assert saved(nn.BatchNorm1d(16), nn.ReLU(inplace=True)) == row + 2 * 16 * 4
    mask = row if device == "cpu" else row // 4
    assert saved(nn.Linear(16, 16), nn.Dropout(0.5)) == mask
    block = [nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()]
    assert saved(*block, *block) == 4 * row
    repeated = nn.Module()
    repeated.inside = nn.Sequential(*block)
    repeated.forward = lambda x: checkpoint(repeated.inside, x, use_reentrant=False)
    assert saved(nn.Linear(16, 16), repeated) == row


def test_twice_the_batch_saves_twice_and_the_parameters_stay() -> None:
    net = _blocks(3, False)
    one, two, longer = (_memory(net, torch.rand(shape)) for shape in ((2, 32, 256), (4, 32, 256), (2, 64, 256)))
    assert two.saved == longer.saved == 2 * (one.saved or 0)
    assert one.parameters == two.parameters == longer.parameters == 4 * sum(one.numel() for one in net.parameters())


def test_hooks_of_the_model_s_own_keep_working_and_what_they_keep_is_counted() -> None:
    class Offloaded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            with save_on_cpu():
                return self.inside(x)

    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = x * 2
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.kept

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offloaded = Offloaded()

        def forward(self, x: Tensor) -> Tensor:
            return Hidden.apply(self.offloaded(x))

    found = _memory(Both(), torch.rand(8, 16), loss="mean")
    assert found.saved_unseen == 3 * 8 * 16 * 4 == found.saved


def test_a_saved_tensor_that_is_written_to_fails_as_in_torch() -> None:
    class Written(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).exp().mul_(2)

    found = paraminspect.summary(Written(4, 4), torch.rand(2, 4))
    assert "modified by an inplace operation" in found.errors[0].message


def test_nothing_is_kept_alive_by_being_watched() -> None:
    held: list[weakref.ref[torch.UntypedStorage]] = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x).exp()
            held.append(weakref.ref(out.untyped_storage()))
            return out.exp()

    paraminspect.summary(Watched(4, 4), torch.rand(2, 4))
    paraminspect.summary(Watched(4, 4), torch.rand(2, 4), backward=False)
    assert held
    assert [one() for one in held] == [None] * len(held)


def test_a_timeline_says_what_lives_when() -> None:
    first, second, third = Allocation(8, 0, None, "a", 2), Allocation(4, 1, None, "b"), Allocation(2, 2, None, "c", 2)
    timeline = Timeline([first, second, third], {"forward": 0, "backward": 2}, 4)
    assert timeline.live() == [8, 12, 14, 4]
    assert [*timeline.span("forward")] == [0, 1]
    assert [*timeline.span("backward")] == [2, 3]
    assert [*timeline.span("loss")] == []
    assert [*timeline.at(3)] == [second]
