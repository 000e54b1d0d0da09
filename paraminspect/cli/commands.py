"""The commands, in the order of the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from paraminspect.cli.check import check
from paraminspect.cli.code import code
from paraminspect.cli.compare import compare
from paraminspect.cli.diff import diff
from paraminspect.cli.edit import edit
from paraminspect.cli.grad import grad
from paraminspect.cli.help import help
from paraminspect.cli.init import init
from paraminspect.cli.rules import rules
from paraminspect.cli.schema import schema
from paraminspect.cli.schemes import schemes
from paraminspect.cli.share import share
from paraminspect.cli.show import show
from paraminspect.cli.summary import summary
from paraminspect.cli.theory import theory

PROGRAM: Final = "paraminspect"

BEGINNINGS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Your model": (
        (f"{PROGRAM} show model.py:Net", "a class, or a function"),
        (f"{PROGRAM} show model.py:Net --arg depth=4", "called with arguments"),
        (f"{PROGRAM} show model.py:Net --input 8,3,32,32", "on an input of this shape"),
        (f"{PROGRAM} show torchvision.models:resnet18", "from an installed package"),
    ),
    "No model at hand": (
        (f"{PROGRAM} show cnn", "built in; also: transformer"),
        (f"{PROGRAM} show net.yaml", "a network in YAML"),
    ),
}
"""What to type first, and what for."""


@dataclass(frozen=True)
class Entry:
    """A command, its line in the list of commands, and what a person may type to try it."""

    function: Callable[..., int]
    short: str
    examples: tuple[str, str]


COMMANDS: Final[Mapping[str, Entry]] = {
    "show": Entry(
        show,
        "The whole picture: parameters, values, gradients, sharing.",
        ("show cnn", "show model.py:Net --input 8,3,32,32 --loss cross_entropy"),
    ),
    "summary": Entry(
        summary,
        "The tree of layers: shapes, parameters, multiply-adds.",
        ("summary cnn", "summary model.py:Net --input 8,3,224,224 --depth 2"),
    ),
    "init": Entry(
        init,
        "What an initialiser did: before, after, expected.",
        (
            "init cnn --scheme kaiming_normal:nonlinearity=relu --bias zeros",
            "init model.py:Net --scheme orthogonal --save start.safetensors",
        ),
    ),
    "grad": Entry(
        grad,
        "What gradient reaches every parameter, use by use.",
        ("grad cnn --params 'conv*'", "grad model.py:Net --seeds 3 --plot signal.png"),
    ),
    "share": Entry(
        share, "Who shares what with whom, and what it means.", ("share tied", "share model.py:Net --no-forward")
    ),
    "compare": Entry(
        compare,
        "Initialisation schemes side by side: which is steadiest.",
        ("compare deep-relu", "compare model.py:Net --scheme default --scheme kaiming_normal"),
    ),
    "check": Entry(
        check,
        "What is wrong with it, by rules; exit code 1 if anything is.",
        ("check model.py:Net --input 8,3,32,32", "check tuned.safetensors --select PI6"),
    ),
    "diff": Entry(
        diff,
        "Two models or checkpoints: what moved, and how far.",
        ("diff base.safetensors tuned.safetensors", "diff model.py:Net start.safetensors"),
    ),
    "edit": Entry(
        edit,
        "Change values in place; gradients and graph stay.",
        ("edit mlp --params '*.bias' --add 1", "edit model.py:Net --params head.weight --mul 0.5"),
    ),
    "code": Entry(
        code,
        "The same experiment as a plain PyTorch script.",
        ("code cnn", "code net.yaml --scheme xavier_uniform > net.py"),
    ),
    "rules": Entry(
        rules,
        "The rules of check: what each finds, and why.",
        ("rules", "rules PI301"),
    ),
    "schemes": Entry(
        schemes,
        "The initialisation schemes, with formulas.",
        ("schemes", "schemes kaiming_normal:nonlinearity=relu --shape 256,784"),
    ),
    "theory": Entry(
        theory,
        "What an activation does to a signal through depth.",
        ("theory gelu", "theory tanh --sigma-w2 1.5 --depth 20"),
    ),
    "schema": Entry(
        schema, "The JSON Schema of a spec or of the report.", ("schema spec > spec.schema.json", "schema report")
    ),
    "help": Entry(help, "The manual: specs, schemes, gradients, sharing, scripts.", ("help", "help gradients")),
}
