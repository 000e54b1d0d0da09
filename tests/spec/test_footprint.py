"""How much a spec would take: exact, before anything is built."""

from __future__ import annotations

import pytest

from paraminspect.errors import UserError
from paraminspect.sources.mlp import build
from paraminspect.spec import footprint
from paraminspect.spec.footprint import check_memory, measure
from paraminspect.spec.parse import parse_spec

SPECS = [
    "layers: [Linear: [4, 3], ReLU, Linear: [3, 1]]",
    "layers: [Repeat: {times: 3, layers: [Linear: [4, 4], BatchNorm1d: 4]}, ref: 0]",
    "layers: [Residual: [Linear: [4, 4]], Sequential: [Embedding: [10, 4], {name: x, LSTM: [4, 5, 2]}]]",
    "layers: [MLP: {sizes: [7, 6, 5]}]",
]


@pytest.mark.parametrize("text", SPECS)
def test_the_count_is_what_torch_builds(text: str) -> None:
    spec = parse_spec(text, "s.yaml")
    module = build(spec, "meta")
    need = measure(spec.layers)
    assert need.parameters == sum(p.numel() for p in module.parameters())
    assert need.buffers == sum(b.numel() for b in module.buffers())


def refusal(text: str, device: str | None = None, free: int = 8 * 2**30) -> str:
    spec = parse_spec(text, "s.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footprint, "available_memory", lambda: free)
        with pytest.raises(UserError) as caught:
            check_memory(spec, spec.input, device, backward=True)
    return str(caught.value)


def test_what_does_not_fit_is_refused_with_its_bytes() -> None:
    bytes_needed = 2 * 4 * (100_000 * 100_000 + 100_000) + 4096
    assert refusal("layers: [Linear: [100000, 100000]]") == (
        f"s.yaml: needs {bytes_needed:,} bytes (74.5 GiB), 8.0 GiB are free\n"
        "  use smaller sizes, or --device meta to see the shapes without the memory"
    )


@pytest.mark.parametrize("units", [10**12, 2**32, 2**62])
def test_sizes_whose_product_wraps_in_64_bits_are_exact(units: int) -> None:
    total = 4 * (units * units + units)
    message = refusal(f"layers: [Linear: [{units}, {units}]]", "meta")
    assert message.startswith(f"s.yaml: the model would take {total:,} bytes (")
    assert message.endswith("more than a tensor can be large\n  check the sizes of the layers")


def test_a_billion_layers_without_parameters_are_refused_too() -> None:
    assert "are free" in refusal("layers: [Repeat: {times: 1000000000, layers: [ReLU]}]")


def test_a_huge_input_is_counted() -> None:
    assert "needs 40,000,000,004,096 bytes" in refusal("layers: [ReLU]\ninput: [10000000, 1000000]")


def test_a_huge_output_is_counted() -> None:
    assert "are free" in refusal("layers: [Linear: [1, 1000000]]\ninput: [1000000, 1]")


def test_on_meta_what_is_only_large_is_fine() -> None:
    spec = parse_spec("layers: [Linear: [1000000, 1000000]]", "s.yaml")
    check_memory(spec, None, "meta", backward=True)


def test_many_tensors_in_one_layer_name_the_line() -> None:
    with pytest.raises(UserError) as caught:
        measure(parse_spec("layers:\n  - LSTM: [4, 4, 1000000000]", "s.yaml").layers)
    assert str(caught.value).startswith("s.yaml:2:5: ")
