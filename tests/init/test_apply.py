"""What is said of a parameter that no rule touched, on modules whose constructors torch wrote."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from paraminspect.init.apply import constructed
from tests.cases import each


def claimed(module):
    """Return the parameters of `module` for which a default is claimed, with the std it should have."""
    claims = {}
    for path, owner in module.named_modules():
        for leaf, parameter in owner.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            done = constructed(owner, name, parameter)
            if done is not None:
                assert done.init.scheme == "default"
                claims[name] = done.init.expected_std
    return claims


def pruned(module, name="weight"):
    prune.l1_unstructured(module, name, 0.5)
    return module


def old_weight_norm(module, name="weight"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return nn.utils.weight_norm(module, name)


class Own(nn.Linear):
    pass


LINEAR = 1 / math.sqrt(3 * 4)
CASES = {
    "linear": (lambda: nn.Linear(4, 3), {"weight": LINEAR, "bias": LINEAR}),
    "pruned": (lambda: pruned(nn.Linear(4, 3)), {"bias": LINEAR}),
    "old weight_norm": (lambda: old_weight_norm(nn.Linear(4, 3)), {"bias": LINEAR}),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(4, 3)), {}),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(4, 3)), {}),
    "weight_norm on a recurrent layer": (
        lambda: old_weight_norm(nn.RNN(3, 4), "weight_hh_l0"),
        dict.fromkeys(("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"), LINEAR),
    ),
    "pruned recurrent layer": (
        lambda: pruned(nn.RNN(3, 4), "weight_hh_l0"),
        dict.fromkeys(("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"), LINEAR),
    ),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2),
        {
            "in_proj_weight": math.sqrt(2 / 16),
            "in_proj_bias": 0.0,
            "out_proj.weight": LINEAR,
            "out_proj.bias": 0.0,
        },
    ),
    "complex": (lambda: nn.Linear(4, 3, dtype=torch.complex64), {}),
    "a class of one's own": (lambda: Own(4, 3), {}),
}


@each(("build", "expected"), CASES.values(), ids=CASES)
def test_only_what_the_constructor_drew_is_claimed(build, expected):
    assert claimed(build()) == pytest.approx(expected, rel=1e-12)


def test_the_bounds_and_the_padding_row_are_part_of_it():
    """A row of zeros among N(0, 1): the variance is that much smaller, and so is nothing else."""
    linear, embedding = nn.Linear(4, 3), nn.Embedding(10, 5, padding_idx=2)
    init = constructed(linear, "weight", linear.weight).init
    assert (init.expected_low, init.expected_high) == (-0.5, 0.5)
    init = constructed(embedding, "weight", embedding.weight).init
    assert (init.expected_mean, init.expected_std) == (0.0, pytest.approx(math.sqrt(0.9)))
    assert (init.expected_low, init.expected_high) == (None, None)


class Failing(nn.Module):
    ready = False

    def forward(self, x):
        if self.ready:
            raise RuntimeError("the weight was computed")
        return x


def test_a_parametrised_weight_is_not_computed():
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", Failing())
    layer.parametrizations.weight[0].ready = True
    assert constructed(layer, "bias", layer.bias) is None
