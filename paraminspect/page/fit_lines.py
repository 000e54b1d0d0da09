"""Whether a model takes a file, in one line, and what keeps it from doing so."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.page.parts import Line
from paraminspect.report import Headline, StateDictFit
from paraminspect.text.escape import code
from paraminspect.text.numbers import plural, some_of

_MOST = 4


def fit_headline(fit: StateDictFit) -> Headline:
    """Return the answer: yes, or no and what would make it fit."""
    at = f", the state_dict at {code(fit.key)}" if fit.key else ""
    if fit.fits:
        return Headline("fine", "fits", f"load_state_dict(strict=True) fits: yes{at}")
    remedy = " and ".join(_remedies(fit))
    if fit.fits_then:
        return Headline("note", "fits then", f"load_state_dict(strict=True) fits: no{at}; with {remedy} it does")
    after = f", also with {remedy}" if remedy else ""
    counts = [
        f"{len(names):,} {what}"
        for names, what in ((fit.missing, "missing"), (fit.unexpected, "unexpected"), (fit.shapes, "of another shape"))
        if names
    ]
    why = ", ".join(counts) or "torch refuses it"
    return Headline("error", "does not fit", f"load_state_dict(strict=True) fits: no{after}{at}: {why}")


def _remedies(fit: StateDictFit) -> Iterator[str]:
    if fit.strip:
        yield f"{code(fit.strip)} taken off the names in the file"
    if fit.add:
        yield f"{code(fit.add)} put before the names in the file"
    if fit.ties:
        yield f"{plural(len(fit.ties), 'tied name')} filled"


def fit_lines(fit: StateDictFit) -> Iterator[Line]:
    """Yield what does not fit, by name."""
    for what, names in (("missing", fit.missing), ("unexpected", fit.unexpected)):
        if names:
            where = "in the model, not in the file" if what == "missing" else "in the file, not in the model"
            yield what, f"{where}: {some_of([code(name) for name in names], _MOST)}"
    for name, stored, wanted in fit.shapes[:_MOST]:
        yield "shape", f"{code(name)} is {stored} in the file, {wanted} in the model"
    if fit.shapes[_MOST:]:
        yield "shape", f"and {len(fit.shapes) - _MOST:,} more"
    for name, kept in fit.ties[:_MOST]:
        of = f"one Parameter with {code(kept)}" if kept else "written under another name"
        yield "tied", f"{code(name)} is not in the file; in the model it is {of}"
    if fit.ties[_MOST:]:
        yield "tied", f"and {len(fit.ties) - _MOST:,} more"
    if fit.message:
        yield "torch", code(fit.message)
    if not fit.fits and (fit.ties or fit.strip or fit.add) and fit.fits_then:
        prefix = (fit.strip or fit.add).removesuffix(".")
        option = f" --strip-prefix {code(prefix)}" if prefix else ""
        yield "try", f"--weights {code(fit.file)}{option}{' fills what is tied' if fit.ties else ''}"
