"""What looks at the input: weights scaled by what their layers make of a batch."""

from paraminspect.init.schemes.families.structured import orthogonal_moments
from paraminspect.init.schemes.scheme import Argument, Scheme

SCHEMES = (
    Scheme(
        name="lsuv",
        family="data dependent",
        summary="Fill with an orthogonal matrix, then scale it until its layer gives unit variance on the input.",
        formula="W orthogonal, then divided by the std of its layer's output until |variance − 1| < tol",
        source="Mishkin & Matas 2015, algorithm 1",
        arguments=(
            Argument("tol", "float", 0.1, "how far from 1 the variance of a layer's output may be", above=0),
            Argument(
                "max_steps",
                "int",
                10,
                "how often a weight is divided at most (without a bias once will do)",
                at_least=1,
            ),
        ),
        example="tol=0.01",
        notes=(
            "The layers are scaled in the order in which one forward on the input calls them. The moments that are "
            "expected of a weight are those of the orthogonal matrix, times what it was scaled by.",
        ),
        moments=lambda shape, args: orthogonal_moments(shape, {"gain": 1.0}),
        min_ndim=2,
        function="orthogonal",
        fallback="orthogonal_by_copy_",
        solve=lambda args: {},
        needs_batch=True,
    ),
)
