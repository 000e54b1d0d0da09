"""What the input is: the spec's ``input:`` and the command line's ``--input SHAPE[:DTYPE][:SAMPLE]``."""

from __future__ import annotations

import re

from paraminspect.errors import UserError, did_you_mean
from paraminspect.spec import fields
from paraminspect.spec.model import SAMPLES, Input
from paraminspect.spec.nodes import Node, Sequence

_RANGE = re.compile(r"-?\d{1,18}\.\.-?\d{1,18}")
_FORM = "SHAPE[:DTYPE][:SAMPLE], e.g. 2,4 or 2,4:float32:normal or ids=2,128:int64:0..50256"
_KEYS = ("shape", "dtype", "sample")


def read_input(node: Node) -> Input:
    """Read the spec's ``input:``, a mapping or just the list of sizes."""
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


def parse_input(text: str) -> Input:
    """Parse one ``--input`` value.

    Raises UserError naming the option and the part that is wrong.
    """
    where = f"--input {text}"
    name, equals, rest = text.rpartition("=")
    if equals and not name.isidentifier():
        raise UserError(f"{name!r} is not an argument name", where=where, hint=_FORM, code="bad-option")
    shape, *parts = rest.split(":")
    if len(parts) > 2:
        raise UserError("too many ':'", where=where, hint=_FORM, code="bad-option")
    sample, dtype = "uniform", None
    for part in parts:
        if part in SAMPLES or _RANGE.fullmatch(part):
            sample = part
        else:
            dtype = _dtype(part, where)
    return _checked(Input(_shape(shape, where), _sample(sample, where), dtype, name or None, where))


def _shape(text: str, where: str) -> tuple[int, ...]:
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
    from paraminspect.spec.sizes import DTYPES

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
