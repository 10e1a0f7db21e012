import math

import pytest
import torch
from torch import nn

from skcaps.nn import (
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    truncated_normal_,
)
from skcaps.nn._initialization import fill_bias_

# Deviation of a unit normal that is cut at two deviations.
CUT = 0.8796256610342398
N = 200_000
CASES = [
    # fill, deviation after the cut, largest value
    (lambda x: truncated_normal_(x, 0.1), 0.1 * CUT, 0.2),
    (lambda x: truncated_normal_(x, 3.0), 3.0 * CUT, 6.0),
    (lambda x: he_normal_(x, 1280), math.sqrt(2 / 1280), 2 * math.sqrt(2 / 1280) / CUT),
    (lambda x: glorot_normal_(x, 30, 20), 0.2, 0.4 / CUT),
    (lambda x: glorot_uniform_(x, 81, 81 * 128), 0.02396 / math.sqrt(3), 0.02396),
]


@pytest.mark.parametrize(("fill", "std", "bound"), CASES)
def test_distribution(fill, std, bound):
    torch.manual_seed(0)
    values = fill(torch.empty(N))
    assert values.mean().item() == pytest.approx(0, abs=5 * std / math.sqrt(N))
    assert values.std().item() == pytest.approx(std, rel=0.01)
    assert values.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert values.abs().max() <= bound * 1.0002


@pytest.mark.parametrize("fill", [case[0] for case in CASES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fills_and_returns_the_same_tensor(fill, dtype):
    tensor = nn.Parameter(torch.zeros(4, 5, dtype=dtype))
    assert fill(tensor) is tensor
    assert tensor.requires_grad
    assert tensor.dtype == dtype
    assert (tensor != 0).all()


@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(2, 5, 3)])
def test_fill_bias(layer):
    weight = layer.weight.clone()
    fill_bias_(layer, 0.25)
    assert (layer.bias == 0.25).all()
    assert torch.equal(layer.weight, weight)
