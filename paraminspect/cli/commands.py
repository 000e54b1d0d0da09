"""The commands, in the order of the help; the file of a command is imported when it is called, never before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from paraminspect.frozen import dataclass

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
    """The line of a command in the list of commands, and what a person may type to try it."""

    short: str
    examples: tuple[str, str]


COMMANDS: Final[Mapping[str, Entry]] = {
    "show": Entry(
        "The whole picture: parameters, values, gradients, sharing.",
        ("show cnn", "show model.py:Net --input 8,3,32,32 --loss cross_entropy"),
    ),
    "summary": Entry(
        "The tree of layers: shapes, parameters, multiply-adds.",
        ("summary cnn", "summary model.py:Net --input 8,3,224,224 --depth 2"),
    ),
    "init": Entry(
        "What an initialiser did: before, after, expected.",
        (
            "init cnn --scheme kaiming_normal:nonlinearity=relu --bias zeros",
            "init model.py:Net --scheme orthogonal --save start.safetensors",
        ),
    ),
    "grad": Entry(
        "What gradient reaches every parameter, use by use.",
        ("grad cnn --params 'conv*'", "grad model.py:Net --seeds 3 --plot signal.png"),
    ),
    "share": Entry("Who shares what with whom, and what it means.", ("share tied", "share model.py:Net --no-forward")),
    "compare": Entry(
        "Initialisation schemes side by side: which is steadiest.",
        ("compare deep-relu", "compare model.py:Net --scheme default --scheme kaiming_normal"),
    ),
    "check": Entry(
        "What is wrong with it, by rules; exit code 1 if anything is.",
        ("check model.py:Net --input 8,3,32,32", "check tuned.safetensors --select PI6"),
    ),
    "diff": Entry(
        "Two models or checkpoints: what moved, and how far.",
        ("diff base.safetensors tuned.safetensors", "diff model.py:Net start.safetensors"),
    ),
    "edit": Entry(
        "Change values in place; gradients and graph stay.",
        ("edit mlp --params '*.bias' --add 1", "edit model.py:Net --params head.weight --mul 0.5"),
    ),
    "code": Entry(
        "The same experiment as a plain PyTorch script.",
        ("code cnn", "code net.yaml --scheme xavier_uniform > net.py"),
    ),
    "rules": Entry(
        "The rules of check: what each finds, and why.",
        ("rules", "rules PI301"),
    ),
    "schemes": Entry(
        "The initialisation schemes, with formulas.",
        ("schemes", "schemes kaiming_normal:nonlinearity=relu --shape 256,784"),
    ),
    "theory": Entry(
        "What an activation does to a signal through depth.",
        ("theory gelu", "theory tanh --sigma-w2 1.5 --depth 20"),
    ),
    "schema": Entry(
        "The JSON Schema of a spec, of the report, of other JSON.", ("schema spec > spec.schema.json", "schema report")
    ),
    "help": Entry("The manual: specs, schemes, gradients, sharing, scripts.", ("help", "help gradients")),
}


def function_of(command: str) -> Callable[..., int]:
    """Return what runs a command: the function of its name, in the file of its name."""
    found: Callable[..., int] = getattr(import_module(f"paraminspect.cli.{command}"), command)
    return found
