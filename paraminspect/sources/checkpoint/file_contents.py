"""What one file of a checkpoint holds, whatever its format: its tensors, what it says of itself, what is unsound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from paraminspect.frozen import dataclass
from paraminspect.report import Fault, OptimizerGroups, StoredRecord, TensorHeader

LEGACY_MAGIC: Final = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""What a file of the legacy format begins with: the pickle of a number."""

_MOST_ALIKE: Final = 1_000


@dataclass(frozen=True)
class FileContents:
    """The tensors of a file and what it holds beside them; the fields are those of `Checkpoint`."""

    tensors: list[TensorHeader]
    faults: list[Fault]
    metadata: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    optimizers: tuple[OptimizerGroups, ...] = ()
    value_bytes: Mapping[str, int] = field(default_factory=dict)
    records: tuple[StoredRecord, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)


class FaultList:
    """Faults, of each code the first thousand: a file in which millions of tensors are wrong says so in few words."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._kept: dict[str, list[Fault]] = {}
        self._more: dict[str, int] = {}
        for fault in faults:
            self.append(fault)

    def append(self, fault: Fault) -> None:
        """Keep a fault, or count it where there are enough of its code."""
        alike = self._kept.setdefault(fault.code, [])
        if len(alike) < _MOST_ALIKE:
            alike.append(fault)
        else:
            self._more[fault.code] = self._more.get(fault.code, 0) + 1

    def faults(self, where: str) -> list[Fault]:
        """Return those that were kept, by code, and for those that were only counted one that is about `where`."""
        found: list[Fault] = []
        for code, alike in self._kept.items():
            found += alike
            if code in self._more:
                found.append(Fault(code, alike[0].severity, where, f"and {self._more[code]:,} more like these"))
        return found
