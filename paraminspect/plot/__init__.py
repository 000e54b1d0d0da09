"""Report to picture, PNG or SVG: the signal through depth, schemes over each other, the tree of modules.

Only the functions that draw import matplotlib, and only its Figure: no window, no pyplot, no setting of the user's.
"""

from paraminspect.plot.picture import check
from paraminspect.plot.report import comparison, draw, histograms, layers, signal

__all__ = ["check", "comparison", "draw", "histograms", "layers", "signal"]
