"""From a Subject to a Report, leaving the module as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn

from paraminspect.analysis.inventory.model_inventory import Inventory, take_inventory
from paraminspect.experiments.assemble import assemble
from paraminspect.experiments.run import Request, State, run
from paraminspect.init.rules import BoundRule
from paraminspect.isolation.process import collector_at_rest
from paraminspect.isolation.untouched import CopyOnWrite, untouched
from paraminspect.modules.subject import Subject
from paraminspect.report import Report


@collector_at_rest()
def inspect(
    subject: Subject,
    request: Request,
    rules: tuple[BoundRule, ...] = (),
    extend: Callable[[Report, State], Report] = lambda report, _: report,
) -> Report:
    """Run the experiment and write down what it found; afterwards the module is as it was, save for the rules.

    `extend` may add to the report of a run with a forward. Raises UserError for whatever the user can put right; a
    forward that fails is part of the Report.
    """
    if not request.forward:  # none of the module's code runs but its repr
        return assemble(run(subject, rules, request, take_inventory(subject.module)), request)
    with undisturbed(subject.module) as (inventory, mode):
        state = run(subject, rules, request, inventory, mode)
        report = assemble(state, request)
        state.passes = None  # the graph is not needed any longer
    return extend(report, state)


@contextlib.contextmanager
def undisturbed(module: nn.Module) -> Iterator[tuple[Inventory, CopyOnWrite]]:
    """Put back what a forward changes in `module`, in the modules it hides and in the process, see `untouched`.

    Yields what is in the module, and the mode that its forward has to run under.
    """
    inventory = take_inventory(module)
    with untouched(inventory.modules.values(), (entry.tensor for entry in inventory.entries)) as mode:
        yield inventory, mode
