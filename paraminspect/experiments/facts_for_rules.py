"""What rules ask of a model that no row of the report tells: measured for `check` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor

from paraminspect.analysis.inventory import Inventory
from paraminspect.analysis.passes.forward_backward import ForwardBackward
from paraminspect.modules.code_names import may_be_read
from paraminspect.modules.wrapper_tensors import PLAIN
from paraminspect.report import Parameter, Verdict

_SAMPLE: Final = 2**16
"""Elements that tell a share well enough: within a hundredth, at worst."""

_WITH_SUBNORMALS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def facts_for_rules(
    inventory: Inventory, rows: Iterable[Parameter], passes: ForwardBackward | None
) -> Iterator[Verdict]:
    """Yield a verdict for each parameter with subnormal elements, each whose rows are all the same, each that was not
    read though code names it, each buffer that is state and is not saved, and each BatchNorm that normalises several
    inputs.

    `measured` is the share of the elements, of an evenly spaced sample of a large tensor, the number of rows, and the
    factor between the inputs' variances.
    """
    for entry in inventory.of_kind("parameter"):
        with torch.no_grad():
            are_one, share = _rows_are_one(entry.tensor), _subnormal_share(entry.tensor)
        if are_one:
            yield Verdict("units", "identical", float(entry.tensor.shape[0]), where=entry.name, figure="rows")
        if share:
            yield Verdict("values", "subnormal", share, where=entry.name, figure="subnormals")
    if passes is not None:
        for row in rows:
            unused = row.gradient is not None and row.gradient.status == "unused"
            if unused and may_be_read(row.name, inventory.modules):
                yield Verdict("reach", "not in this run", None, where=row.name)
        for name in passes.unsaved:
            yield Verdict("state", "not saved", None, where=name)
        for name, factor in passes.norms.items():
            yield Verdict("batchnorm", "shared", factor, where=name, figure="factor")


def _rows_are_one(tensor: Tensor) -> bool:
    """Tell whether a matrix, or what stands for one, has several rows that are all the same, and no constant."""
    if not _is_plain(tensor) or tensor.dim() < 2 or 1 in tensor.shape[:2]:
        return False
    first = tensor[0]
    if not torch.equal(first, tensor[1]) or bool((first == first.flatten()[0]).all()):
        return False
    return bool((tensor == first).all())


def _subnormal_share(tensor: Tensor) -> float:
    if not _is_plain(tensor) or tensor.dtype not in _WITH_SUBNORMALS:
        return 0.0
    sizes = tensor.detach().flatten()[:: max(tensor.numel() // _SAMPLE, 1)].abs()
    small = (sizes < torch.finfo(tensor.dtype).tiny) & (sizes > 0)
    return int(torch.count_nonzero(small)) / sizes.numel()


def _is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor has elements that can be read as they lie there; a lazy one is of a class of its own."""
    is_strided = type(tensor) in PLAIN and tensor.layout is torch.strided and not tensor.is_nested
    return is_strided and not tensor.is_meta and tensor.numel() > 0
