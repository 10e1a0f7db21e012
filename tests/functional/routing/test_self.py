import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import self_from_votes, self_routing, votes

from . import _loops, _references, _windows
from ._cases import (
    arrays,
    assert_routed,
    each_shape,
    gradients,
    random_inputs,
)


def _logits(poses, weight_route, bias_route):
    return torch.einsum("bid,idj->bij", poses, weight_route) + bias_route


# --- values ---------------------------------------------------------------------------


@each_shape
def test_equals_loop(shape):
    inputs = random_inputs("self", shape)
    routed = self_routing(**inputs)
    inputs = arrays(inputs)
    expected = _loops.each_image(
        _loops.self_routing,
        [_loops.votes(u, inputs["weight"]) for u in inputs["poses"]],
        inputs["poses"],
        inputs["activations"],
        weight_route=inputs["weight_route"],
        bias_route=inputs["bias_route"],
    )
    assert_routed(routed, *expected)


@each_shape
def test_from_votes(shape):
    inputs = random_inputs("self", shape)
    routed = self_routing(**inputs)
    heard = votes(inputs["poses"], inputs["weight"])
    logits = _logits(inputs["poses"], inputs["weight_route"], inputs["bias_route"])
    assert_routed(self_from_votes(heard, inputs["activations"], logits), *routed)
    split = [
        x.unflatten(0, (1, 1, shape[0])) for x in (heard, inputs["activations"], logits)
    ]
    expected = (part.unflatten(0, (1, 1, shape[0])) for part in routed)
    assert_routed(self_from_votes(*split), *expected)


def test_without_bias_it_is_zero():
    inputs = random_inputs("self")
    zero = self_routing(**{**inputs, "bias_route": torch.zeros(6, 2).double()})
    del inputs["bias_route"]
    assert_routed(self_routing(**inputs), *zero)


# --- gradients ------------------------------------------------------------------------


def _plain(poses, weight, activations, weight_route, bias_route):
    heard = torch.einsum("bid,ijde->bije", poses, weight)
    coupling = _logits(poses, weight_route, bias_route).softmax(dim=2)
    weights = activations[:, :, None] * coupling
    amounts = weights.sum(dim=1)
    means = (weights[..., None] * heard).sum(dim=1) / amounts[..., None]
    return means, coupling, amounts / activations.sum(dim=1, keepdim=True)


@each_shape
def test_gradients_equal_those_of_the_plain_form(shape):
    inputs = random_inputs("self", shape)
    expected = gradients(_plain, inputs)
    assert_close(gradients(self_routing, inputs), expected, rtol=1e-9, atol=1e-9)


def test_gradients_of_votes_equal_those_of_the_plain_form():
    inputs = random_inputs("self")

    def route(poses, weight, activations, weight_route, bias_route):
        logits = _logits(poses, weight_route, bias_route)
        return self_from_votes(votes(poses, weight), activations, logits)

    expected = gradients(_plain, inputs)
    assert_close(gradients(route, inputs), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("check", ["gradcheck", "gradgradcheck"])
def test_gradcheck(check):
    inputs = random_inputs("self", (2, 3, 2, 2, 2))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        return tuple(self_routing(**dict(zip(inputs, leaves, strict=True))))

    assert getattr(torch.autograd, check)(function, leaves)


# --- laws -----------------------------------------------------------------------------


def test_zero_weights_are_uniform():
    inputs = random_inputs("self", (2, 5, 4, 3, 2))
    inputs["weight_route"] = torch.zeros(5, 3, 4).double()
    inputs["bias_route"] = torch.zeros(5, 4).double()
    routed = self_routing(**inputs)
    fourths = torch.full((2, 5, 4), 0.25).double()
    assert_close(routed.coupling, fourths, rtol=0, atol=1e-15)
    assert_close(routed.activations, fourths[:, 0], rtol=0, atol=1e-15)


def test_children_that_are_all_absent_count_alike():
    inputs = random_inputs("self")
    inputs["activations"][:] = 0
    routed = self_routing(**inputs)
    inputs["activations"][:] = 0.3
    assert_routed(routed, *self_routing(**inputs))


def test_a_parent_that_all_children_refuse_is_their_mean():
    inputs = random_inputs("self", (1, 3, 2, 2, 4))
    inputs["weight_route"] = torch.zeros(3, 2, 2).double()
    inputs["bias_route"] = torch.tensor([[0.0, -2e3]]).double().expand(3, 2)
    routed = self_routing(**inputs)
    assert not routed.coupling[:, :, 1].any()
    shares = inputs["activations"] / inputs["activations"].sum()
    heard = votes(inputs["poses"], inputs["weight"])
    expected = torch.einsum("bi,bijd->bjd", shares, heard)
    assert_close(routed.poses, expected, rtol=0, atol=1e-12)


# --- what the authors' code computes --------------------------------------------------

INPUTS = ("poses", "activations", "W1", "W2", "b2")


def _route_stored(values, poses, activations):
    weight, weight_route, bias_route = (
        values[key].flatten(0, -n) for key, n in (("W1", 4), ("W2", 3), ("b2", 2))
    )
    return self_routing(
        poses,
        weight.mT,
        activations=activations,
        weight_route=weight_route.mT,
        bias_route=bias_route,
    )


@pytest.mark.parametrize("case", ["fc_a", "fc_b"])
def test_reference(references, case):
    values = references("self_routing_fc", case)
    inputs = _references.leaves(values, *INPUTS)
    routed = _route_stored(values, values["poses"], values["activations"])
    found = {"poses": routed.poses, "activations": routed.activations}
    _references.compare(values, "out_", **found, couplings=routed.coupling)
    _references.compare_gradients(values, "", inputs, **found)


@pytest.mark.parametrize("case", ["conv_s1", "conv_s2", "conv_s2_pad1"])
def test_reference_of_a_convolution(references, case):
    values = references(f"self_routing_{case}", case)
    inputs = _references.leaves(values, *INPUTS)
    sizes = _references.sizes(values)
    windows = _windows.unfold(values["poses"], *sizes)
    active = _windows.unfold(values["activations"], *sizes)
    # Each position is an image of its own.
    routed = _route_stored(values, windows.flatten(0, 2), active.flatten(0, 2))
    poses, coupling, activations = (
        part.unflatten(0, windows.shape[:3]) for part in routed
    )
    found = {
        "poses": _references.as_stored(values, poses),
        "activations": activations.movedim(-1, 1),
    }
    _references.compare(values, "out_", **found, couplings=coupling)
    _references.compare_gradients(values, "", inputs, **found)


# --- errors ---------------------------------------------------------------------------


def test_logits_that_do_not_fit():
    message = r"^logits must have shape \(2, 3, 4\), got \(2, 3, 1\)\."
    with pytest.raises(ValueError, match=message):
        self_from_votes(torch.ones(2, 3, 4, 5), torch.ones(2, 3), torch.ones(2, 3, 1))
