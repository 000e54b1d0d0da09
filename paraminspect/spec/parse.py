"""YAML or JSON text to a Spec: every key known, every layer and value of the right kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from paraminspect.errors import UserError
from paraminspect.spec import fields
from paraminspect.spec.arguments import bind, unknown_layer
from paraminspect.spec.dtypes import FLOATING, SEEDS, check_device
from paraminspect.spec.inputs import infer_input, read_input
from paraminspect.spec.model import LOSSES, GroupItem, Item, LayerItem, Ref, Repeat, Rule, Spec, Tie
from paraminspect.spec.signatures import LAYERS
from paraminspect.spec.syntax import guess_syntax, parse
from paraminspect.spec.tree import Mapping, Node, Scalar, plain

KEYS = ("name", "seed", "seed_per_parameter", "layers", "input", "loss", "init", "ties", "dtype", "device")
_EXAMPLE = "a spec starts like this:\n  layers:\n    - Linear: [4, 3]\n    - ReLU"


def parse_spec(text: str, label: str, path: str | None = None) -> Spec:
    """Parse and validate a spec; `label` is the file name as typed, used in every error.

    Raises UserError with ``label:line:column`` and the key path.
    """
    root = parse(text, label, guess_syntax(label, text))
    entries = fields.mapping(root, "the spec", KEYS, _EXAMPLE).entries
    if "layers" not in entries:
        raise UserError("the spec has no layers", where=str(root.mark), hint=_EXAMPLE, code="spec-missing-key")
    values = {key: read(entries[key].value) for key, read in _READERS.items() if key in entries}
    values.setdefault("name", "spec" if label == "-" else PurePath(label).stem)
    if "input" not in values:
        values["input"] = infer_input(values["layers"])
    return Spec(**values, label=label, path=path)


def _dtype(node: Node) -> str:
    name = fields.text(node, "dtype").removeprefix("torch.")
    return fields.word(Scalar(name, node.mark), "dtype", FLOATING)


_READERS: dict[str, Callable[[Node], Any]] = {
    "layers": lambda node: read_items(node, "layers"),
    "name": lambda node: fields.text(node, "name"),
    "seed": lambda node: fields.integer(node, "seed", 0, SEEDS),
    "input": read_input,
    "loss": lambda node: fields.word(node, "loss", LOSSES),
    "init": lambda node: _each(_rule, node, "init"),
    "ties": lambda node: _each(_tie, node, "ties"),
    "dtype": _dtype,
    "device": lambda node: check_device(fields.text(node, "device"), str(node.mark), "device"),
    "seed_per_parameter": lambda node: fields.boolean(node, "seed_per_parameter"),
}
"""What reads the value of each key, in the order in which faults are looked for."""


def _each(read: Callable[[Node, str], Any], node: Node, path: str) -> tuple[Any, ...]:
    return tuple(read(item, f"{path}[{i}]") for i, item in enumerate(fields.items(node, path)))


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


def _tie(node: Node, path: str) -> Tie:
    example = "for example: ties: [[decoder.weight, encoder.weight]]"
    names = tuple(fields.text(item, f"{path}[{i}]") for i, item in enumerate(fields.items(node, path, example)))
    if len(names) < 2 or len(set(names)) != len(names):
        message = f"{path} needs at least two different names"
        raise UserError(message, where=str(node.mark), hint=example, code="spec-bad-tie")
    return Tie(names, str(node.mark))


# --- the items of ``layers:`` ----------------------------------------------------------------------------


_ITEM = "for example: - Linear: [4, 3]"


def read_items(node: Node, path: str) -> tuple[Item, ...]:
    """Read a list of layers; it may not be empty."""
    nodes = fields.items(node, path, "every layer starts with a dash: - Linear: [4, 3]")
    if not nodes:
        raise UserError(f"{path} is empty", where=str(node.mark), hint=_ITEM, code="spec-no-layers")
    return tuple(item for i, child in enumerate(nodes) for item in _read(child, f"{path}[{i}]"))


def _read(node: Node, path: str) -> tuple[Item, ...]:
    """Read one item of a list of layers, which becomes several layers if it is the MLP shorthand."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return _layer(node.value, None, None, node, path)
    if not isinstance(node, Mapping):
        raise fields.wrong(node, path, "a layer", _ITEM)
    name = _child_name(node, path)
    keys = [key for key in node.entries if key != "name"]
    if len(keys) != 1:
        raise _not_one_key(node, path, keys)
    return _layer(keys[0], node.entries[keys[0]].value, name, node, path)


def _child_name(node: Mapping, path: str) -> str | None:
    if "name" not in node.entries:
        return None
    value = node.entries["name"].value
    name = fields.text(value, f"{path}.name")
    if not name or "." in name:
        message = f"{path}.name: a child's name cannot be empty or contain a dot, got {name!r}"
        raise UserError(message, where=str(value.mark), code="spec-bad-name")
    return name


