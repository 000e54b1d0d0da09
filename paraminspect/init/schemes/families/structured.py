"""Matrices with a structure: orthogonal, identity, sparse."""

import math

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.expected_moments import ExpectedMoments
from paraminspect.init.schemes.scheme import REQUIRED, Args, Argument, Scheme, Shape


def _eye(shape: Shape, args: Args) -> ExpectedMoments:
    return expected_moments.indicator(min(shape), math.prod(shape))


def _identity(shape: Shape, args: Args) -> ExpectedMoments:
    return expected_moments.scaled(_eye(shape, args), args["gain"])


def _dirac(shape: Shape, args: Args) -> ExpectedMoments:
    ones = args["groups"] * min(shape[0] // args["groups"], shape[1])
    return expected_moments.indicator(ones, math.prod(shape))


def _dirac_misfit(shape: Shape, args: Args) -> str:
    if shape[0] % args["groups"]:
        return f"needs a first dimension that groups={args['groups']} divides"
    return "needs a kernel of at least one element" if 0 in shape[2:] else ""


def orthogonal_moments(shape: Shape, args: Args) -> ExpectedMoments:
    """Return mean 0 and the exact rms: the squares of min(rows, cols) unit vectors over rows · cols elements.

    The elements are uncorrelated, so that their mean varies as that of independent ones; a kurtosis of 1 says that
    the sum of their squares does not vary at all.
    """
    numel, gain = math.prod(shape), abs(args["gain"])
    if numel == 0:
        return expected_moments.UNKNOWN
    rank = min(shape[0], numel // shape[0])
    return ExpectedMoments(0.0, gain * math.sqrt(rank / numel), 1.0, -gain, gain)


def _sparse(shape: Shape, args: Args) -> ExpectedMoments:
    """Mix zeros with N(0, std²): the variance is kept·std², the kurtosis 3/kept, kept being the share drawn."""
    rows = shape[0]
    kept = 1.0 - math.ceil(args["sparsity"] * rows) / rows if rows else 1.0
    if kept == 0.0 or args["std"] == 0.0:
        return expected_moments.constant(0.0)
    return ExpectedMoments(0.0, math.sqrt(kept) * args["std"], 3.0 / kept, None, None)


SCHEMES = (
    Scheme(
        name="dirac",
        family="structured",
        summary="Fill a convolution so that it passes as many input channels through as it can.",
        formula="w[i, i, centre] = 1, elsewhere 0, in each group",
        source="torch.nn.init.dirac_",
        arguments=(Argument("groups", "int", 1, "the groups of the convolution", at_least=1),),
        moments=_dirac,
        min_ndim=3,
        max_ndim=5,
        random=False,
        misfit=_dirac_misfit,
        shape_hint="restrict the rule to convolutions; eye is the identity of a matrix",
    ),
    Scheme(
        name="eye",
        family="structured",
        summary="Fill with the identity matrix, cut or padded with zeros where it is not square.",
        formula="w[i, i] = 1, elsewhere 0",
        source="torch.nn.init.eye_",
        arguments=(),
        moments=_eye,
        min_ndim=2,
        max_ndim=2,
        random=False,
        shape_hint="restrict the rule to matrices; dirac is the identity of a convolution",
    ),
    Scheme(
        name="identity",
        family="structured",
        summary="Fill with a multiple of the identity matrix, cut or padded with zeros where it is not square.",
        formula="w[i, i] = gain, elsewhere 0",
        source="Keras",
        arguments=(Argument("gain", "float", 1.0, "the value on the diagonal"),),
        example="gain=0.5",
        moments=_identity,
        min_ndim=2,
        max_ndim=2,
        random=False,
        recipe="identity_",
        shape_hint="restrict the rule to matrices; dirac is the identity of a convolution",
    ),
    Scheme(
        name="orthogonal",
        family="structured",
        summary="Fill with a random matrix of orthonormal rows or columns, whichever are fewer.",
        formula="W·Wᵀ = gain²·I or Wᵀ·W = gain²·I; rms = |gain| · √(min(rows, cols) / (rows · cols))",
        source="Saxe et al. 2013",
        arguments=(Argument("gain", "float", 1.0, "a factor for every element"),),
        example="gain=1.4",
        moments=orthogonal_moments,
        min_ndim=2,
        fallback="orthogonal_by_copy_",
    ),
    Scheme(
        name="sparse",
        family="structured",
        summary="Draw a matrix from a normal distribution and set a fraction of each column to zero.",
        formula="ceil(sparsity · rows) zeros in each column, else N(0, std²); std = √kept · std",
        source="Martens 2010",
        arguments=(
            Argument("sparsity", "float", REQUIRED, "the fraction of each column set to zero", at_least=0, below=1),
            Argument("std", "float", 0.01, "the standard deviation of the others", at_least=0),
        ),
        example="sparsity=0.5",
        moments=_sparse,
        min_ndim=2,
        max_ndim=2,
        shape_hint="restrict the rule to matrices",
    ),
)
