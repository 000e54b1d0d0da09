"""Schemes side by side in a report."""

from __future__ import annotations

from paraminspect.frozen import dataclass
from paraminspect.report.layer_signal import Signal


@dataclass(frozen=True)
class Trial:
    """Hold how one scheme, at one width and depth of the model, carries the signal.

    `q_last` is the second moment of what the last layer returned, before an activation; `gradient_ratio` the norm of
    the gradient at the first layer over that at the last. `dead` and `saturated` are shares over all layers that can
    be. `loss` is the mean over seeds, `expected_loss` ln C where it is a classifier's. `unsteadiness` is what trials
    are ranked by, smaller is better: the sum of |ln factor| forward and backward; null where one of them is not known,
    or the trial failed, with `error`.
    """

    scheme: str
    width: int | None = None
    depth: int | None = None
    signal: Signal | None = None
    q_last: float | None = None
    gradient_ratio: float | None = None
    dead: float | None = None
    expected_dead: float | None = None
    saturated: float | None = None
    loss: float | None = None
    expected_loss: float | None = None
    unsteadiness: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Slope:
    """Check one layer's coordinates across widths: the slope of ln rms against ln width, of what is called `figure`.

    `figure` is ``pre``, ``out`` or ``gradient``. `tolerance` follows from the widths and the seeds; `expected` is the
    slope that theory gives, null where it does not reach. Of `pre` and `out` it is 0 where the scheme suits any width.
    """

    scheme: str
    layer: str
    figure: str
    slope: float
    tolerance: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Set schemes side by side on the same model, input and seeds; `steadiest` is the best one, and why.

    The trials are in the order of the schemes, those of one scheme in the order of the widths or depths.
    """

    seeds: int
    trials: tuple[Trial, ...] = ()
    steadiest: str | None = None
    reason: str | None = None
    slopes: tuple[Slope, ...] = ()