def _not_one_key(node: Mapping, path: str, keys: list[str]) -> UserError:
    if not keys:
        return UserError(f"{path} names no layer", where=str(node.mark), hint=_ITEM, code="spec-bad-layer")
    stray = next((key for key in keys if key not in LAYERS and key not in _SPECIAL), keys[1])
    message = f"{path} has more than one layer key: {', '.join(keys)}"
    hint = (
        f"put {stray!r} in a list item of its own; arguments go inside: - Linear: {{in_features: 4, out_features: 3}}"
    )
    return UserError(message, where=str(node.entries[keys[1]].key_mark), hint=hint, code="spec-bad-layer")


def _layer(key: str, value: Node | None, name: str | None, node: Node, path: str) -> tuple[Item, ...]:
    where = str(node.entries[key].key_mark if isinstance(node, Mapping) else node.mark)
    if key in _SPECIAL:
        if value is None:
            raise UserError(f"{path}: {key} needs a value", where=where, hint=_USAGE[key], code="spec-missing-key")
        return _SPECIAL[key](value, name, where, f"{path}.{key}")
    if key not in LAYERS:
        raise unknown_layer(key, where, path, extra=tuple(_SPECIAL))
    bound = bind(key, value, f"{path}.{key}", nested=_nested, where=where)
    return (LayerItem(key, bound.args, bound.kwargs, name, where),)


def _nested(node: Node, path: str) -> LayerItem:
    """Read a layer that stands as an argument of another one."""
    found = _read(node, path)
    if len(found) != 1 or not isinstance(found[0], LayerItem):
        raise fields.wrong(node, path, "one torch.nn layer", "for example: {TransformerEncoderLayer: [16, 4]}")
    return found[0]


def _group(kind: str, value: Node, name: str | None, where: str, path: str) -> tuple[Item, ...]:
    return (GroupItem(kind, read_items(value, path), name, where),)


def _repeat(value: Node, name: str | None, where: str, path: str) -> tuple[Item, ...]:
    entries = fields.mapping(value, path, ("times", "layers"), _USAGE["Repeat"]).entries
    for key in ("times", "layers"):
        if key not in entries:
            raise UserError(f"{path} needs {key!r}", where=where, hint=_USAGE["Repeat"], code="spec-missing-key")
    times = fields.integer(entries["times"].value, f"{path}.times", 1)
    repeat = Repeat(times, read_items(entries["layers"].value, f"{path}.layers"), where)
    return (repeat,) if name is None else (GroupItem("Sequential", (repeat,), name, where),)


def _mlp(value: Node, name: str | None, where: str, path: str) -> tuple[Item, ...]:
    entries = fields.mapping(value, path, ("sizes", "activation", "bias"), _USAGE["MLP"]).entries
    if "sizes" not in entries:
        raise UserError(f"{path} needs 'sizes'", where=where, hint=_USAGE["MLP"], code="spec-missing-key")
    widths = fields.sizes(entries["sizes"].value, f"{path}.sizes")
    if len(widths) < 2:
        message = f"{path}.sizes needs at least two widths: the input's and the output's"
        raise UserError(message, where=str(entries["sizes"].value.mark), code="spec-out-of-range")
    activation = LayerItem("ReLU", (), {}, None, where)
    if "activation" in entries:
        activation = _nested(entries["activation"].value, f"{path}.activation")
    kwargs = {"bias": fields.boolean(entries["bias"].value, f"{path}.bias")} if "bias" in entries else {}
    items: list[Item] = []
    for fan_in, fan_out in pairwise(widths):
        items += [LayerItem("Linear", (fan_in, fan_out), kwargs, None, where), activation]
    return tuple(items[:-1]) if name is None else (GroupItem("Sequential", tuple(items[:-1]), name, where),)


def _ref(value: Node, name: str | None, where: str, path: str) -> tuple[Item, ...]:
    target = value.value if isinstance(value, Scalar) else None
    if (
        isinstance(target, bool)
        or not isinstance(target, (int, str))
        or target == ""
        or (type(target) is int and target < 0)
    ):
        raise fields.wrong(value, path, "the name or the number of an earlier layer", _USAGE["ref"])
    return (Ref(target, name, str(value.mark)),)


_USAGE = {
    "Sequential": "for example: - Sequential: [Linear: [4, 3], ReLU]",
    "Residual": "for example: - Residual: [Linear: [4, 4], ReLU]",
    "Repeat": "for example: - Repeat: {times: 3, layers: [Linear: [4, 4], ReLU]}",
    "MLP": "for example: - MLP: {sizes: [784, 256, 10], activation: ReLU}",
    "ref": "for example: - ref: 0",
}
_SPECIAL: dict[str, Callable[[Node, str | None, str, str], tuple[Item, ...]]] = {
    "Sequential": partial(_group, "Sequential"),
    "Residual": partial(_group, "Residual"),
    "Repeat": _repeat,
    "MLP": _mlp,
    "ref": _ref,
}
SPECIAL = tuple(_SPECIAL)
