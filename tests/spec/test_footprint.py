"""How much a spec would take: exact, before anything is built."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paraminspect.errors import UserError
from paraminspect.sources.sequential import build
from paraminspect.spec import footprint
from paraminspect.spec.footprint import available_memory, check_memory, measure
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
    module = build(replace(spec, device="meta"))
    need = measure(spec)
    assert need.parameters == sum(p.numel() for p in module.parameters())
    assert need.buffers == sum(b.numel() for b in module.buffers())


def refusal(text: str, free: int = 8 * 2**30) -> str:
    spec = parse_spec(text, "s.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footprint, "available_memory", lambda: free)
        with pytest.raises(UserError) as caught:
            check_memory(spec, backward=True)
    return str(caught.value)


def test_what_does_not_fit_is_refused_with_its_bytes() -> None:
    weights, inferred_input_and_output = 100_000 * 100_000 + 100_000, 2 * 100_000 + 2 * 100_000
    bytes_needed = 4 * (2 * weights + inferred_input_and_output) + 4096
    assert refusal("layers: [Linear: [100000, 100000]]") == (
        f"s.yaml:1:10: the run needs {bytes_needed:,} bytes (74.5 GiB), 8.0 GiB are free\n"
        "  use smaller sizes, or --device meta to see the shapes without the memory"
    )


@pytest.mark.parametrize("units", [10**12, 2**32, 2**62])
def test_sizes_whose_product_wraps_in_64_bits_are_exact(units: int) -> None:
    total = 4 * (units * units + units)
    message = refusal(f"layers: [Linear: [{units}, {units}]]\ndevice: meta")
    assert message.startswith(f"s.yaml:1:10: the model would take {total:,} bytes (")
    assert message.endswith("more than a tensor can be large\n  check the sizes of the layers")


def test_a_billion_layers_without_parameters_are_refused_too() -> None:
    assert "are free" in refusal("layers: [Repeat: {times: 1000000000, layers: [ReLU]}]")


def test_a_huge_input_is_counted() -> None:
    assert "s.yaml:2:8: the run needs 40,000,000,004,096 bytes" in refusal("layers: [ReLU]\ninput: [10000000, 1000000]")


def test_a_huge_output_is_counted() -> None:
    assert "are free" in refusal("layers: [Linear: [1, 1000000]]\ninput: [1000000, 1]")


def test_on_meta_what_is_only_large_is_fine() -> None:
    check_memory(parse_spec("layers: [Linear: [1000000, 1000000]]\ndevice: meta", "s.yaml"), backward=True)


def test_many_tensors_in_one_layer_name_the_line() -> None:
    with pytest.raises(UserError) as caught:
        measure(parse_spec("layers:\n  - LSTM: [4, 4, 1000000000]", "s.yaml"))
    assert str(caught.value).startswith("s.yaml:2:5: ")


def test_a_layer_that_leaves_the_meta_device_is_counted() -> None:
    text = "layers: [Linear: {in_features: 4, out_features: 1000000000000, device: cpu}]\ndevice: meta"
    assert refusal(text).startswith("s.yaml:1:10: the run needs 40,000,000,004,096 bytes")


def test_a_half_precision_model_is_built_in_single_precision_first() -> None:
    half, single = (
        measure(parse_spec(f"layers: [Linear: [10, 10]]\ndtype: {d}", "s.yaml")) for d in ("float16", "float32")
    )
    assert half.parameter_bytes == single.parameter_bytes == 440
    assert measure(parse_spec("layers: [Linear: [10, 10]]\ndtype: float64", "s.yaml")).parameter_bytes == 880


MEMINFO = "MemTotal:       8000 kB\nMemAvailable:   4000 kB\n"
V2 = {"memory.max": "1000000\n", "memory.current": "600000\n", "memory.stat": "anon 1\ninactive_file 100000\n"}
V1 = {
    "memory.limit_in_bytes": "2000000\n",
    "memory.usage_in_bytes": "1500000\n",
    "memory.stat": "cache 5\ntotal_inactive_file 200000\n",
}
OPEN_V2 = V2 | {"memory.max": "max\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": MEMINFO}, 4000 * 1024),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup": V2}, 500_000),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a": V2}, 500_000),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/../a\n", "sys/fs/cgroup/a": OPEN_V2}, 4000 * 1024),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup": {"memory.max": "7"}}, 4000 * 1024),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "4:cpu,memory:/a\n0::/\nnonsense\n",
                "sys/fs/cgroup/memory/a": V1,
            },
            700_000,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "4:memory:/a\n",
                "sys/fs/cgroup/memory/a": V1,
                "sys/fs/cgroup/memory": V1 | {"memory.usage_in_bytes": "3000000"},
            },
            0,
        ),
        ({"proc/meminfo": "MemAvailable: many kB\nMemAvailable:\n"}, 3 * 4096),
        ({}, 3 * 4096),
    ],
)
def test_memory_is_what_the_system_and_every_cgroup_leave(
    files: dict[str, Any], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 3, "SC_PAGE_SIZE": 4096}.__getitem__)
    for path, content in files.items():
        for name, text in (content if isinstance(content, dict) else {"": content}).items():
            file = tmp_path / path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    assert available_memory(tmp_path) == expected


def test_memory_nobody_knows_is_unlimited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert available_memory(tmp_path) == sys.maxsize


def test_memory_of_this_machine() -> None:
    assert 2**20 < available_memory() < 2**50
