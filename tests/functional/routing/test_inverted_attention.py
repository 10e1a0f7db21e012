import math

import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    inverted_attention_from_votes,
    inverted_attention_routing,
    matrix_votes,
    votes,
)

from . import _loops, _references, _windows
from ._cases import (
    arrays,
    assert_routed,
    each_shape,
    gradients,
    random_inputs,
)

each_number = pytest.mark.parametrize("iterations", [1, 2, 3, 5])


def _from_votes(poses, weight, **others):
    return inverted_attention_from_votes(votes(poses, weight), **others)


each_form = pytest.mark.parametrize(
    "route", [inverted_attention_routing, _from_votes], ids=["poses", "votes"]
)


# --- values ---------------------------------------------------------------------------


@each_form
@each_shape
@each_number
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_equals_loop(route, shape, iterations, eps):
    inputs = random_inputs("inverted_attention", shape)
    routed = route(**inputs, iterations=iterations, norm_eps=eps)
    inputs = arrays(inputs)
    poses, weight = inputs.pop("poses"), inputs.pop("weight")
    expected = _loops.each_image(
        _loops.inverted_attention,
        [_loops.votes(u, weight) for u in poses],
        **inputs,
        iterations=iterations,
        norm_eps=eps,
    )
    assert_routed(routed, *expected)


@each_form
def test_default_number_of_iterations_is_two(route):
    inputs = random_inputs("inverted_attention")
    assert_routed(route(**inputs), *route(**inputs, iterations=2), tolerance=0)


@each_form
def test_default_parameters(route):
    inputs = random_inputs("inverted_attention")
    poses, weight = inputs["poses"], inputs["weight"]
    ones, zeros = torch.ones(5).double(), torch.zeros(5).double()
    scored = route(poses, weight, norm_weight=ones, norm_bias=zeros, score_weight=ones)
    assert_close(scored.activations, torch.full((3, 2), 0.5).double())
    found = route(poses, weight)
    assert_routed(found, scored.poses, scored.coupling, torch.ones(3, 2).double())


def test_other_axes_may_come_before():
    inputs = random_inputs("inverted_attention", (6, 4, 3, 2, 5))
    heard = votes(inputs.pop("poses"), inputs.pop("weight"))
    routed = inverted_attention_from_votes(heard, **inputs)
    found = inverted_attention_from_votes(heard.unflatten(0, (1, 2, 3)), **inputs)
    assert_routed(found, *(part.unflatten(0, (1, 2, 3)) for part in routed))


# --- gradients ------------------------------------------------------------------------


def _plain(
    poses, weight, norm_weight, norm_bias, score_weight, score_bias, iterations=2
):
    heard = torch.einsum("bid,ijde->bije", poses, weight)
    coupling = torch.full_like(heard[..., 0], 1 / heard.shape[2])
    for step in range(iterations):
        sums = (coupling[..., None] * heard).sum(dim=1)
        centred = sums - sums.mean(dim=2, keepdim=True)
        variance = centred.square().mean(dim=2, keepdim=True)
        parents = norm_weight * centred / (variance + 1e-5).sqrt() + norm_bias
        if step < iterations - 1:
            logits = (heard * parents[:, None]).sum(dim=3)
            coupling = (logits / math.sqrt(heard.shape[3])).softmax(dim=2)
    return parents, coupling, (parents @ score_weight + score_bias).sigmoid()


@each_form
@each_shape
@each_number
def test_gradients_equal_those_of_the_plain_form(route, shape, iterations):
    inputs = random_inputs("inverted_attention", shape)
    found = gradients(lambda **x: route(**x, iterations=iterations), inputs)
    expected = gradients(lambda **x: _plain(**x, iterations=iterations), inputs)
    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@each_form
@each_number
def test_gradcheck(route, iterations):
    inputs = random_inputs("inverted_attention", (2, 3, 2, 2, 3))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        routed = route(**named, iterations=iterations)
        return tuple(part for part in routed if part.requires_grad)

    assert torch.autograd.gradcheck(function, leaves)


@each_form
def test_second_derivative(route):
    inputs = random_inputs("inverted_attention", (1, 3, 2, 2, 3))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        return tuple(route(**dict(zip(inputs, leaves, strict=True))))

    assert torch.autograd.gradgradcheck(function, leaves)


# --- laws -----------------------------------------------------------------------------


@each_form
@each_number
def test_poses_have_mean_zero_and_variance_one(route, iterations):
    inputs = random_inputs("inverted_attention", (4, 6, 3, 4, 5))
    poses = route(
        inputs["poses"], inputs["weight"], iterations=iterations, norm_eps=0.0
    ).poses
    zeros, ones = torch.zeros(4, 3).double(), torch.ones(4, 3).double()
    assert_close(poses.mean(dim=2), zeros, rtol=0, atol=1e-12)
    assert_close(poses.var(dim=2, correction=0), ones, rtol=0, atol=1e-12)


