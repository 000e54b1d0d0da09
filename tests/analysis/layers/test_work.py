"""Multiply-adds, counted on the module that runs them: against formulas written by hand, and published figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import paraminspect
from paraminspect.report import TreeLayer
from tests.benchmarks.summary import resnet50
from tests.cases import each


class _Does(nn.Module):
    """Two layers, and a forward of its own."""

    def __init__(self, act: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.act = act
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.act(self, x)


def linear() -> nn.Module:
    return nn.Linear(4, 4)


def attention(_: Any, x: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(x, x, x)


def _checkpointed(reentrant: bool) -> Callable[[Any, Tensor], Any]:
    return lambda net, x: checkpoint(lambda y: net.b(net.a(y).relu()), net.first(x), use_reentrant=reentrant)


SPLIT: dict[str, tuple[nn.Module, tuple[int, ...], dict[str, tuple[int, int | None]]]] = {
    "a linear layer has no gradient of its input to compute first": (
        nn.Sequential(linear(), nn.ReLU(), linear()),
        (2, 4),
        {"": (0, 0), "0": (32, 32), "1": (0, 0), "2": (32, 64)},
    ),
    "a convolution in groups, strided": (
        nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False)),
        (2, 4, 8, 8),
        {"": (0, 0), "0": (2 * 8 * 16 * 2 * 9, 2 * 8 * 16 * 2 * 9)},
    ),
    "what is functional counts where it runs": (
        _Does(lambda net, x: torch.einsum("bi,ij->bj", net.a(x), net.b.weight), a=linear(), b=linear()),
        (2, 4),
        {"": (32, 64), "a": (32, 32), "b": (0, 0)},
    ),
    "attention, fused: queries by keys and weights by values; the backward has five such products": (
        _Does(lambda net, x: attention(net, net.a(x)), a=nn.Linear(8, 8)),
        (2, 3, 5, 8),
        {"": (2 * 2 * 3 * 5 * 5 * 8, 5 * 2 * 3 * 5 * 5 * 8), "a": (2 * 3 * 5 * 64, 2 * 3 * 5 * 64)},
    ),
    "nn.MultiheadAttention calls functions: its output layer has parameters and no calls": (
        _Does(lambda net, x: net.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (2, 5, 8),
        {"": (0, 0), "a": (2 * 5 * 8 * 24 + 2 * 5 * 64 + 2 * 2 * 25 * 8, None), "a.out_proj": (0, None)},
    ),
    "two layers of an LSTM, forwards and backwards in time": (
        nn.Sequential(nn.LSTM(4, 5, 2, bidirectional=True), _Does(lambda _, pair: pair[0])),
        (3, 5, 4),
        {"": (0, 0), "0": (15 * (2 * 20 * 9 + 2 * 20 * 15), 15 * 2 * (2 * 20 * 9 + 2 * 20 * 15)), "1": (0, 0)},
    ),
    "a checkpoint computes again in the backward what it did not keep": (
        _Does(_checkpointed(False), first=linear(), a=linear(), b=linear()),
        (2, 4),
        {"": (0, 0), "first": (32, 32), "a": (32, 64 + 32), "b": (32, 64)},
    ),
    "a reentrant checkpoint computes all of it again": (
        _Does(_checkpointed(True), first=linear(), a=linear(), b=linear()),
        (2, 4),
        {"": (0, 0), "first": (32, 32), "a": (32, 64 + 32), "b": (32, 64 + 32)},
    ),
    "three calls of one layer": (
        _Does(lambda net, x: net.a(net.a(net.a(x))), a=linear()),
        (2, 4),
        {"": (0, 0), "a": (96, 32 + 64 + 64)},
    ),
    "nn.Bilinear": (
        nn.Sequential(_Does(lambda net, x: net.a(x, x), a=nn.Bilinear(4, 4, 3))),
        (2, 4),
        {"0.a": (96, 96)},
    ),
    "frozen layers take part of a backward": (
        nn.Sequential(linear(), linear().requires_grad_(False), linear()),
        (2, 4),
        {"0": (32, 32), "1": (32, 32), "2": (32, 64)},
    ),
}


@each("name", SPLIT)
def test_work_counts_on_the_module_that_runs_it(name: str) -> None:
    module, shape, wanted = SPLIT[name]
    report = paraminspect.summary(module, torch.randn(shape))
    found = {layer.module: layer for layer in report.layers if isinstance(layer, TreeLayer)}
    assert report.errors == () and report.uncounted == ()
    for path, (forward, backward) in wanted.items():
        layer = found[path]
        assert layer.own_macs == forward, path
        assert layer.own_flops == 2 * forward
        assert backward is None or layer.own_flops_backward == 2 * backward, path
    assert sum(layer.own_flops or 0 for layer in found.values()) == report.totals.flops
    assert sum(layer.own_flops_backward or 0 for layer in found.values()) == report.totals.flops_backward


def test_what_has_no_formula_is_named_and_never_0() -> None:
    report = paraminspect.summary(
        nn.Sequential(_Does(lambda net, x: torch.fft.rfft(net.a(x)).abs(), a=linear())), torch.ones(2, 4)
    )
    assert (report.uncounted[0].op, report.uncounted[0].modules) == ("aten._fft_r2c", ("0",))
    assert "uncounted 1 call of aten._fft_r2c in 0: there is no formula for it" in str(report)
    assert "forward at least 32," in str(report)
    (row,) = (line for line in str(report).splitlines() if "─ 0 _Does" in line)
    assert "≥ 32" in row


# --- published figures, on the meta device: nothing is computed --------------------------------------------------


class _Basic(nn.Module):
    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        short = stride == 1 and into == width
        self.downsample = (
            None if short else nn.Sequential(nn.Conv2d(into, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


def resnet18() -> nn.Module:
    blocks, into = [], 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [_Basic(into, width, stride), _Basic(width, width, 1)]
        into = width
    start = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*start, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class _Vision(nn.Module):
    """ViT-B/16 (Dosovitskiy et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.class_token = nn.Parameter(torch.empty(1, 1, 768))
        self.positions = nn.Parameter(torch.empty(1, 197, 768))
        layer = nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, nn.LayerNorm(768), enable_nested_tensor=False)
        self.head = nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(x), -1, -1), patches), 1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


