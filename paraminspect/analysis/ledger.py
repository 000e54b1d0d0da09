"""The gradient ledger: which operation read which parameter, and what each use contributed to its gradient.

While the forward runs, every followed parameter that an operation takes is replaced by a view of it that keeps
its own gradient. After the backward, a view's gradient is that use's contribution; their sum is the parameter's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass
class Record:
    """One use: the operation, the module it ran in, and the view whose gradient is the contribution."""

    parameter: Tensor
    op: str
    module: str
    view: Tensor


class Ledger(TorchFunctionMode):
    """Note every read of a parameter; follow the ones in `follow` with a view each.

    `where` returns the path of the module whose forward runs now. Looking at an attribute (``p.shape``) is no use.
    """

    def __init__(self, parameters: Iterable[Tensor], follow: Iterable[Tensor], where: Callable[[], str]) -> None:
        super().__init__()
        self._held = [*parameters]  # holding them keeps every id its own
        self._watched = {id(parameter) for parameter in self._held}
        self._followed = {id(parameter) for parameter in follow}
        self._where = where
        self.read: set[int] = set()
        self.records: list[Record] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        args = tuple(self._take(item, func) for item in args)
        if kwargs:
            kwargs = {key: self._take(item, func) for key, item in kwargs.items()}
        return func(*args, **kwargs)

    def _take(self, item: Any, func: Callable[..., Any]) -> Any:
        """Note a parameter among the arguments, also inside a list of them (an LSTM passes its weights so)."""
        if isinstance(item, Tensor):
            if id(item) in self._watched:
                self.read.add(id(item))
                if id(item) in self._followed and item.requires_grad and torch.is_grad_enabled():
                    return self._follow(item, func)
            return item
        if type(item) in (list, tuple):
            return type(item)(self._take(inner, func) for inner in item)
        return item

    def _follow(self, parameter: Tensor, func: Callable[..., Any]) -> Tensor:
        view = parameter.view_as(parameter)
        view.retain_grad()
        name = getattr(func, "__name__", str(func))
        self.records.append(Record(parameter, name, self._where(), view))
        return view
