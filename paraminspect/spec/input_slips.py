"""What a person means by an input that is spelled in another way: ``(2, 3)`` and ``2x3`` are ``2,3``."""

from __future__ import annotations

import re
from typing import Final

_CALLS: Final = {"rand": ":uniform", "randn": ":normal", "zeros": ":zeros", "ones": ":ones", "empty": "", "size": ""}
_WORDS: Final = {
    **dict.fromkeys(("float", "fp32", "f32", "single", "floattensor"), "float32"),
    **dict.fromkeys(("double", "fp64", "f64"), "float64"),
    **dict.fromkeys(("half", "fp16", "f16"), "float16"),
    **dict.fromkeys(("bf16",), "bfloat16"),
    **dict.fromkeys(("long", "int", "longtensor", "i64"), "int64"),
    **dict.fromkeys(("i32",), "int32"),
    **dict.fromkeys(("boolean",), "bool"),
    **dict.fromkeys(("randn", "gaussian", "gauss"), "normal"),
    **dict.fromkeys(("rand", "random"), "uniform"),
    **dict.fromkeys(("zero",), "zeros"),
    **dict.fromkeys(("one",), "ones"),
}
_CALL: Final = re.compile(r"(?:torch\.)?(\w+)\((.*)\)", re.DOTALL)
_SEPARATORS: Final = re.compile(r"[\s,;x×*()\[\]{}]+", re.IGNORECASE)
_SHAPE: Final = re.compile(r"[\s(\[{]*((?:-1|none|\d+)(?:[\s,;x×*]+\d+)*)[\s)\]}]*,?[\s)\]}]*", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"(-?\d+)(?:-|\.\.\.|:|to)(-?\d+)")


def meant_input(text: str) -> str:
    """Return what `text` may mean in the form that ``--input`` takes, or an empty text.

    Whether it can be drawn is for `inputs.parse_input` to say. A batch size that is left open becomes 2.
    """
    name, equals, rest = text[:200].rpartition("=")
    call = _CALL.fullmatch(rest.strip())
    if call and call[1] in _CALLS:
        rest, tail = f"({call[2]})", _CALLS[call[1]]
    else:
        tail = ""
    shape = _SHAPE.match(rest)
    if not shape:
        return ""
    sizes = [size for size in _SEPARATORS.split(shape[1]) if size]
    sizes[0] = sizes[0] if sizes[0].isdigit() else "2"
    words = [_word(word) for word in re.split(r"[:,;\s]+", _BETWEEN.sub(r"\1..\2", rest[shape.end() :])) if word]
    prefix = f"{name.strip()}=" if equals and name.strip() not in ("shape", "size") else ""
    return prefix + ":".join([",".join(sizes), *words]) + tail


def _word(word: str) -> str:
    plain = word.strip("()").removeprefix("torch.").removeprefix("dtype=").removeprefix("torch.").casefold()
    return _WORDS.get(plain, plain)
