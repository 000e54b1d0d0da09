"""The gradient ledger: which operation read which parameter, and what each use contributed to its gradient.

While the forward runs, every followed parameter that an operation takes is replaced by an alias of it: a view of the
same memory with a node of its own in autograd's graph. In the backward, the gradient that arrives at an alias is that
use's contribution. It is measured and added up there and then, so that no contribution outlives the backward of its
parameter.

Take w = 2 and the input 1, with y = w·1 + 3·(w·1) = 8. Torch calls `__torch_function__` for each product:

====  ==================  =====================  ==========================================
      operation           runs on                noted
====  ==================  =====================  ==========================================
1     mul(w, 1) → 2       alias a₁ of w          Record 0: mul, contribution still to come
2     mul(w, 1) → 2       alias a₂ of w          Record 1: mul, contribution still to come
3     mul(2, 3) → 6       itself: no parameter   nothing
4     add(2, 6) → 8       itself: no parameter   nothing
====  ==================  =====================  ==========================================

The backward of y brings 3 to a₂ (``Record 1.gradient``) and 1 to a₁ (``Record 0.gradient``); both go on to w, where 4
arrives. The `Account` of w checks that 1 + 3 = 4.

Three things make it harder than that. A checkpoint runs its part of the forward without a graph first and again in the
backward: the first run leaves `silent` records, the second `late` ones, and `_place_late` gives each late one the place
of its silent twin. An operation may hand the parameter on as it is (``w.contiguous()``): that is no use. And the user's
own hooks may change ``.grad`` once it is there: such parameters are watched even without a use.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from paraminspect.analysis.passes.contributions import Account, Grads, dense, peak, with_status
from paraminspect.analysis.passes.operands import has_graph, holds_tensor, name_of, operands, reads_all, tensors_among
from paraminspect.analysis.passes.rounding import Rounding
from paraminspect.analysis.passes.running_modules import Watch
from paraminspect.analysis.statistics.contents import SMALL
from paraminspect.modules.wrapper_tensors import is_wrapper
from paraminspect.report import Gradient, Values

_alias = torch.ops.aten.alias.default  # unlike view_as, it also takes sparse gradients
_BACKWARDS = {"backward": True, "grad": False}  # which of a forward's own backwards add to ``.grad``


@dataclass(eq=False)
class Record:
    """One use: the operation, the module it ran in, and what it contributed, None until that has `arrived`.

    `elements` are those of a small contribution. `silent` uses were made without a graph; one that a checkpoint
    repeats in the backward is `late`: the place in the forward of what repeats it.
    """

    parameter: Tensor
    op: str
    module: str
    arrived: bool = False
    gradient: Gradient | None = None
    elements: Tensor | None = None
    silent: bool = False
    late: int | None = None


class Ledger(TorchFunctionMode):
    """Note every read of a parameter; keep the uses of those in `follow` apart.

    `read` holds the ids of the parameters that were read, `records` the uses in order of execution, `accounts` what
    arrived at the parameters that have uses.
    """

    def __init__(
        self, parameters: Iterable[Tensor], follow: Iterable[Tensor], watch: Watch, rounding: Rounding
    ) -> None:
        super().__init__()
        self.parameters = {id(parameter): parameter for parameter in parameters}  # held: every id stays its own
        self.followed = {id(parameter) for parameter in follow}
        self.read: set[int] = set()
        self.records: list[Record] = []
        self.accounts: dict[int, Account] = {}
        self._watch = watch
        self._rounding = rounding
        self._handles: list[Any] = []
        self._readers: dict[Callable[..., Any], bool] = {}
        for parameter in self.parameters.values():
            self._watch_hooked(parameter)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # First by identity alone, which costs next to nothing; what of it the operation reads is asked of the few.
        found = tensors_among(args, self.parameters)
        if kwargs:
            found.update(tensors_among(kwargs.values(), self.parameters))
        if found and not ("out" not in kwargs and self._reads_all(func)):
            found = tensors_among(operands(func, args, kwargs), found)
        if found:
            return self._use(found, func, args, kwargs)
        gathers = _BACKWARDS.get(getattr(func, "__name__", ""))
        if gathers is None:
            return func(*args, **kwargs)
        with self._watch.gather(gathers):
            return func(*args, **kwargs)

    def _reads_all(self, func: Callable[..., Any]) -> bool:
        """Tell whether an operation reads the elements of all its arguments, as most do."""
        known = self._readers.get(func)
        if known is None:
            known = self._readers[func] = reads_all(func)
        return known

    def close(self) -> None:
        """Put the uses in order and let go of the graph, when the passes are over."""
        self._watch.flush()
        for account in self.accounts.values():
            account.close()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._place_late()
        self.records = [record for record in self.records if not record.silent]

    def _use(
        self, found: dict[int, Tensor], func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operation that reads the parameters in `found`, on aliases of the followed ones."""
        self.read.update(found)
        # Where other modes are on, each attribute of a tensor that is looked at is a call of theirs.
        with torch._C.DisableTorchFunction():
            followed = [one for key, one in found.items() if key in self.followed and not is_lazy(one)]
            watched = [one for one in followed if one.requires_grad]
        if not followed:
            return func(*args, **kwargs)
        views: dict[int, Tensor] = {}  # without a graph nothing comes back: the use is noted, not watched
        if torch.is_grad_enabled():
            aliases = ((id(parameter), _alias_of(parameter)) for parameter in watched)
            views = {key: alias for key, alias in aliases if alias is not None}
        output = func(*_replaced(args, views), **dict(zip(kwargs, _replaced(kwargs.values(), views), strict=True)))
        with torch._C.DisableTorchFunction():
            for parameter in followed:
                view = views.get(id(parameter))
                if view is not None and output is view:
                    return parameter  # w.contiguous() and the like: what reads it is still to come
                written = args[0] if output is None and args else output  # h[mask] = w
                self._record(parameter, view, func, written)
        return output

    def _record(self, parameter: Tensor, view: Tensor | None, func: Callable[..., Any], output: Any) -> None:
        """Note one use, and arrange to measure what it contributes."""
        record = Record(parameter, name_of(func), self._watch.current, silent=view is None and parameter.requires_grad)
        if view is not None and has_graph(output):
            record.late = _place() if self._watch.gathering else None
            self._await(record, view)
        elif view is not None or self._watch.gathering or not holds_tensor(output):
            return
        self.records.append(record)

    def _await(self, record: Record, view: Tensor) -> None:
        """Have the backward call `_arrive` with what comes back to the alias, before it goes on to the parameter."""
        account = self._account(record.parameter, view)

        node = view.grad_fn

        def arrive(grads: Grads) -> None:
            grad = grads[0]
            if grad is not None and self._watch.gathering:
                with torch._C.DisableTorchFunction(), torch.no_grad():  # in this order: modes hear of the other too
                    self._arrive(record, account, grad, node)

        self._handles.append(node.register_prehook(arrive))  # type: ignore[union-attr]  # an alias has a grad_fn

    def _arrive(self, record: Record, account: Account, grad: Tensor, node: Any) -> None:
        """Add a contribution to the account; its figures and its largest magnitude follow when the queue is flushed."""
        if record.arrived:  # a second backward through the same graph
            record = Record(record.parameter, record.op, record.module)
            self.records.append(record)
        record.arrived = True
        if grad.numel() <= SMALL:
            record.elements = dense(grad).detach().clone()
        peaks = account.contribute(grad)

        def deliver(values: Values | None) -> None:
            size = peak(values)
            account.figures = values
            record.gradient = with_status(values, record.parameter.numel(), error=self._rounding.error_at(node, size))
            peaks.append(size)

        self._watch.queue.measure(grad, deliver)

    def _account(self, parameter: Tensor, view: Tensor) -> Account:
        account = self.accounts.get(id(parameter))
        if account is None:
            account = self.accounts[id(parameter)] = Account(parameter)
            account.watch(view, lambda: self._watch.gathering, self._watch.queue.flush)
        return account

    def _watch_hooked(self, parameter: Tensor) -> None:
        """Watch also a parameter whose gradient the user's hooks may change or drop once it is there."""
        hooks = getattr(parameter, "_post_accumulate_grad_hooks", None)
        if hooks and parameter.requires_grad and not is_lazy(parameter):
            with torch.enable_grad():
                self._account(parameter, _alias(parameter))

    def _place_late(self) -> None:
        """Let each use that a checkpoint repeated take the place it had in the forward, in the forward's order.

        Of those that no gradient reached, the first time was recorded already.
        """
        # Example: records [a silent, b, a late] become [a, b]; the twin of a late one is the first free silent record
        # of the same parameter and operation.
        late = [record for record in self.records if record.late is not None and record.arrived]
        self.records = [record for record in self.records if record.late is None]
        places: dict[tuple[int, str], deque[Record]] = defaultdict(deque)
        for record in self.records:
            if record.silent:
                places[id(record.parameter), record.op].append(record)
        for record in sorted(late, key=lambda record: record.late or 0):
            free = places[id(record.parameter), record.op]
            if free:
                first = free.popleft()
                first.gradient, first.elements, first.silent = record.gradient, record.elements, False
            else:
                self.records.append(record)


