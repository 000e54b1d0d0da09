"""What the tests of the signal have in common: following a module, and the same figures in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from paraminspect.analysis.signal import Trace, follow, signal_over_seeds
from paraminspect.init.schemes.expected_moments import ExpectedMoments, constant, normal, uniform
from paraminspect.modules.subject import Batch, Given
from paraminspect.report import Signal, SignalLayer


def traced(module: nn.Module, *args: Any, drawn: Mapping[int, ExpectedMoments] | None = None, **kwargs: Any) -> Trace:
    """Follow the signal with nothing known of the weights, unless told."""
    options = {name: kwargs.pop(name) for name in ("thorough", "histograms", "expect", "contain") if name in kwargs}
    given = (*map(Given, args), *(Given(value, name) for name, value in kwargs.items()))
    return follow(module, Batch(given), None, drawn or {}, **options)


def signal(module: nn.Module, *args: Any, drawn: Mapping[int, ExpectedMoments] | None = None, **kwargs: Any) -> Signal:
    """Return the signal of one run, which must not have failed."""
    trace = traced(module, *args, drawn=drawn, **kwargs)
    assert trace.error is None, trace.error
    return signal_over_seeds([trace])


def layer(found: Signal, module: str, which: int = 0) -> SignalLayer:
    """Return the layer of a module's path, of several the one that `which` counts."""
    return [one for one in found.layers if one.module == module][which]


def rms(tensor: Tensor) -> float:
    """Return the root of the mean square."""
    return math.sqrt(float(tensor.detach().double().square().mean()))


def draw(
    module: nn.Module, gain: float = 2.0, bias: float = 0.0, shift: float = 0.0, flat: bool = False
) -> dict[int, ExpectedMoments]:
    """Draw weights of variance gain/fan_in and biases of mean `shift` and variance `bias`; say what they are.

    The gains of norms, and slopes, stay as they were built.
    """
    found: dict[int, ExpectedMoments] = {}
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            fan_in, _ = nn.init._calculate_fan_in_and_fan_out(parameter)
            found[id(parameter)] = _draw(parameter, 0.0, math.sqrt(gain / fan_in), flat)
        elif not name.endswith("weight"):
            found[id(parameter)] = _draw(parameter, shift, math.sqrt(bias), flat)
        else:
            found[id(parameter)] = constant(float(parameter.detach()[0]))
    return found


def _draw(parameter: Tensor, mean: float, std: float, flat: bool) -> ExpectedMoments:
    reach = math.sqrt(3.0) * std
    if std == 0:
        nn.init.constant_(parameter, mean)
        return constant(mean)
    if flat:
        nn.init.uniform_(parameter, mean - reach, mean + reach)
        return uniform(mean - reach, mean + reach)
    nn.init.normal_(parameter, mean, std)
    return normal(mean, std)


def mlp(widths: list[int], activation: Callable[[], nn.Module], readout: bool = True) -> nn.Sequential:
    """Return Linear layers with an activation after each but the readout."""
    layers: list[nn.Module] = []
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), activation()]
    return nn.Sequential(*(layers[:-1] if readout else layers))
