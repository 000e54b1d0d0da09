from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from paraminspect.spec.memory import available_memory

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
