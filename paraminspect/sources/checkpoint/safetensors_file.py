"""Safetensors files: a header of names, dtypes, shapes and places, then the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from paraminspect.sources.checkpoint.file_kinds import reason_of, refusal
from paraminspect.text.escape import clean

_AGAIN = "fetch or save it again"


def read_safetensors(path: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Return the tensors of a file and its metadata. Raises UserError where file and header do not fit together."""
    try:
        _check_header(path)
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no dict
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError) as error:
        reason = str(error).rpartition(": ")[2][:200]
        raise refusal(path, f"its header is damaged: {reason}", _AGAIN) from None
    except (MemoryError, RecursionError):
        raise refusal(path, "its header does not fit into memory", _AGAIN) from None
    except OSError as error:
        raise refusal(path, f"cannot be read: {reason_of(error)}") from None


def _check_header(path: str) -> None:
    """Refuse a name that stands twice, of which readers keep the last, and a file that ends before its tensors do."""
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=lambda pairs: _once(path, pairs))
        there = file.seek(0, 2) - 8 - length
    places = [entry.get("data_offsets") for name, entry in header.items() if name != "__metadata__"]
    declared = max((place[1] for place in places if place), default=0)
    if there != declared:
        what = "is cut short" if there < declared else "is longer than its header says"
        raise refusal(path, f"{what}: its tensors take {declared:,} bytes, {there:,} are there", _AGAIN)


def _once(path: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise refusal(path, f"its header has {clean(twice)!r} twice", _AGAIN)
    return found
