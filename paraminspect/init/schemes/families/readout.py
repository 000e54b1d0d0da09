"""The last layer of a network that is to be made wider: maximal update parametrisation (µP)."""

import math

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.fans import fan_in_and_fan_out
from paraminspect.init.schemes.scheme import Args, Argument, Moments, Scheme, Shape


def _moments(shape: Shape, args: Args) -> Moments:
    return expected_moments.normal(0.0, args["gain"] * math.sqrt(args["base_width"]) / fan_in_and_fan_out(shape)[0])


SCHEMES = (
    Scheme(
        name="mup_readout",
        family="readout",
        summary="Draw the last layer from a normal distribution whose variance falls with the square of the width.",
        formula="std = gain · √base_width / fan_in; at fan_in = base_width LeCun's gain / √fan_in",
        source="Yang, Hu et al. 2021, Tensor Programs V, table 3",
        arguments=(
            Argument("gain", "float", 1.0, "a factor for every element", at_least=0),
            Argument("base_width", "float", 1.0, "the fan_in at which nothing is changed", above=0),
        ),
        example="base_width=64",
        notes=(
            "This is initialisation's part of µP. The other layers keep variance 1 / fan_in, and the learning rates "
            "follow the width. The paper itself advises a readout of zeros: --rule 'LAST.weight=zeros', LAST being the "
            "last layer.",
        ),
        moments=_moments,
        min_ndim=2,
        uses_fans=True,
        recipe="mup_readout_",
        shape_hint="restrict the rule to the last layer's weight, e.g. params: '2.weight'",
    ),
)
