"""Units with the same weights learn the same only where they get the same gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.analysis.signal.following import signal
from tests.cases import each


class Branch(nn.Module):
    """A branch that starts at nothing: its last layer is 0, or the factor it is multiplied by."""

    def __init__(self, last: float | None = None, factor: float = 1.0) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4)
        self.factor = nn.Parameter(torch.tensor(factor))
        if last is not None:
            nn.init.constant_(self.down.weight, last)
            nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.factor * self.down(self.up(x).tanh()))  # type: ignore[no-any-return]  # Any


class Adapter(nn.Module):
    """A weight and beside it LoRA's two, of which B is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4, bias=False), nn.Linear(4, 16, bias=False)
        self.head = nn.Linear(16, 4)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.whole(x) + self.b(self.a(x))))  # type: ignore[no-any-return]  # Any


def net(*constant: int) -> nn.Module:
    layers = [nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)]
    for at in constant:
        nn.init.constant_(layers[at].weight, 0.1)
        nn.init.zeros_(layers[at].bias)
    return nn.Sequential(*layers)


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "random": (net, {}),
    "a branch of zeros": (lambda: Branch(0.0), {}),
    "a factor of zero": (lambda: Branch(None, 0.0), {}),
    "a constant layer behind a factor of zero": (lambda: Branch(0.1, 0.0), {}),
    "LoRA": (Adapter, {}),
    "a constant layer before random ones": (lambda: net(0), {}),
    "a constant layer on both sides": (lambda: net(0, 2), {"0": 15}),
    "constant everywhere": (lambda: net(0, 2, 4), {"0": 15, "2": 15}),
}


@each("case", CASES)
def test_who_will_learn_the_same(case: str) -> None:
    make, wanted = CASES[case]
    torch.manual_seed(0)
    found = signal(make(), torch.randn(8, 16))
    assert {one.module: one.symmetric for one in found.layers if one.symmetric} == wanted
