"""Mean-field theory of signal propagation: what a network of wide random layers does to a signal, before it is trained.

Pure numpy; nothing here knows of torch. An activation is a name of torch's with its own parameters, ``"leaky_relu",
negative_slope=0.1``, or any function of numpy arrays (see `activation`). σw²/fan_in is the variance of the weights, σb²
that of the biases, q the second moment of pre-activations, φ the activation.

- gains: `gain`, `torch_gain`
- through depth: `propagate`, `cosines`, `gradient_factors`
- in the limit of depth: `fixed_point`, `critical`, `regime`, `depth_scale`
- finite width and batch: `fluctuation`, `tolerance`, `dead_share`
- Gaussian moments: `mean`, `second_moment`, `slope_moment`, `pair_moment`, `slope_pair_moment`, `saturated_share`, …

He et al. 2015 (arXiv:1502.01852); Poole et al. 2016 (1606.05340); Schoenholz et al. 2017 (1611.01232); Hanin 2018
(1801.03744); Hanin & Rolnick 2018 (1803.01719); Roberts, Yaida & Hanin 2022 (2106.10165).
"""

from paraminspect.theory.activations import NAMES as NAMES, activation as activation, known as known
from paraminspect.theory.checks import TheoryError as TheoryError
from paraminspect.theory.criticality import (
    Critical as Critical,
    critical as critical,
    gain as gain,
    torch_gain as torch_gain,
)
from paraminspect.theory.dynamics import (
    cosines as cosines,
    dead_share as dead_share,
    fluctuation as fluctuation,
    gradient_factors as gradient_factors,
    propagate as propagate,
    tolerance as tolerance,
)
from paraminspect.theory.fixed_points import (
    FixedPoint as FixedPoint,
    depth_scale as depth_scale,
    fixed_point as fixed_point,
    regime as regime,
)
from paraminspect.theory.form import Activation as Activation
from paraminspect.theory.gaussian_moments import (
    expectation as expectation,
    mean as mean,
    pair_moment as pair_moment,
    response as response,
    saturated_share as saturated_share,
    second_moment as second_moment,
    slope_moment as slope_moment,
    slope_pair_moment as slope_pair_moment,
)
