"""What one file of a checkpoint holds, whatever its format: its tensors, what it says of itself, what is unsound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from paraminspect.frozen import dataclass
from paraminspect.report import Fault, OptimizerGroups, TensorHeader


@dataclass(frozen=True)
class FileContents:
    """The tensors of a file and what it holds beside them; the fields are those of `Checkpoint`."""

    tensors: list[TensorHeader]
    faults: list[Fault]
    metadata: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    optimizers: tuple[OptimizerGroups, ...] = ()
