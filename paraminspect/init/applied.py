"""What a rule did to a parameter: the fills in order, and what the values should be after the last one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.target import Target
from paraminspect.report import Init

if TYPE_CHECKING:
    from paraminspect.init.custom import CustomScheme
    from paraminspect.init.schemes.bound_scheme import BoundScheme


@dataclass(frozen=True)
class Touch:
    """One fill: which rule, by its number and as it was written, and which of the names it matched.

    `at` counts the fills of all rules.
    """

    at: int
    number: int
    rule: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """What a parameter's last rule did, and the moments its values should have.

    `touches` are all the fills, in order; of what a computed weight is stored in, those of the weight too. `scheme` is
    the last one's, settled for this parameter. All are empty for what a constructor did.
    """

    init: Init
    moments: ExpectedMoments | None
    touches: tuple[Touch, ...] = ()
    target: Target | None = None
    scheme: BoundScheme | CustomScheme | None = None

    def noting(self, note: str) -> Applied:
        """Return this with one note more; nothing is added for an empty one."""
        return replace(self, init=replace(self.init, notes=(*self.init.notes, note))) if note else self

    def expecting(self, moments: ExpectedMoments | None) -> Applied:
        """Return this with other moments, None where nothing can be expected."""
        found = moments or ExpectedMoments(None, None, None, None, None)
        init = replace(
            self.init,
            expected_mean=found.mean,
            expected_std=found.std,
            expected_low=found.low,
            expected_high=found.high,
        )
        return replace(self, init=init, moments=moments)