@each_form
def test_odds_of_the_activations_are_a_softmax_over_the_parents(route):
    inputs = random_inputs("inverted_attention", (4, 6, 3, 4, 5))
    routed = route(**inputs)
    odds = routed.activations / (1 - routed.activations)
    expected = (routed.poses @ inputs["score_weight"]).softmax(dim=1)
    assert_close(odds / odds.sum(dim=1, keepdim=True), expected, rtol=0, atol=1e-12)


def test_iterations_raise_the_coupling_of_the_agreeing_parent():
    heard = torch.zeros(1, 4, 2, 3)
    heard[0, :, 0] = torch.tensor([1.0, 0.0, -1.0])
    heard[0, :, 1] = torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]).repeat(2, 1)
    shares = [
        inverted_attention_from_votes(heard, iterations=n).coupling[0, :, 0]
        for n in (1, 2)
    ]
    assert (shares[1] > shares[0]).all()


def test_votes_are_never_built(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr(torch, "einsum", refuse)
    inputs = random_inputs("inverted_attention")
    assert inverted_attention_routing(**inputs).poses.isfinite().all()


# --- what the authors' code computes --------------------------------------------------


def _parameters(values, number=""):
    return {
        "norm_weight": values[f"ln{number}_weight"],
        "norm_bias": values[f"ln{number}_bias"],
    }


def _compare(values, inputs, prefix, poses, coupling):
    # Difference 2, couplings divided by their sum + 1e-10, is within the tolerance.
    found = {"poses": _references.as_stored(values, poses)}
    _references.compare(values, prefix, **found, couplings=coupling)
    _references.compare_gradients(values, prefix, inputs, **found)


@pytest.mark.parametrize("case", ["fc_matrix", "fc_vector"])
@pytest.mark.parametrize("updates", [0, 1, 2, 3])
def test_reference(references, case, updates):
    values = references("inverted_attention_fc", case)
    inputs = _references.leaves(values, "poses", "W", "ln_weight", "ln_bias")
    options = {**_parameters(values), "iterations": updates + 1}
    if case == "fc_vector":
        weight = values["W"].mT
        routed = inverted_attention_routing(values["poses"], weight, **options)
    else:
        heard = matrix_votes(values["poses"].flatten(2), values["W"])
        routed = inverted_attention_from_votes(heard, **options)
    _compare(values, inputs, f"u{updates}/", routed.poses, routed.coupling)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_reference_of_two_layers(references, iterations):
    values = references("inverted_attention_fc", "chain")
    poses = values["poses"]
    for number, name in ((1, "hidden"), (2, "poses")):
        poses = inverted_attention_routing(
            poses,
            values[f"W{number}"].mT,
            **_parameters(values, number),
            iterations=iterations,
        ).poses
        expected = values[f"r{iterations}/sequential_{name}"]
        assert_close(poses, expected, rtol=0, atol=1e-6)


def mixed(windows):
    """Difference 1 of the released convolution: positions last, read as if not."""
    n, rows, columns, caps, dim = windows.shape
    positions_last = windows.permute(0, 3, 4, 1, 2)
    return positions_last.reshape(n, caps, rows, columns, dim).permute(0, 2, 3, 1, 4)


@pytest.mark.parametrize("case", ["conv_s1_matrix", "conv_s2_vector"])
@pytest.mark.parametrize("updates", [0, 1, 2])
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_reference_of_a_convolution(references, case, updates, variant):
    values = references(f"inverted_attention_{case}", case)
    inputs = _references.leaves(values, "poses", "W", "ln_weight", "ln_bias")
    windows = _windows.unfold(values["poses"], *_references.sizes(values)).flatten(4)
    if variant == "code":
        windows = mixed(windows)
    options = {**_parameters(values), "iterations": updates + 1}
    children, weight = windows.flatten(0, 2), values["W"].flatten(0, 2)
    # Difference 4, a softmax over the parents of one position, is the paper's too.
    if case == "conv_s2_vector":
        routed = inverted_attention_routing(children, weight.mT, **options)
    else:
        heard = matrix_votes(children, weight)
        routed = inverted_attention_from_votes(heard, **options)
    poses, coupling, _ = (part.unflatten(0, windows.shape[:3]) for part in routed)
    _compare(values, inputs, f"u{updates}/{variant}_", poses, coupling)


# --- errors ---------------------------------------------------------------------------


def test_score_bias_alone():
    with pytest.raises(ValueError, match=r"^score_bias needs a score_weight, got None"):
        inverted_attention_from_votes(
            torch.ones(2, 3, 4, 5), score_bias=torch.zeros(())
        )
