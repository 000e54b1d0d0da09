"""LSUV against the loop of forwards that one would write by hand, and what it must leave alone."""

import contextlib
import copy
import math

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.init.apply import apply_rules
from paraminspect.init.calibration import Calibration, calibrate, scale_to_batch
from paraminspect.init.rules import bind_rules, option_rules
from paraminspect.init.schemes.registry import bind
from paraminspect.modules.demo import Residual
from tests.cases import each


def by_hand(net, x, names, tol, max_steps):
    """Layer by layer, a whole forward for every look at an output (Mishkin & Matas 2015, algorithm 1)."""
    seen = {}
    for name in names:
        layer = net.get_submodule(name.rpartition(".")[0])
        with torch.no_grad(), contextlib.closing(Output(layer)) as output:
            stds = []
            for step in range(max_steps + 1):
                state, buffers = torch.get_rng_state(), copy.deepcopy(dict(net.named_buffers()))
                net(x)
                torch.set_rng_state(state)
                for key, buffer in net.named_buffers():
                    buffer.copy_(buffers[key])
                stds.append(output.first.double().std(correction=0).item())
                if abs(stds[-1] ** 2 - 1) < tol or step == max_steps:
                    break
                net.get_parameter(name).div_(stds[-1])
        seen[name] = stds
    return seen


class Output:
    def __init__(self, layer):
        self.calls = []
        self.close = layer.register_forward_hook(self.note).remove

    def note(self, layer, args, output):
        self.calls.append((output[0] if isinstance(output, tuple) else output).clone())

    @property
    def first(self):
        first, *_ = self.calls
        self.calls.clear()
        return first


def fill(net, names, **args):
    scheme = bind("lsuv", args)
    for name in names:
        scheme.apply(net.get_parameter(name))
    return [(name, net.get_parameter(name), scheme) for name in names]


def mlp():
    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 20), nn.Tanh(), nn.Linear(20, 10))


def conv():
    return nn.Sequential(
        nn.Unflatten(1, (1, 5, 6)), nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )


def dropout():
    return nn.Sequential(nn.Linear(30, 40), nn.Dropout(0.5), nn.ReLU(), nn.Linear(40, 20), nn.Dropout(0.2))


def residual():
    return nn.Sequential(nn.Linear(30, 16), Residual(nn.ReLU(), nn.Linear(16, 16)), nn.Linear(16, 3))


def inplace():
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(inplace=True), nn.Linear(16, 3))


def recurrent():
    return nn.Sequential(nn.Unflatten(1, (5, 6)), nn.LSTM(6, 7))


NETS = {
    "mlp": (mlp, ["0.weight", "2.weight", "4.weight"]),
    "convolution and batch norm": (conv, ["1.weight", "5.weight"]),
    "dropout": (dropout, ["0.weight", "3.weight"]),
    "residual": (residual, ["0.weight", "1.1.weight", "2.weight"]),
    "inplace": (inplace, ["0.weight", "2.weight"]),
    "some layers": (mlp, ["2.weight"]),
    "two weights of a layer": (recurrent, ["1.weight_ih_l0", "1.weight_hh_l0"]),
}


@each("tol", [0.1, 1e-3])
@each(("build", "names"), NETS.values(), ids=NETS)
def test_is_the_loop_by_hand(build, names, tol):
    torch.manual_seed(3)
    net, x = build(), torch.randn(64, 30)
    chosen = fill(net, names, tol=tol, max_steps=4)
    other = copy.deepcopy(net)
    state = torch.get_rng_state()
    found = calibrate(net, (x,), {}, chosen)
    assert torch.equal(torch.get_rng_state(), state)
    expected = by_hand(other, x, names, tol, 4)
    for (key, ours), theirs in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key
    for one in found:
        stds = expected[one.name]
        assert (one.before, one.after, one.steps) == (stds[0], stds[-1], len(stds) - 1)
        assert one.scale == pytest.approx(1 / math.prod(stds[:-1]), rel=1e-12)
        assert bool(one.note) == (abs(one.after**2 - 1) >= tol)


