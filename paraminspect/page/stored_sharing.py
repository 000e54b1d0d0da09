"""`share` of a checkpoint: which names lie in one storage or hold equal bytes, and what loading makes of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from paraminspect.page.parts import Entries, Line, Paragraph, Part
from paraminspect.page.sharing import NO_TIE
from paraminspect.page.tensor_folding import fold_names
from paraminspect.report import Report, Sharing
from paraminspect.text.escape import View, code, word
from paraminspect.text.numbers import plural, size

_MEANING: Final = {
    "same-view": "the same elements under several names, written once",
    "same-bytes-other-view": "the same bytes in another order, shape or dtype, written once",
    "nested": "slices: the bytes of some are all inside another's",
    "partial-overlap": "some bytes in common, and others of their own: usually a mistake",
    "may-overlap": "they reach over each other; whether a byte is in common would take too long to find out",
    "self-overlap": "some of its own elements lie in the same bytes",
    "same-storage-disjoint": "parts of one storage without a byte in common: to save one saves them all",
    "equal-not-shared": "bit for bit equal, each written: copies, or a tie that was not kept",
    "equal-buffers": "tables and counters that are computed alike: no sign of a tie",
    "equal-constant": "each holds one constant, as fresh norms and biases do: no sign of a tie",
}
_LOADING: Final = {
    "same-view": "torch.load gives tensors that share memory; load_state_dict copies them into the parameters, "
    "which are tied if the model ties them",
    "same-bytes-other-view": "torch.load gives tensors that share memory; load_state_dict copies them apart",
    "nested": "torch.load gives tensors that share memory; load_state_dict copies them apart",
    "partial-overlap": "torch.load gives tensors that share memory; load_state_dict copies them apart",
    "equal-not-shared": "each name gets bytes of its own; a model that ties them takes the last that is loaded",
}


def sharing_parts(report: Report, view: View) -> Iterator[Part]:
    """Yield the facts of each group; those alike but for the numbers in their names are told once."""
    loud = [one for one in report.sharing if one.kind not in NO_TIE]
    if not loud:
        yield Paragraph("nothing is shared: every tensor has bytes of its own, and no two hold the same")
    for names, members in _folded(loud, view):
        yield Entries([(f"  {term}", text) for term, text in _facts(members) if text], 11, names)
    for kind in NO_TIE:
        groups = [one for one in report.sharing if one.kind == kind]
        count = sum(len(one.names) for one in groups)
        if groups:
            where = f"{plural(count, 'tensor')} in {plural(len(groups), 'group')}"
            yield Entries([("equal", f"{where}: {_MEANING[kind]}")])


def _folded(groups: Sequence[Sharing], view: View) -> Iterator[tuple[str, list[Sharing]]]:
    alike = [(one.kind, one.bytes, one.storage_bytes, one.verdict) for one in groups]
    if not view.fold:
        yield from ((" = ".join(map(code, one.names)), [one]) for one in groups)
        return
    others = {place: one.names[1:] for place, one in enumerate(groups) if len(one.names) <= 8}
    for found in fold_names([one.names[0] for one in groups], alike.__getitem__, others):
        first = groups[found.places[0]]
        between = " = " if first.kind == "same-view" else ", "
        names = [found.name, *found.aliases] if len(first.names) <= 8 else _few(first)
        yield between.join(names), [groups[place] for place in found.places]


def _few(one: Sharing) -> list[str]:
    return [*map(code, one.names[:4]), f"… ({len(one.names):,} names)"]


def _facts(members: Sequence[Sharing]) -> Iterator[Line]:
    first = members[0]
    yield "kind", f"{word(first.kind)}: {_MEANING.get(first.kind, '')}"
    parts = []
    if first.bytes:
        elements = f"{plural(first.numel, 'element')}, " if first.numel else ""
        each = " each" if first.kind.startswith("equal") or len(members) > 1 else ""
        parts.append(f"{elements}{size(first.bytes)}{each}")
    if first.storage_bytes is not None:
        parts.append(f"one storage of {size(first.storage_bytes)}")
    yield "memory", "; ".join(parts)
    if first.declared:
        yield "declared", f"yes ({code(first.origin or '')}): written once, as safetensors' save_model does"
        yield "loading", "load_model ties them again; load_file gives the one name alone"
    else:
        yield "loading", _LOADING.get(first.kind, "")
