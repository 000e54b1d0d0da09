"""What an inspection found, as frozen plain values: the only thing that passes from analysis to output.

The field names and their order are the JSON report, version 1. Within a version fields may be added;
none is renamed, removed or given another type.
"""

from paraminspect.report.comparison import (
    Comparison as Comparison,
)
from paraminspect.report.comparison import (
    Slope as Slope,
)
from paraminspect.report.comparison import (
    Trial as Trial,
)
from paraminspect.report.envelope import (
    SCHEMA as SCHEMA,
)
from paraminspect.report.envelope import (
    VERSION as VERSION,
)
from paraminspect.report.envelope import (
    Edit as Edit,
)
from paraminspect.report.envelope import (
    Environment as Environment,
)
from paraminspect.report.envelope import (
    Failure as Failure,
)
from paraminspect.report.envelope import (
    Finding as Finding,
)
from paraminspect.report.envelope import (
    Forward as Forward,
)
from paraminspect.report.envelope import (
    ForwardError as ForwardError,
)
from paraminspect.report.envelope import (
    Model as Model,
)
from paraminspect.report.envelope import (
    Report as Report,
)
from paraminspect.report.envelope import (
    Source as Source,
)
from paraminspect.report.envelope import (
    Verdict as Verdict,
)
from paraminspect.report.signal import (
    Course as Course,
)
from paraminspect.report.signal import (
    Layer as Layer,
)
from paraminspect.report.signal import (
    LayerExpected as LayerExpected,
)
from paraminspect.report.signal import (
    LayerGrad as LayerGrad,
)
from paraminspect.report.signal import (
    LayerOut as LayerOut,
)
from paraminspect.report.signal import (
    Signal as Signal,
)
from paraminspect.report.signal import (
    SignalExpected as SignalExpected,
)
from paraminspect.report.signal import (
    SignalHistogram as SignalHistogram,
)
from paraminspect.report.signal import (
    SignalLayer as SignalLayer,
)
from paraminspect.report.signal import (
    SignalMoments as SignalMoments,
)
from paraminspect.report.tensors import (
    Gradient as Gradient,
)
from paraminspect.report.tensors import (
    Init as Init,
)
from paraminspect.report.tensors import (
    Initialisation as Initialisation,
)
from paraminspect.report.tensors import (
    Nested as Nested,
)
from paraminspect.report.tensors import (
    Number as Number,
)
from paraminspect.report.tensors import (
    Parameter as Parameter,
)
from paraminspect.report.tensors import (
    RuleApplied as RuleApplied,
)
from paraminspect.report.tensors import (
    Sharing as Sharing,
)
from paraminspect.report.tensors import (
    TensorInfo as TensorInfo,
)
from paraminspect.report.tensors import (
    Totals as Totals,
)
from paraminspect.report.tensors import (
    Use as Use,
)
from paraminspect.report.tensors import (
    Values as Values,
)
