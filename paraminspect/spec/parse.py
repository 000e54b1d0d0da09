"""YAML or JSON text to a Spec: every key known, every value of the right kind, every name resolvable."""

from __future__ import annotations

from pathlib import PurePath

from paraminspect.errors import UserError
from paraminspect.spec import fields
from paraminspect.spec.dtypes import FLOATING, check_device
from paraminspect.spec.inputs import infer_input, read_input
from paraminspect.spec.items import read_items
from paraminspect.spec.limits import SEEDS
from paraminspect.spec.model import LOSSES, Item, Rule, Spec, Tie
from paraminspect.spec.nodes import Entry, Mapping, Node, Scalar, plain
from paraminspect.spec.syntax import guess_syntax, parse

KEYS = ("name", "seed", "seed_per_parameter", "layers", "input", "loss", "init", "ties", "dtype", "device")
_EXAMPLE = "a spec starts like this:\n  layers:\n    - Linear: [4, 3]\n    - ReLU"


def parse_spec(text: str, label: str, path: str | None = None) -> Spec:
    """Parse and validate a spec; `label` is the file name as typed, used in every error.

    Raises UserError with ``label:line:column`` and the key path.
    """
    root = parse(text, label, guess_syntax(label, text))
    entries = fields.mapping(root, "the spec", KEYS, _EXAMPLE).entries
    layers = _layers(root, entries)
    return Spec(
        name=_name(entries, label),
        layers=layers,
        label=label,
        path=path,
        seed=fields.integer(entries["seed"].value, "seed", 0, SEEDS) if "seed" in entries else 0,
        input=read_input(entries["input"].value) if "input" in entries else infer_input(layers),
        loss=fields.word(entries["loss"].value, "loss", LOSSES) if "loss" in entries else "sum",
        init=_rules(entries["init"].value) if "init" in entries else (),
        ties=_ties(entries["ties"].value) if "ties" in entries else (),
        dtype=_dtype(entries["dtype"].value) if "dtype" in entries else None,
        device=_device(entries["device"].value) if "device" in entries else None,
        seed_per_parameter=_seed_per_parameter(entries),
    )


def _name(entries: dict[str, Entry], label: str) -> str:
    if "name" in entries:
        return fields.text(entries["name"].value, "name")
    return "spec" if label == "-" else PurePath(label).stem


def _seed_per_parameter(entries: dict[str, Entry]) -> bool:
    key = "seed_per_parameter"
    return key in entries and fields.boolean(entries[key].value, key)


def _layers(root: Node, entries: dict[str, Entry]) -> tuple[Item, ...]:
    if "layers" not in entries:
        raise UserError("the spec has no layers", where=str(root.mark), hint=_EXAMPLE, code="spec-missing-key")
    return read_items(entries["layers"].value, "layers")


def _dtype(node: Node) -> str:
    name = fields.text(node, "dtype").removeprefix("torch.")
    return fields.word(Scalar(name, node.mark), "dtype", FLOATING)


def _device(node: Node) -> str:
    return check_device(fields.text(node, "device"), str(node.mark), "device")


def _rules(node: Node) -> tuple[Rule, ...]:
    return tuple(_rule(item, f"init[{i}]") for i, item in enumerate(fields.items(node, "init")))


def _rule(node: Node, path: str) -> Rule:
    example = 'for example: - {params: "*.weight", scheme: normal, std: 0.01}'
    if not isinstance(node, Mapping):
        raise fields.wrong(node, path, "a mapping", example)
    for key in ("params", "scheme"):
        if key not in node.entries:
            raise UserError(f"{path} needs {key!r}", where=str(node.mark), hint=example, code="spec-missing-key")
    glob = fields.text(node.entries["params"].value, f"{path}.params")
    scheme = fields.text(node.entries["scheme"].value, f"{path}.scheme")
    args = {key: plain(entry.value) for key, entry in node.entries.items() if key not in ("params", "scheme")}
    return Rule(glob, scheme, args, str(node.entries["scheme"].value.mark))


def _ties(node: Node) -> tuple[Tie, ...]:
    return tuple(_tie(item, f"ties[{i}]") for i, item in enumerate(fields.items(node, "ties")))


def _tie(node: Node, path: str) -> Tie:
    example = "for example: ties: [[decoder.weight, encoder.weight]]"
    names = tuple(fields.text(item, f"{path}[{i}]") for i, item in enumerate(fields.items(node, path, example)))
    if len(names) < 2 or len(set(names)) != len(names):
        message = f"{path} needs at least two different names"
        raise UserError(message, where=str(node.mark), hint=example, code="spec-bad-tie")
    return Tie(names, str(node.mark))
