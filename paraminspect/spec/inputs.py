"""What a network is given: the spec's ``input:``, the command line's ``--input``, and ``--arg`` for the user's code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any, Final

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec import fields
from paraminspect.spec.dtypes import DTYPES
from paraminspect.spec.input_slips import meant_input
from paraminspect.spec.model import SAMPLES, GroupItem, Input, Item, LayerItem, Repeat, Spec
from paraminspect.spec.signatures import resolve
from paraminspect.spec.syntax import read_yaml
from paraminspect.spec.tree import Node, Sequence, plain, shown

_RANGE = re.compile(r"-?\d{1,18}\.\.-?\d{1,18}")
_FUNCTION = re.compile(r"(?P<target>.+\.py|[^\W\d]\w*(?:\.[^\W\d]\w*)*):[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_FORM = "SHAPE[:DTYPE][:SAMPLE], e.g. 2,4 or 2,4:float32:normal or ids=2,128:int64:0..50256"
_KEYS = ("shape", "dtype", "sample")
_BATCH = 2
_WORDS = 4


def read_input(node: Node) -> Input:
    """Read the spec's ``input:``: a mapping, or the list of sizes alone."""
    where = str(node.mark)
    if isinstance(node, Sequence):
        return Input(fields.sizes(node, "input"), where=where)
    entries = fields.mapping(node, "input", _KEYS, "for example: input: {shape: [2, 4], sample: uniform}").entries
    if "shape" not in entries:
        raise UserError("input needs a shape", where=where, hint="for example: shape: [2, 4]", code="spec-missing-key")
    shape = fields.sizes(entries["shape"].value, "input.shape")
    dtype = fields.text(entries["dtype"].value, "input.dtype") if "dtype" in entries else None
    sample = fields.text(entries["sample"].value, "input.sample") if "sample" in entries else "uniform"
    at = {key: str(entry.value.mark) for key, entry in entries.items()}
    known_dtype = _dtype(dtype, at.get("dtype", where)) if dtype is not None else None
    return _checked(Input(shape, _sample(sample, at.get("sample", where)), known_dtype, where=where))


