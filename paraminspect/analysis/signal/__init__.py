"""The signal through depth: second moments forward, a random cotangent backward, measured beside expected."""

from paraminspect.analysis.signal.over_seeds import signal_over_seeds
from paraminspect.analysis.signal.signal_companion import SignalBeside
from paraminspect.analysis.signal.trace import CallFigures, Trace, calls_of, follow, keep_inside

__all__ = ["CallFigures", "SignalBeside", "Trace", "calls_of", "follow", "keep_inside", "signal_over_seeds"]
