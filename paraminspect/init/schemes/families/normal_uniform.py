"""A fixed distribution, whatever the shape of the tensor."""

from paraminspect.init.schemes import expected_moments
from paraminspect.init.schemes.scheme import Args, Argument, Scheme


def _uniform_conflict(args: Args) -> str:
    return "a, the lower bound, is above b, the upper" if args["a"] > args["b"] else ""


def _truncation_conflict(args: Args) -> str:
    if args["a"] > args["b"]:
        return "a, the lower bound, is above b, the upper"
    below, above = args["a"] - args["mean"], args["mean"] - args["b"]
    if max(below, above) > 2.0 * args["std"]:
        return "mean is more than 2 std outside [a, b], where torch's sampler is not reliable"
    if max(below, above) > 0.5 * args["std"] and args["b"] - args["a"] > 100.0 * args["std"]:
        # torch then draws uniformly from [a, b] until each draw lands under the density: minutes, or for ever
        return "the far bound is more than 100 std away, and torch would reject nearly every draw; 10 are plenty"
    return ""


_FAR = 6.0  # std: two elements in a thousand million lie further out


def _nothing_cut(args: Args) -> str:
    """Say that bounds are so far out that they cut nothing: torch's own -2 and 2 with a std of 0.02."""
    mean, std = args["mean"], args["std"]
    near = min(mean - args["a"], args["b"] - mean) / std
    if near < _FAR:
        return ""
    low, high = (f"{mean + side * 2.0 * std:.6g}" for side in (-1, 1))
    bounds = f"the bounds {args['a']:g} and {args['b']:g} lie {near:.4g} std away or more"
    return f"{bounds}: nothing is cut, it is a plain normal; a={low},b={high} cut at 2 std"


SCHEMES = (
    Scheme(
        name="normal",
        family="normal and uniform",
        summary="Draw from a normal distribution.",
        formula="w ~ N(mean, std²)",
        source="torch.nn.init.normal_",
        arguments=(
            Argument("mean", "float", 0.0, "the mean"),
            Argument("std", "float", 1.0, "the standard deviation", at_least=0),
        ),
        example="std=0.01",
        moments=lambda shape, args: expected_moments.normal(args["mean"], args["std"]),
    ),
    Scheme(
        name="uniform",
        family="normal and uniform",
        summary="Draw from a uniform distribution.",
        formula="w ~ U(a, b); std = (b − a) / √12",
        source="torch.nn.init.uniform_",
        arguments=(
            Argument("a", "float", 0.0, "the lower bound"),
            Argument("b", "float", 1.0, "the upper bound, never drawn"),
        ),
        example="a=-0.1,b=0.1",
        moments=lambda shape, args: expected_moments.uniform(args["a"], args["b"]),
        conflict=_uniform_conflict,
    ),
    Scheme(
        name="trunc_normal",
        family="normal and uniform",
        summary="Draw from a normal distribution, redrawing what falls outside two absolute bounds.",
        formula="w ~ N(mean, std²) restricted to a ≤ w ≤ b",
        source="torch.nn.init.trunc_normal_",
        arguments=(
            Argument("mean", "float", 0.0, "the mean before the cut"),
            Argument("std", "float", 1.0, "the standard deviation before the cut", above=0),
            Argument("a", "float", -2.0, "the lower bound itself, not in units of std"),
            Argument("b", "float", 2.0, "the upper bound itself, not in units of std"),
        ),
        example="std=0.02,a=-0.04,b=0.04",
        notes=(
            "The bounds are not in units of std: with std=0.02 the default ones lie 100 std away, and cut nothing. "
            "truncated_normal cuts at two std, whatever the std.",
        ),
        remark=_nothing_cut,
        moments=lambda shape, args: expected_moments.truncated_normal(**args),
        conflict=_truncation_conflict,
    ),
    Scheme(
        name="truncated_normal",
        family="normal and uniform",
        summary="Draw from a normal distribution cut at two standard deviations, not widened to make up for it.",
        formula="w ~ N(mean, std²) restricted to mean ± 2·std; its std is 0.8796 · std",
        source="Keras, JAX",
        arguments=(
            Argument("mean", "float", 0.0, "the mean"),
            Argument("std", "float", 1.0, "the standard deviation before the cut", at_least=0),
        ),
        example="std=0.02",
        notes=("variance_scaling:distribution=truncated_normal makes up for the cut; trunc_normal cuts anywhere.",),
        moments=lambda shape, args: expected_moments.cut_normal(args["mean"], args["std"]),
        recipe="truncated_normal_",
    ),
)
