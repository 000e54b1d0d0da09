"""The values of the tensors of a checkpoint, streamed from its files: memory is bounded whatever their size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch

from paraminspect.analysis.statistics.number_formats import WORDS
from paraminspect.analysis.statistics.streamed_elements import StreamedElements
from paraminspect.analysis.statistics.tensor_values import measure_elements
from paraminspect.experiments.checkpoint_report import selected
from paraminspect.report import Checkpoint, TensorHeader, Values
from paraminspect.sources.checkpoint.opened import Bytes, open_bytes


def measure_checkpoint(checkpoint: Checkpoint, params: Sequence[str]) -> dict[str, Values | None]:
    """Return the figures of the tensors that the globs select, None where they cannot be read."""
    with ExitStack() as stack:
        files: dict[int, Bytes] = {}
        found: dict[str, Values | None] = {}
        for tensor in selected(checkpoint.tensors, params):
            if tensor.file is not None and tensor.file not in files:
                files[tensor.file] = stack.enter_context(open_bytes(checkpoint.paths[tensor.file]))
            found[tensor.name] = _measured(tensor, files)
        return found


def _measured(tensor: TensorHeader, files: dict[int, Bytes]) -> Values | None:
    dtype = getattr(torch, tensor.dtype, None)
    if tensor.file is None or tensor.start is None or tensor.stride is not None:
        return None
    if not isinstance(dtype, torch.dtype) or dtype not in WORDS:
        return None
    if not tensor.numel:
        return Values()
    file, start = files[tensor.file], tensor.start
    read = partial(_read, file, start)
    return measure_elements(StreamedElements(tensor.numel, WORDS[dtype], read), dtype)


def _read(file: Bytes, start: int, at: int, buffer: memoryview) -> None:
    file.read_into(start + at, buffer)
