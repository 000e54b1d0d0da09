"""The commands, in the order of the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from paraminspect.cli.code import code
from paraminspect.cli.compare import compare
from paraminspect.cli.edit import edit
from paraminspect.cli.grad import grad
from paraminspect.cli.help import help
from paraminspect.cli.init import init
from paraminspect.cli.schema import schema
from paraminspect.cli.schemes import schemes
from paraminspect.cli.share import share
from paraminspect.cli.show import show
from paraminspect.cli.theory import theory

PROGRAM: Final = "paraminspect"


@dataclass(frozen=True)
class Entry:
    """A command, and its line in the list of commands."""

    function: Callable[..., int]
    short: str


COMMANDS: Final[Mapping[str, Entry]] = {
    "show": Entry(show, "The whole picture: parameters, values, gradients, sharing."),
    "init": Entry(init, "What an initialiser did: before, after, expected."),
    "grad": Entry(grad, "What gradient reaches every parameter, use by use."),
    "share": Entry(share, "Who shares what with whom, and what it means."),
    "compare": Entry(compare, "Initialisation schemes side by side: which is steadiest."),
    "edit": Entry(edit, "Change values in place; gradients and graph stay."),
    "code": Entry(code, "The same experiment as a plain PyTorch script."),
    "schemes": Entry(schemes, "The initialisation schemes, with formulas."),
    "theory": Entry(theory, "What an activation does to a signal through depth."),
    "schema": Entry(schema, "The JSON Schema of a spec or of the report."),
    "help": Entry(help, "The manual: specs, schemes, gradients, sharing, scripts."),
}