def _alias_of(parameter: Tensor) -> Tensor | None:
    """Return an alias in the graph of the parameter itself, also inside ``torch.func.grad`` and its like.

    None where the class of the parameter has no such operation.
    """
    if is_wrapper(parameter):
        try:
            return _alias(parameter)  # type: ignore[no-any-return]  # torch's operations are untyped
        except (RuntimeError, NotImplementedError):
            return None
    if torch._C._functorch.peek_interpreter_stack() is None:
        if type(parameter) is not nn.Parameter:  # another class may want to hear of it
            return _alias(parameter)  # type: ignore[no-any-return]  # as above
        with torch._C.DisableTorchFunction():
            return _alias(parameter)  # type: ignore[no-any-return]  # as above
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    with temporarily_clear_interpreter_stack():
        return _alias(parameter)  # type: ignore[no-any-return]  # as above


def _replaced(items: Iterable[Any], views: dict[int, Tensor]) -> list[Any]:
    """Return the items with the views in place of the parameters, also inside lists (an LSTM passes them so)."""
    if not views:
        return [*items]
    return [
        type(item)(_replaced(item, views)) if type(item) in (list, tuple) else views.get(id(item), item)
        for item in items
    ]


def _place() -> int:
    """Return where in the forward the node was made that the backward runs now."""
    node = torch._C._current_autograd_node()
    return 0 if node is None else int(node._sequence_nr())
