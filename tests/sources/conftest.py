"""The user's file, as the user would write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write Python to a file in the working directory, with the usual imports on its first line; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(body: str, name: str = "m.py") -> str:
        (tmp_path / name).write_text(f"import torch; from torch import nn\n{body}", encoding="utf-8")
        return name

    return write
