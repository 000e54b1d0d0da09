"""What every parameter of a module was drawn from, as far as that is known: what theory starts from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.parameter import is_lazy

from paraminspect.init.applied import Applied
from paraminspect.init.apply import constructed
from paraminspect.init.schemes.scheme import Moments
from paraminspect.modules.walk import join, registered, walk


def moments_of(module: nn.Module, applied: Mapping[int, Applied], kind: str) -> dict[int, Moments]:
    """Return the moments by the id of the Parameter: of the rule that touched it, else of torch's constructor.

    `kind` is that of the source: only the network of a ``spec`` has nothing that changes a parameter after its
    constructor, and nn.Transformer draws anew what its parts drew. What is not known is left out.
    """
    paths = walk(module).paths
    redrawn = [f"{path}." if path else "" for path, owner in paths if isinstance(owner, nn.Transformer)]
    found: dict[int, Moments] = {}
    for path, owner in paths:
        known = kind == "spec" and not f"{path}.".startswith(tuple(redrawn))
        for name, parameter in registered(owner, "_parameters"):
            done = applied.get(id(parameter))
            if done is None and known and not is_lazy(parameter):
                done = constructed(owner, join(path, name), parameter)
            if done is not None and done.moments is not None:
                found.setdefault(id(parameter), done.moments)
    return found
