"""What `show` says of a module's initialisation, and what the other commands and sources do not."""

import json

import pytest
import torch
from torch import nn

import paraminspect


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(256, 64), nn.LayerNorm(64), nn.Linear(64, 3))
    nn.init.kaiming_normal_(net[0].weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(net[0].bias)
    return net


def inits(report):
    return {row.name: row.init for row in report.parameters}


def test_every_parameter_has_an_answer():
    found = inits(paraminspect.inspect(network(), forward=False, recognise=True))
    assert {name: one.distribution for name, one in found.items()} == {
        "0.weight": "kaiming_normal fan_out, relu",
        "0.bias": "zeros",
        "1.weight": "ones",
        "1.bias": "zeros",
        "2.weight": "uniform ±1/√fan_in (Linear's default)",
        "2.bias": "unrecognised",
    }
    assert [one.recognised for one in found.values()] == [True] * 5 + [False]
    weight, bias = found["0.weight"], found["2.bias"]
    assert (weight.scheme, weight.args) == ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "relu"})
    assert (weight.fan_in, weight.fan_out, weight.expected_mean, weight.expected_std) == (
        256,
        64,
        0.0,
        pytest.approx(32**-0.5),
    )
    assert weight.confidence > 0.95 and 1e-4 < weight.p_value <= 1 and weight.notes == ()
    assert (bias.scheme, bias.expected_std, bias.notes) == ("unrecognised", None, ("too few elements",))


def test_the_answer_is_no_verdict():
    """It is made of the values, which cannot fail it."""
    assert [
        one for one in paraminspect.inspect(network(), forward=False, recognise=True).verdicts if one.about == "scheme"
    ] == []


def test_a_forward_that_writes_comes_too_late():
    class Writing(nn.Linear):
        def forward(self, x):
            self.weight.data.fill_(7.0)
            return super().forward(x)

    net = Writing(64, 32)
    found = inits(paraminspect.inspect(net, torch.rand(2, 64), recognise=True))
    assert found["weight"].distribution == "uniform ±1/√fan_in (Linear's default)"


def test_where_nothing_is_said():
    meta = nn.Linear(64, 32, device="meta")
    assert inits(paraminspect.inspect(meta, forward=False, recognise=True)) == {"weight": None, "bias": None}
    assert set(inits(paraminspect.inspect(network(), forward=False, statistics=False, recognise=True)).values()) == {
        None
    }
    assert set(inits(paraminspect.inspect(network(), torch.rand(2, 256), uses=True)).values()) == {None}


@pytest.mark.parametrize("trace", [torch.jit.script, lambda net: torch.jit.trace(net, torch.rand(2, 256))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_are_read_too(trace):
    found = inits(paraminspect.inspect(trace(network()), forward=False, recognise=True))
    assert found["0.weight"].distribution == "kaiming_normal fan_out, relu"


def test_the_json_of_a_spec_has_the_keys_and_no_answer(run):
    ran = run("show", "mlp", "--json")
    init = json.loads(ran.out)["parameters"][0]["init"]
    assert (init["scheme"], init["recognised"], init["distribution"]) == ("default", None, None)
    assert (init["confidence"], init["p_value"], init["also"]) == (None, None, [])
