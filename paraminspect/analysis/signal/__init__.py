"""The signal through depth: second moments forward, a random cotangent backward, measured beside expected."""

from paraminspect.analysis.signal.over_seeds import combined
from paraminspect.analysis.signal.trace import CallFigures, Trace, calls_of, follow

__all__ = ["CallFigures", "Trace", "calls_of", "combined", "follow"]