def test_without_bias_one_step_is_enough():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 40, bias=False), nn.ReLU(), nn.Linear(40, 20, bias=False))
    names = ["0.weight", "2.weight"]
    orthogonal = fill(net, names, tol=1e-5)
    before = [net.get_parameter(name).detach().clone() for name in names]
    for one, w in zip(calibrate(net, (torch.randn(500, 30) * 7,), {}, orthogonal), before, strict=True):
        assert (one.steps, one.note) == (1, "")
        assert one.after == pytest.approx(1.0, abs=1e-5)
        torch.testing.assert_close(net.get_parameter(one.name).detach(), w * one.scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_dtypes(dtype):
    torch.manual_seed(0)
    net = mlp().to(dtype)
    chosen = fill(net, ["0.weight", "2.weight"], tol=0.05)
    assert [
        abs(one.after**2 - 1) < 0.05 for one in calibrate(net, (torch.randn(64, 30, dtype=dtype),), {}, chosen)
    ] == [True] * 2


class Odd(nn.Module):
    """Layers called by keyword, twice, by their weight alone, and not at all."""

    def __init__(self):
        super().__init__()
        self.twice, self.read, self.idle = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.seen = []

    def forward(self, x, *, scale=1.0):
        self.seen.append(x.shape)
        y = self.twice(input=self.twice(input=x * scale))
        return nn.functional.linear(y, self.read.weight), y


def test_says_what_it_did_not_scale():
    torch.manual_seed(0)
    net, names = Odd(), ["idle.weight", "twice.weight", "read.weight"]
    chosen = fill(net, names)
    before = {name: net.get_parameter(name).detach().clone() for name in names}
    idle, twice, read = calibrate(net, (torch.randn(40, 8),), {"scale": 5.0}, chosen)
    assert idle == Calibration("idle.weight", None, None, 1.0, 0, "its layer was not called: not scaled")
    assert read == Calibration("read.weight", None, None, 1.0, 0, "its layer was not called: not scaled")
    assert (twice.steps, twice.note) == (1, "its layer was called 2 times: scaled on the first call")
    assert twice.before == pytest.approx(5.0, rel=0.2)
    assert torch.equal(net.idle.weight, before["idle.weight"]) and torch.equal(net.read.weight, before["read.weight"])
    assert net.seen == [] and all(not module._forward_hooks for module in net.modules())


def test_leaves_gradients_modes_and_the_graph_alone():
    net = mlp().eval()
    net[0].train()
    chosen = fill(net, ["0.weight"])
    calibrate(net, (torch.randn(9, 30),), {}, chosen)
    assert [net.training, net[0].training] == [False, True]
    assert [(p.grad, p.requires_grad, p.is_leaf) for p in net.parameters()] == [(None, True, True)] * 6


def test_a_layer_that_gives_no_numbers():
    with torch.device("meta"):
        net, x = mlp(), torch.empty(4, 30)
    (found,) = calibrate(net, (x,), {}, fill(net, ["0.weight"]))
    assert found == Calibration("0.weight", None, None, 1.0, 0, "its layer returned no real numbers: not scaled")


def test_it_stops_where_dividing_does_not_help():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8))
    nn.init.normal_(net[0].bias, std=20.0)
    (found,) = calibrate(net, (torch.randn(64, 8),), {}, fill(net, ["0.weight"], max_steps=2))
    assert found.steps == 2
    assert found.note == f"the variance is {found.after**2:.4g} after 2 steps"


@pytest.mark.parametrize(
    ("x", "variance"),
    [
        (torch.zeros(4, 30), "no variance"),
        (torch.full((4, 30), math.nan), "a variance that is not finite"),
        (torch.full((4, 30), 3e38), "a variance that is not finite"),
    ],
)
def test_refuses_an_output_without_a_variance(x, variance):
    net = nn.Sequential(nn.Linear(30, 5, bias=False))
    chosen = fill(net, ["0.weight"])
    before = net[0].weight.detach().clone()
    with pytest.raises(UserError) as caught:
        calibrate(net, (x,), {}, chosen)
    assert caught.value.message == f"lsuv cannot scale '0.weight': what its layer returns on this input has {variance}"
    assert caught.value.code == "no-variance"
    assert torch.equal(net[0].weight, before)


