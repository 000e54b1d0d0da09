"""What sharing means, in the words of every format that people read."""

from __future__ import annotations

from typing import Final

from paraminspect.render.figures import plural
from paraminspect.report import Report

MEANING: Final = {
    "same-parameter": "a true tie: one value, one gradient (the sum over its uses), one optimizer slot",
    "same-buffer": "one buffer under several names: an update through one is seen through all",
}
"""By kind of sharing."""


def nothing_shared(report: Report) -> str:
    """Say that none of the report's parameters shares anything."""
    count = sum(row.kind == "parameter" for row in report.parameters)
    return f"nothing is shared: {plural(count, 'parameter tensor')}, each an object and a storage of its own"
