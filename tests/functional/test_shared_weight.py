"""A weight of one child is that of all children."""

import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import matrix_votes, votes

from . import _routing_cases
from .routing import _cases

CASES = [(_routing_cases, *case) for case in _routing_cases.CASES] + [
    (_cases, *case) for case in _cases.CASES
]
each_case = pytest.mark.parametrize(
    ("cases", "name", "options"),
    CASES,
    ids=["-".join(map(str, (name, *options.items()))) for _, name, options in CASES],
)


def _inputs(cases, name):
    shape = (3, 6, 4, 2, 5)
    if cases is _cases:
        return cases.random_inputs(name, shape)
    return cases.random_inputs(shape)


@each_case
def test_equals_a_repeated_weight(cases, name, options):
    inputs = _inputs(cases, name)
    shared = inputs["weight"][:1].requires_grad_()
    poses = inputs["poses"].requires_grad_()
    generator = torch.Generator().manual_seed(0)
    probes, found = None, []
    for weight in (shared, shared.expand(6, -1, -1, -1)):
        routed = cases.route(name, **{**inputs, "weight": weight}, **options)
        probes = probes or [torch.randn(x.shape, generator=generator) for x in routed]
        total = sum((x * y).sum() for x, y in zip(routed, probes, strict=True))
        found.append((*routed, *torch.autograd.grad(total, (poses, shared))))
    assert_close(*found, rtol=1e-12, atol=1e-12)


def test_stopped_gradients_equal_those_of_a_repeated_weight():
    inputs = _inputs(_routing_cases, "dynamic")
    shared = inputs["weight"][:1].requires_grad_()
    grads = []
    for weight in (shared, shared.expand(6, -1, -1, -1)):
        routed = _routing_cases.route(
            "dynamic", **{**inputs, "weight": weight}, stop_gradient=True
        )
        assert not routed.coupling.requires_grad
        grads.append(torch.autograd.grad(routed.poses.square().sum(), shared))
    assert_close(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("function", "dim"), [(votes, 4), (matrix_votes, 2)])
def test_votes_equal_those_of_a_repeated_weight(function, dim):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(3, 6, 4, generator=generator).double()
    weight = torch.randn(1, 5, dim, 2, generator=generator).double()
    expected = function(poses, weight.expand(6, -1, -1, -1))
    assert_close(function(poses, weight), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 6, 3), (6, 2)])
@pytest.mark.parametrize("function", [votes, matrix_votes])
def test_poses_that_do_not_fit(function, shape):
    with pytest.raises(ValueError, match=r"^poses must have shape \(batch, caps_in, "):
        function(torch.ones(shape), torch.ones(1, 4, 2, 5))
