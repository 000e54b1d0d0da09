"""Spec text to a tree of nodes, by the syntax it is written in."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, TypeAlias

from paraminspect.errors import UserError
from paraminspect.spec.json import read_json
from paraminspect.spec.nodes import Node, Scalar
from paraminspect.spec.yaml import read_yaml

Syntax: TypeAlias = Literal["yaml", "json"]


def guess_syntax(name: str, text: str) -> Syntax:
    """Return the syntax of a spec by its file name, for any other name (``-`` is one) by its first characters.

    Text that begins with ``{"`` or ``{}`` is JSON and has to be strict JSON; anything else is YAML, which
    includes the flow mapping ``{name: mlp}``.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".json":
        return "json"
    if suffix in (".yaml", ".yml"):
        return "yaml"
    return "json" if re.match(r'\s*\{\s*["}]', text) else "yaml"


def parse(text: str, label: str, syntax: Syntax) -> Node:
    """Return the tree of a spec; `label` is the file name as typed.

    Raises UserError, with ``label:line:column`` in `where`, for everything that is not one YAML 1.2 (core
    schema) or JSON document with text keys, none of them twice, within the bounds of the composer on depth and size.
    """
    text = text.removeprefix("\ufeff")
    root = (read_json if syntax == "json" else read_yaml)(text, label)
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise UserError("the spec is empty", where=label, hint="start it with 'layers:'", code="spec-syntax")
    return root
