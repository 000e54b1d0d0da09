"""What an inspection found, as frozen plain values: the only thing that passes from analysis to output.

The field names and their order are the JSON report, version 1. Within a version fields may be added;
none is renamed, removed or given another type.
"""

from paraminspect.report.checkpoint_contents import (
    Checkpoint as Checkpoint,
    CheckpointFiles as CheckpointFiles,
    Chunk as Chunk,
    Fault as Fault,
    OptimizerContents as OptimizerContents,
    OptimizerGroups as OptimizerGroups,
    Part as Part,
    Portion as Portion,
    Shape as Shape,
    StateOfParameter as StateOfParameter,
    StoredRecord as StoredRecord,
    TensorHeader as TensorHeader,
    TensorRows as TensorRows,
    TrainingPart as TrainingPart,
)
from paraminspect.report.comparison import Comparison as Comparison, Slope as Slope, Trial as Trial
from paraminspect.report.difference import (
    AdapterTarget as AdapterTarget,
    Difference as Difference,
    MetadataChange as MetadataChange,
    OptimizerChange as OptimizerChange,
    Renaming as Renaming,
    SideOfDiff as SideOfDiff,
    StateDictFit as StateDictFit,
    TensorChange as TensorChange,
    TieChange as TieChange,
    ValueChange as ValueChange,
)
from paraminspect.report.envelope import (
    NO_INPUT_HELPS as NO_INPUT_HELPS,
    SCHEMA as SCHEMA,
    SCHEMA_OF_SEVERAL as SCHEMA_OF_SEVERAL,
    VERSION as VERSION,
    Attempt as Attempt,
    Edit as Edit,
    Environment as Environment,
    Failure as Failure,
    Finding as Finding,
    Forward as Forward,
    ForwardError as ForwardError,
    Headline as Headline,
    Model as Model,
    Report as Report,
    Source as Source,
    Verdict as Verdict,
)
from paraminspect.report.layer_signal import (
    Course as Course,
    Layer as Layer,
    LayerExpected as LayerExpected,
    LayerGrad as LayerGrad,
    LayerOut as LayerOut,
    Signal as Signal,
    SignalExpected as SignalExpected,
    SignalHistogram as SignalHistogram,
    SignalLayer as SignalLayer,
    SignalMoments as SignalMoments,
)
from paraminspect.report.layer_tree import (
    LayerTensor as LayerTensor,
    OwnedElsewhere as OwnedElsewhere,
    TreeLayer as TreeLayer,
    Uncounted as Uncounted,
)
from paraminspect.report.step_memory import Fits as Fits, MemoryPeak as MemoryPeak, StepMemory as StepMemory
from paraminspect.report.tensors import (
    BEHIND_ZERO as BEHIND_ZERO,
    NOT_ATTRIBUTED as NOT_ATTRIBUTED,
    RETURNED_ASIDE as RETURNED_ASIDE,
    UNDER_NO_GRAD as UNDER_NO_GRAD,
    Cause as Cause,
    Gradient as Gradient,
    Init as Init,
    Initialisation as Initialisation,
    Nested as Nested,
    Number as Number,
    Parameter as Parameter,
    ParameterPart as ParameterPart,
    RuleApplied as RuleApplied,
    Sharing as Sharing,
    TensorInfo as TensorInfo,
    Totals as Totals,
    Use as Use,
    Values as Values,
)
