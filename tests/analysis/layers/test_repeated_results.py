"""A forward for its memory alone: the same memory as one in earnest, and numbers nowhere made up."""

import torch
from torch import Tensor, nn
from torch.nn import functional

import paraminspect
from paraminspect.experiments import memory_of_step
from tests.zoo import HEALTHY


class _Layers(nn.Module):
    """Equal layers, then as many more as `times` makes of what they give, in eval mode alone where that is asked."""

    def __init__(self, times, alone=False) -> None:
        super().__init__()
        self.first = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(128, 128), nn.ReLU(inplace=True))])
        self.more, self.times, self.alone = nn.Linear(128, 256), times, alone

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        times = 2 if self.alone and self.training else self.times(x)
        return torch.cat([self.more(x) for _ in range(times)])


class _Shapes(nn.Module):
    """Results that share memory with what they are of, have strides of their own, several, or a dtype of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(3)])
        self.attention = nn.ModuleList([nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2)])
        self.recurrent = nn.LSTM(32, 32, 2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu_(norm(conv(x)).mul_(2).add_(x))
        x, places = functional.max_pool2d(x, 2, return_indices=True)
        y = x.flatten(1).view(2, -1, 32).transpose(0, 1).contiguous().transpose(0, 1)
        for attention in self.attention:
            y = attention(y, y, y, need_weights=False)[0] @ attention.in_proj_weight[:32]
        return functional.dropout(self.recurrent(y)[0], 0.5, self.training), places, y > y.mean(), (y.half() * 1).sort()


_READERS = {
    "item": lambda x: 1 + int(x.abs().sum().item()) % 7,
    "bool": lambda x: 3 if x.sum() > 1 else 2,
    "mask": lambda x: 1 + len(x[x > 0]) % 7,
    "numpy": lambda x: 1 + int(abs(x.detach().numpy().sum())) % 7,
    "list": lambda x: 1 + int(abs(sum(x[0].tolist()))) % 7,
    "error": lambda x: 1 + int(functional.embedding(x.abs().amax().long().clamp(max=8), x[:9]).abs().sum()) % 7,
}


def _models():
    torch.manual_seed(0)
    for name, make in HEALTHY.items():
        specimen = make()
        if len(specimen.args) == 1 and not specimen.kwargs:
            yield name, specimen.module, specimen.args[0]
    for name, times in _READERS.items():
        for alone in (False, True):
            yield name, _Layers(times, alone), torch.randn(256, 128)
    yield "equal layers", _Layers(lambda _: 4), torch.randn(256, 128)
    yield "shapes", _Shapes(), torch.randn(2, 8, 64, 64)


def _inference(report):
    return report.memory and report.memory.inference


def test_memory_is_that_of_a_forward_in_earnest(monkeypatch) -> None:
    runs: list[bool] = []
    original = memory_of_step.run_inference

    def run(*args):
        found = original(*args)
        runs.append(len(args) > 5 and args[5].repeated > 0)
        return found

    def in_earnest(*args):
        return original(*args[:5])

    spared = set()
    for name, module, x in _models():
        monkeypatch.setattr(memory_of_step, "run_inference", run)
        runs.clear()
        found = paraminspect.summary(module, x)
        spared |= {name} if runs == [True] else set()
        monkeypatch.setattr(memory_of_step, "run_inference", in_earnest)
        assert _inference(found) == _inference(paraminspect.summary(module, x)), name
    assert {"equal layers", "shapes"} <= spared
    assert not spared & {*_READERS}
