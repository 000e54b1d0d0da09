"""What an edit did, and the proof that it left gradients and graph alone, in the words of every format people read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paraminspect.report import Edit, TensorInfo
from paraminspect.text.numbers import figure, plural
from paraminspect.text.view import Glyphs

_DONE = {"add": "added", "mul": "multiplied by", "fill": "filled with"}
_SHORT = 120


def proof(found: Edit, shown: Callable[[str], str], glyphs: Glyphs) -> Iterator[tuple[str, str]]:
    """Yield a head and a text for values, gradient, graph, output and loss; `shown` escapes what the report says."""
    done = _DONE.get(found.operation) or shown(found.operation)
    value = figure(found.value, glyphs, 6)
    yield "values", f"{done} {value} in place, under no_grad, in {plural(len(found.parameters), 'tensor')}"
    yield "gradient", _gradients(found)
    yield "graph", "unchanged: the same leaves, no history of the edit" if found.graph_unchanged else "CHANGED"
    if found.output_before and found.output_after:
        before, after = (_short(info, shown) for info in (found.output_before, found.output_after))
        yield "output", f"{before} {glyphs.arrow} {after}"
        losses = (figure(value, glyphs, 6) for value in (found.loss_before, found.loss_after))
        yield "loss", f" {glyphs.arrow} ".join(losses)


def _gradients(found: Edit) -> str:
    if found.gradients_unchanged is None:
        return "None before and after: no backward was run"
    return "unchanged, bit for bit" if found.gradients_unchanged else "CHANGED"


def _short(info: TensorInfo, shown: Callable[[str], str]) -> str:
    """Return a small tensor on one line, of a larger one its dtype and shape."""
    text = " ".join(line.strip() for line in info.text.split("\n")) if info.text else ""
    return shown(text) if 0 < len(text) <= _SHORT else f"{shown(info.dtype)} {info.shape}"
