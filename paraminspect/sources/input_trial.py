"""One trial of an input: the forward alone, after which module and process are as they were."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from paraminspect.analysis.inventory import Inventory
from paraminspect.analysis.passes.failing_module import explain_forward
from paraminspect.analysis.passes.running_modules import Frame, Running
from paraminspect.frozen import dataclass
from paraminspect.isolation.silence import unheard
from paraminspect.isolation.torch_state import around, eager, recording, room
from paraminspect.isolation.untouched import untouched
from paraminspect.modules.nested_tensors import storage_of, tensors_in
from paraminspect.modules.subject import Batch
from paraminspect.modules.walk import registered, walk
from paraminspect.report import ForwardError


@dataclass(frozen=True)
class Misfit:
    """Why a forward does not take an input: which layer raised, with what, which of the arguments reached it.

    `is_first` tells that no layer with parameters had come to its end before, `exits` that it ended the process.
    """

    error: ForwardError
    text: str
    layer: nn.Module | None = None
    got: tuple[Tensor, ...] = ()
    reached: tuple[int, ...] = ()
    is_first: bool = False
    hopeless: bool = False
    exits: bool = False


class _Trial(Running):
    """Follow the running modules; note once one with parameters of its own has returned."""

    has_begun = False

    def returned(self, running: Frame, output: Any) -> None:
        self.has_begun = self.has_begun or bool(registered(running.module, "_parameters"))


def misfit_of(module: nn.Module, batch: Batch, inventory: Inventory, foreign: bool) -> Misfit | None:
    """Run the forward on a batch; None where it comes to its end, else why not.

    What it prints, and what it warns of, will come again when the forward is run in earnest.
    """
    trial = _Trial(walk(module))
    tensors = (entry.tensor for entry in inventory.entries)
    with untouched(inventory.modules.values(), tensors) as mode:
        try:
            with eager(), room(), recording(), trial.active(), around(foreign, mode), unheard():
                module(*batch.args, **batch.kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the user's code may exit
            return _misfit(error, trial, module, batch)
        finally:
            trial.forget()
    return None


def _misfit(error: BaseException, trial: _Trial, module: nn.Module, batch: Batch) -> Misfit:
    frame = trial.blamed(error)
    told = explain_forward(error, frame, module, batch)
    beyond = not isinstance(error, Exception) or isinstance(error, MemoryError | RecursionError)
    hopeless = beyond or told.about == "layers"
    exits = not isinstance(error, Exception)
    if frame is None:
        return Misfit(told, str(error), hopeless=hopeless, exits=exits)
    got = tuple(tensors_in(frame.args))
    memory = {storage_of(tensor) for tensor in got} - {None}
    reached = tuple(
        at for at, one in enumerate(batch.given) if memory & {storage_of(tensor) for tensor in tensors_in(one.value)}
    )
    return Misfit(told, str(error), frame.module, got, reached, not trial.has_begun, hopeless, exits)
