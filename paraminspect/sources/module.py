"""``package.module:attr`` or ``path/file.py:attr`` to Subject: a Module, or a callable that returns one."""

from __future__ import annotations

import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.guard import user_code
from paraminspect.load import load_attribute
from paraminspect.report import Source
from paraminspect.sources.draw import draw
from paraminspect.sources.locate import Reference
from paraminspect.sources.subject import Batch, Given, Loss, Subject
from paraminspect.spec.model import Input


def load(
    reference: Reference, seed: int = 0, device: str | None = None, inputs: tuple[Input, ...] = (), loss: str = "sum"
) -> Subject:
    """Import what `reference` names, build the module and say how its input is drawn."""
    torch.manual_seed(seed)
    found = load_attribute(reference.text)
    if not isinstance(found, nn.Module):
        with user_code(reference.text):
            found = found(**reference.args)
    if not isinstance(found, nn.Module):
        raise UserError(f"not a torch.nn.Module: {type(found).__name__}", where=reference.text, code="not-a-module")

    def make_input() -> Batch:
        drawn = (Given(draw(one, torch.float32, device or "cpu"), one.name, one.sample) for one in inputs)
        return Batch(tuple(drawn), "--input")

    return Subject(
        module=found,
        source=Source("module", reference.text, reference.path),
        seed=seed,
        make_input=make_input if inputs else None,
        why_no_input="no forward: the input is not known; pass --input, e.g. --input 2,4",
        loss=Loss(loss),
        foreign=True,
    )
