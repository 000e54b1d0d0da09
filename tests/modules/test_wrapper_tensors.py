"""Tensors that keep their numbers in other tensors: nothing raises, nothing changes, and what is unknown says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import return_and_correct_aliasing

import paraminspect
from paraminspect.modules.wrapper_tensors import bytes_held, plain_tensors, whole, why_unread

aten = torch.ops.aten


class Int8(Tensor):
    """A look-alike of torchao's: int8 and a scale for each row; it has few operations, and raises in all the others."""

    @staticmethod
    def __new__(cls, data: Tensor, scale: Tensor) -> Int8:
        return Tensor._make_wrapper_subclass(cls, data.shape, dtype=scale.dtype, device=data.device)

    def __init__(self, data: Tensor, scale: Tensor) -> None:
        self.numbers, self.scale = data, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    def __repr__(self) -> str:
        raise NotImplementedError

    def dequantized(self) -> Tensor:
        return self.numbers.to(self.scale.dtype) * self.scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (aten.detach.default, aten.alias.default):
            made = cls(args[0].numbers, args[0].scale)
            return return_and_correct_aliasing(func, args, kwargs or {}, made)
        if func is aten.t.default:
            return args[0].dequantized().t()
        if func is aten.mul_.Tensor:
            args[0].scale.mul_(args[1])
            return args[0]
        raise NotImplementedError(f"no {func} for {cls.__name__}")


class Mute(Int8):
    """One that knows no operation at all, and does not say what is inside."""

    __tensor_flatten__ = None  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.detach.default:
            return cls(args[0].numbers, args[0].scale)
        raise NotImplementedError(f"no {func} for {cls.__name__}")


def quantised(weight: Tensor, kind: type[Int8] = Int8) -> Int8:
    scale = weight.detach().abs().amax(1, keepdim=True) / 127
    return kind((weight.detach() / scale).round().to(torch.int8), scale)


def network(kind: type[Int8] = Int8) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].weight = nn.Parameter(quantised(net[0].weight, kind), requires_grad=False)
    return net


WHY = "its values are not read: its class is Int8, which keeps them as int8 and float32"


def test_a_quantised_weight_is_shown_with_what_is_known_of_it() -> None:
    net = network()
    numbers, scale = (one.clone() for one in plain_tensors(net[0].weight))
    x = torch.randn(2, 8)
    found = paraminspect.inspect(net, x, values=True)
    weight, bias = found.parameters[:2]
    assert (weight.kind, weight.shape, weight.numel, weight.dtype) == ("parameter", (4, 8), 32, "float32")
    assert (weight.bytes, weight.values, weight.data, weight.note) == (4 * 8 + 4 * 4, None, None, WHY)
    assert (weight.gradient.status, bias.gradient.status) == ("frozen", "ok")
    assert found.totals.parameters == sum(one.numel() for one in net.parameters())
    assert found.forward.loss == pytest.approx(net(x).sum().item())
    assert torch.equal(net[0].weight.numbers, numbers)
    assert torch.equal(net[0].weight.scale, scale)
    assert f"0.weight: {WHY}" in " ".join(str(found).split())


def test_a_class_that_hides_everything_stops_nothing() -> None:
    found = paraminspect.inspect(network(Mute), torch.randn(2, 8))
    assert found.parameters[0].note == "its values are not read: its class is Mute, which keeps them out of sight"
    assert [one.where for one in found.errors] == ["layer '0'"]  # its own forward


class Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Parameter(quantised(torch.randn(3, 3)), requires_grad=False)
        self.last = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Any:
        self.kept.mul_(torch.tensor(2.0))
        return self.last(x)


def test_what_a_forward_writes_inside_one_is_put_back() -> None:
    net = Writes()
    before = net.kept.scale.clone()
    paraminspect.inspect(net, torch.randn(2, 3))
    assert torch.equal(net.kept.scale, before)
    net(torch.randn(2, 3))
    assert torch.equal(net.kept.scale, 2 * before)


def test_what_a_plain_tensor_holds_is_itself() -> None:
    plain = torch.ones(2)
    assert plain_tensors(plain) == [plain]
    assert whole(plain) is plain
    assert why_unread(plain) is None
    assert bytes_held(quantised(torch.ones(3, 5))) == 3 * 5 + 3 * 4
    assert whole(quantised(torch.ones(3, 5))) is None


# --- DTensor and FSDP, in one process -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mesh() -> Iterator[Any]:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def figures(found: Any) -> list[Any]:
    return [(row.name, row.values, row.gradient, row.bytes, row.note) for row in found.parameters]


def sharded(mesh: Any) -> nn.Sequential:
    from torch.distributed.fsdp import fully_shard

    net = plain()
    for layer in (net[0], net[2]):
        fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_fsdp_in_one_process_has_the_figures_of_the_plain_network(mesh: Any) -> None:
    x = torch.randn(2, 8)
    net = sharded(mesh)
    found, expected = paraminspect.inspect(net, x), paraminspect.inspect(plain(), x)
    assert figures(found) == figures(expected)
    found = paraminspect.inspect(net, x, uses=True)
    assert {verdict.verdict for verdict in found.verdicts if verdict.about == "ledger"} == {"unseen"}
    assert "is not the sum" not in str(found)
    assert "a gradient arrived, but no use was seen" in str(found)
    for one, other in zip(net.parameters(), plain().parameters(), strict=True):
        assert torch.equal(one.full_tensor(), other)
        assert one.grad is None
    net(x).sum().backward()  # it trains as before


def test_a_dtensor_says_where_the_rest_of_it_is(mesh: Any) -> None:
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

    assert why_unread(DTensor.from_local(torch.ones(3), mesh, [Replicate()])) is None
    half = DTensor.from_local(torch.ones(3), mesh, [Shard(0)], shape=torch.Size([6]), stride=(1,), run_check=False)
    assert why_unread(half) == "its values are not read: its class is DTensor, of which this process holds a part, S(0)"
    assert why_unread(DTensor.from_local(torch.ones(3), mesh, [Partial()])) is not None
