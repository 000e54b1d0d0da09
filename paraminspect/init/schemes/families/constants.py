"""Every element the same value."""

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.scheme import REQUIRED, Argument, Scheme

SCHEMES = (
    Scheme(
        name="constant",
        family="constants",
        summary="Fill with one value.",
        formula="w = val",
        source="torch.nn.init.constant_",
        arguments=(Argument("val", "float", REQUIRED, "the value to fill with"),),
        example="val=0.5",
        moments=lambda shape, args: expected_moments.constant(args["val"]),
        random=False,
    ),
    Scheme(
        name="ones",
        family="constants",
        summary="Fill with ones.",
        formula="w = 1",
        source="torch.nn.init.ones_",
        arguments=(),
        moments=lambda shape, args: expected_moments.constant(1.0),
        random=False,
    ),
    Scheme(
        name="zeros",
        family="constants",
        summary="Fill with zeros.",
        formula="w = 0",
        source="torch.nn.init.zeros_",
        arguments=(),
        moments=lambda shape, args: expected_moments.constant(0.0),
        random=False,
    ),
)