class _Language(nn.Module):
    """BERT-base (Devlin et al. 2018) without its pooler, and GPT-2 (Radford et al. 2019) without its output layer."""

    def __init__(self, words: int, places: int, kinds: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, 768), nn.Embedding(places, 768)
        self.kinds = nn.Embedding(kinds, 768) if kinds else None
        self.norm = nn.LayerNorm(768)
        layer = nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.encoder(self.norm(x if self.kinds is None else x + self.kinds(torch.zeros_like(ids))))


def _image() -> Tensor:
    return torch.empty(1, 3, 224, 224, device="meta")


def _text(length: int) -> Tensor:
    return torch.empty(1, length, dtype=torch.int64, device="meta")


def _transformer(length: int) -> int:
    """Return the multiply-adds of 12 blocks: four projections, twice a layer of four times the width, attention."""
    return 12 * (12 * 768**2 * length + 2 * 768 * length**2)


PUBLISHED = {
    "ResNet-18": (resnet18, _image, 11_689_512, 1_814_073_344),
    "ResNet-50": (resnet50, _image, 25_557_032, 4_089_184_256),
    "ViT-B/16": (_Vision, _image, 86_567_656, 17_563_828_224),
    "BERT-base": (lambda: _Language(30_522, 512, 2), lambda: _text(512), 108_891_648, _transformer(512)),
    "GPT-2": (lambda: _Language(50_257, 1024, 0), lambda: _text(1024), 124_439_808, _transformer(1024)),
}
"""What torchvision publishes as 1.81, 4.09 and 17.56 GFLOPS; of BERT and GPT-2 the formula, 48.3 and 106.3 G."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    build, make, parameters, macs = PUBLISHED[name]
    with torch.device("meta"):
        net, x = build(), make()
    report = paraminspect.summary(net, x)
    assert report.errors == () and report.uncounted == ()
    assert (report.totals.parameters, report.totals.macs) == (parameters, macs)
