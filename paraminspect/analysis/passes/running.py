"""Which module is running now: the stack of those whose forward has begun, and which of them raised."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules import module as module_hooks

from paraminspect.modules.walk import Walk


class Frame(NamedTuple):
    """A module whose forward has begun: under which name, with what, and which error was being handled then."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    handled: BaseException | None


class Running:
    """Keep the stack of running modules, each under the name it goes by in this call."""

    def __init__(self, modules: Walk) -> None:
        self.names: dict[int, list[str]] = {}
        for name, child in modules.paths:
            self.names.setdefault(id(child), []).append(name)
        self.times: dict[int, int] = {}
        self.stack: list[Frame] = []
        self.failed: tuple[BaseException, Frame] | None = None

    @property
    def current(self) -> str:
        """Return the path of the innermost module that runs now."""
        return self.stack[-1].name if self.stack else ""

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Keep the hooks installed, for all modules at once, only while the passes run."""
        before = module_hooks.register_module_forward_pre_hook(self._enter)
        after = module_hooks.register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def blamed(self, error: BaseException) -> Frame | None:
        """Return the innermost module whose forward raised `error`, None when it came from outside of all."""
        if self.failed is not None and self.failed[0] is error:
            return self.failed[1]
        return self.stack[-1] if self.stack else None

    def forget(self) -> None:
        """Hold no arguments and no errors."""
        self.stack.clear()
        self.failed = None

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Name the module that starts; one that is registered under several names goes by them in turn."""
        names = self.names.get(id(module))
        if names is not None:
            turn = self.times.get(id(module), 0)
            self.times[id(module)] = turn + 1
            self.stack.append(Frame(names[turn % len(names)], module, args, sys.exc_info()[1]))

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Take the module from the stack; note what it returned, or that it raised."""
        running = self._take(module)
        if running is None:
            return
        error = sys.exc_info()[1] if output is None else None
        if error is not None and error is not running.handled:
            if self.failed is None or self.failed[0] is not error:
                self.failed = (error, running)
        else:
            self.returned(running, output)

    def returned(self, running: Frame, output: Any) -> None:
        """Take note of what a module returned: the stack itself needs nothing of it."""

    def _take(self, module: nn.Module) -> Frame | None:
        """Remove the module from the stack, and what a BaseException left above it: no hook hears of those."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at].module is module:
                running = self.stack[at]
                del self.stack[at:]
                return running
        return None