def parse_inputs(texts: Iterable[str]) -> tuple[Input, ...]:
    """Parse every ``--input`` of a command line: by position in the order given, or by name, each name once."""
    inputs = tuple(map(_parse_or_explain, texts))
    names = [one.name for one in inputs if one.name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{twice!r} is given twice", where="--input", hint="keep one of them", code="bad-option")
    return inputs


def _parse_or_explain(text: str) -> Input:
    """Parse one ``--input``; an error says what was meant where the text is a shape that is spelled in another way."""
    try:
        return parse_input(text)
    except UserError as error:
        meant = meant_input(text)
        try:
            parse_input(meant)
        except UserError:
            raise error from None
        hint = f"did you mean --input {shlex.quote(meant)}?"
        raise UserError(error.message, where=error.where, hint=hint, code=error.code) from error


def parse_input(text: str) -> Input:
    """Parse one ``--input`` value: SHAPE is sizes, or ``scalar``; a bool tensor is drawn from 0..1.

    In the place of SHAPE and what follows may stand ``file.py:func`` or ``pkg.mod:func``, which is not run here.

    Raises UserError naming the option and the part that is wrong.
    """
    where = f"--input {text}"
    name, equals, rest = text.rpartition("=")
    if equals and not name.isidentifier():
        raise UserError(f"{name!r} is not an argument name", where=where, hint=_FORM, code="bad-option")
    function = _FUNCTION.fullmatch(rest)
    if function and function["target"] != "scalar":
        return Input((), name=name or None, where=where, function=rest)
    shape, *parts = rest.split(":")
    if len(parts) > 2:
        raise UserError("too many ':'", where=where, hint=_FORM, code="bad-option")
    samples = [part for part in parts if part in SAMPLES or _RANGE.fullmatch(part)]
    dtypes = [_dtype(part, where) for part in parts if part not in samples]
    for kind, found in (("sample", samples), ("dtype", dtypes)):
        if len(found) > 1:
            raise UserError(f"two {kind}s: {' and '.join(found)}", where=where, hint=_FORM, code="bad-option")
    dtype = [*dtypes, None][0]
    sample = [*samples, "0..1" if dtype == "bool" else "uniform"][0]
    return _checked(Input(_shape(shape, where), sample, dtype, name or None, where, only_shape=not parts))


def _shape(text: str, where: str) -> tuple[int, ...]:
    if text == "scalar":
        return ()
    sizes = text.split(",")
    if not all(re.fullmatch(r"\d{1,18}", size.strip(), re.ASCII) and int(size) > 0 for size in sizes):
        message = f"{text!r} is not a shape: sizes of at least 1, separated by commas"
        raise UserError(message, where=where, hint=_FORM, code="bad-option")
    return tuple(map(int, sizes))


def _sample(text: str, where: str) -> str:
    if text in SAMPLES or _RANGE.fullmatch(text):
        return text
    hint = did_you_mean(text, SAMPLES) or f"known: {', '.join(SAMPLES)}, or LOW..HIGH (integers, both included)"
    raise UserError(f"unknown sample {text!r}", where=where, hint=hint, code="bad-input")


def _dtype(text: str, where: str) -> str:
    name = text.removeprefix("torch.")
    if name in DTYPES:
        return name
    hint = did_you_mean(name, [*DTYPES, *SAMPLES]) or _FORM
    raise UserError(f"unknown dtype or sample {text!r}", where=where, hint=hint, code="unknown-dtype")


def _checked(wanted: Input) -> Input:
    """Refuse a combination that no tensor can have."""
    bounds = wanted.bounds
    if bounds and bounds[0] > bounds[1]:
        raise UserError(f"{wanted.sample}: the low end is above the high end", where=wanted.where, code="bad-input")
    integral = wanted.dtype is not None and ("int" in wanted.dtype or wanted.dtype == "bool")
    if integral and wanted.sample in ("uniform", "normal"):
        hint = "give a range of integers, e.g. sample 0..9"
        message = f"{wanted.sample} numbers cannot be drawn as {wanted.dtype}"
        raise UserError(message, where=wanted.where, hint=hint, code="bad-input")
    return wanted


def infer_input(items: tuple[Item, ...]) -> Input | None:
    """Guess the input from the first layer where it leaves no doubt: (2, in_features), or indices for an Embedding."""
    first = items[0]
    if isinstance(first, (GroupItem, Repeat)):
        return infer_input(first.layers)
    if not isinstance(first, LayerItem):
        return None
    arguments = resolve(first.type, first.args, first.kwargs)
    if first.type in ("Linear", "PlainBiasLinear"):
        return Input((_BATCH, int(arguments["in_features"])))
    if first.type == "Embedding":
        return Input((_BATCH, _WORDS), f"0..{int(arguments['num_embeddings']) - 1}", "int64")
    return None


def default_dtype(spec: Spec) -> str:
    """Return the dtype of an input that names none: the model's, or that of the first layer that has its own."""
    return spec.dtype or next(layer_dtypes(spec.layers), "float32")


def layer_dtypes(items: tuple[Item, ...]) -> Iterator[str]:
    """Yield the dtypes that layers have of their own, in order."""
    for item in items:
        if isinstance(item, (GroupItem, Repeat)):
            yield from layer_dtypes(item.layers)
        elif isinstance(item, LayerItem):
            dtype = resolve(item.type, item.args, item.kwargs).get("dtype")
            if dtype:
                yield str(dtype)


# --- --arg NAME=VALUE, where VALUE is YAML ---------------------------------------------------------------


MAX_CHARACTERS: Final = 10_000
_ARGUMENT_FORM = "write NAME=VALUE, e.g. --arg depth=2 or --arg sizes=[4,8] or --arg name=small"


def parse_keywords(texts: Iterable[str]) -> dict[str, Any]:
    """Return the value of every ``--arg``: a number, true, false, null, a text, a list or a mapping of these.

    Raises UserError naming the option and what is wrong with it.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            hint = _argument_meant(text) or _ARGUMENT_FORM
            raise UserError(f"{shown(text)} is not an argument", where="--arg", hint=hint, code="bad-option")
        if name in found:
            raise UserError(f"{name!r} is given twice", where="--arg", hint="keep one of them", code="bad-option")
        found[name] = _value(value, f"--arg {name}")
    return found


def _argument_meant(text: str) -> str:
    """Suggest ``depth=2`` for ``depth:2`` and ``--depth=2``, an empty text for what is neither."""
    found = re.fullmatch(r"(?:--)?([A-Za-z_]\w*)\s*[=:\s]\s*(\S[^=]{0,100})", text)
    return f"did you mean --arg {shlex.quote(f'{found[1]}={found[2].strip()}')}?" if found else ""


def _value(text: str, where: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        message = f"the value has {len(text):,} characters, {MAX_CHARACTERS:,} are the most"
        raise UserError(message, where=where, hint="name a function that takes it from a file", code="bad-option")
    node = read_yaml(text, where)
    if node is None:
        hint = "null is the value None, '' in quotes is an empty text"
        raise UserError("the value is missing", where=where, hint=hint, code="bad-option")
    return plain(node)