def test_a_forward_that_fails_is_named_and_undone():
    net = nn.Sequential(nn.Linear(30, 5), nn.BatchNorm1d(5), nn.Linear(6, 5))
    with pytest.raises(UserError) as caught:
        calibrate(net, (torch.randn(4, 30),), {}, fill(net, ["0.weight"]))
    assert (caught.value.where, caught.value.code) == ("layer '2'", "forward-failed")
    assert caught.value.message.startswith(
        "lsuv needs a forward, which failed: Linear expects (…, 6) of float32, got (4, 5)"
    )
    assert net[1].num_batches_tracked == 0 and all(not module._forward_hooks for module in net.modules())


def test_the_users_code_runs_contained():
    inside = []

    @contextlib.contextmanager
    def contain():
        inside.append("in")
        yield
        inside.append("out")

    net = mlp()
    net[1].register_forward_hook(lambda *_: inside.append("forward"))
    calibrate(net, (torch.randn(9, 30),), {}, fill(net, ["0.weight"]), contain)
    assert inside == ["in", "forward", "out"]


def test_what_watches_for_writes_of_the_forward_does_not_undo_it():
    from paraminspect.analysis.inventory import take_inventory
    from paraminspect.experiments.measured_run import guarded

    net = mlp()
    chosen = fill(net, ["0.weight"])
    with guarded(take_inventory(net)) as mode:
        calibrate(net, (torch.randn(64, 30) * 9,), {}, chosen, lambda: mode)
        scaled = net[0].weight.detach().clone()
    assert torch.equal(net[0].weight, scaled)


def test_a_parametrised_weight_counts_by_its_layer():
    net = nn.Sequential(nn.Linear(8, 8, bias=False))

    class Twice(nn.Module):
        def forward(self, w):
            return 2 * w

    nn.utils.parametrize.register_parametrization(net[0], "weight", Twice())
    (found,) = calibrate(net, (torch.randn(64, 8),), {}, fill(net, ["0.parametrizations.weight.original"], tol=1e-4))
    assert (found.steps, found.after) == (1, pytest.approx(1.0, abs=1e-4))


# --- weights whose size is not the layer's own ----------------------------------------------------------------------


class Standardised(nn.Linear):
    """A layer that divides its weight by the weight's own std, times a gain, as timm's ScaledStdConv2d."""

    def __init__(self, gain):
        super().__init__(30, 20)
        self.gain = nn.Parameter(torch.full((20, 1), gain))

    def forward(self, x):
        return nn.functional.linear(x, self.gain * self.weight / self.weight.std(1, keepdim=True), self.bias)


def test_what_scaling_cannot_change_is_left_as_drawn_and_said():
    torch.manual_seed(0)
    net = nn.Sequential(Standardised(1.0), nn.Linear(20, 30), Standardised(0.0), nn.Linear(20, 5))
    net[2].bias.data.zero_()
    names = [f"{layer}.weight" for layer in range(4)]
    chosen = fill(net, names)
    before = {name: parameter.detach().clone() for name, parameter, _ in chosen}
    found = {one.name: one for one in calibrate(net, (torch.randn(64, 30),), {}, chosen)}
    assert [found[name].note for name in names] == [
        "what its layer returns stops changing with the size of the weight: not scaled",
        "",
        "what its layer returns does not vary, for its 'gain' is zero: not scaled",
        "what its layer returns stops changing with the size of the weight, for its input is the same everywhere: "
        "not scaled",
    ]
    for layer, name in enumerate(names):
        assert torch.equal(net[layer].weight, before[name]) == (name != "1.weight")


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_normed_layer_is_scaled_like_the_plain_one(norm):
    torch.manual_seed(0)
    plain, x = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 9)), torch.randn(64, 30)
    normed = copy.deepcopy(plain)
    for layer in (0, 2):
        norm(normed[layer])
    for net in (plain, normed):
        torch.manual_seed(1)
        rules = bind_rules(option_rules("lsuv", None, ()), allow_code=False)
        scale_to_batch(net, (x,), {}, apply_rules(net, rules))
    for layer in (0, 2):
        torch.testing.assert_close(normed[layer].weight, plain[layer].weight)
    assert normed(x).std().item() == pytest.approx(1.0, abs=0.1)
