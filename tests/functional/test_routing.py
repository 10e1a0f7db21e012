import math

import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    SQUASHES,
    dynamic_routing,
    squash,
    squash_exp,
    votes,
)

from . import _reference
from ._routing_cases import (
    CASES,
    assert_equal,
    each_case,
    each_shape,
    each_squash,
    random_inputs,
    route,
)

REFERENCE_SQUASHES = {"squash": _reference.squash, "squash_exp": _reference.squash_exp}


# --- values ---------------------------------------------------------------------------


@each_case
@each_shape
@each_squash
@pytest.mark.parametrize("extras", [False, True], ids=["bare", "prior-bias"])
def test_equals_reference(name, options, shape, squashing, extras):
    inputs = random_inputs(shape, prior=extras or name == "learned", bias=extras)
    routed = route(name, **inputs, squash=SQUASHES[squashing], **options)
    arrays = {key: None if x is None else x.numpy() for key, x in inputs.items()}
    poses, coupling = _reference.route(
        name, **arrays, squash=REFERENCE_SQUASHES[squashing], **options
    )
    assert_equal(routed, torch.from_numpy(poses), torch.from_numpy(coupling))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dynamic", squash),
        ("uniform", squash),
        ("learned", squash),
        ("self_attention", squash_exp),
    ],
)
def test_default_squash(name, expected):
    inputs = random_inputs()
    routed, same = route(name, **inputs), route(name, **inputs, squash=expected)
    assert_equal(routed, same.poses, same.coupling, tolerance=0)


def test_default_number_of_iterations_is_three():
    inputs = random_inputs()
    routed = route("dynamic", **inputs)
    same = route("dynamic", **inputs, iterations=3)
    assert_equal(routed, same.poses, same.coupling, tolerance=0)


# --- gradients ------------------------------------------------------------------------


def _plain_sum(votes, coupling, bias):
    total = torch.einsum("bij,bije->bje", coupling, votes)
    return total if bias is None else total + bias


def _plain_dynamic(inputs, squash, iterations=3, leaky=False, stop_gradient=False):
    """Dynamic routing on the full votes, in the form of the public ports."""
    votes_, bias = votes(inputs["poses"], inputs["weight"]), inputs["bias"]
    inner = votes_.detach() if stop_gradient else votes_
    inner_bias = bias.detach() if stop_gradient else bias
    logits = torch.zeros(votes_.shape[:3], dtype=votes_.dtype)

    def couple():
        powers = logits.exp()
        return powers / (powers.sum(dim=2, keepdim=True) + leaky)

    for _ in range(iterations - 1):
        parents = squash(_plain_sum(inner, couple(), inner_bias))
        logits = logits + torch.einsum("bije,bje->bij", inner, parents)
    return squash(_plain_sum(votes_, couple(), bias))


def _plain_self_attention(inputs, squash):
    votes_ = votes(inputs["poses"], inputs["weight"])
    gram = torch.einsum("bije,bkje->bijk", votes_, votes_)
    attention = gram.sum(dim=3) / math.sqrt(votes_.shape[3])
    coupling = attention.softmax(dim=2) + inputs["prior"]
    return squash(_plain_sum(votes_, coupling, inputs["bias"]))


def _plain_uniform(inputs, squash):
    votes_ = votes(inputs["poses"], inputs["weight"])
    return squash(votes_.sum(dim=1) / votes_.shape[2] + inputs["bias"])


def _plain_learned(inputs, squash):
    votes_ = votes(inputs["poses"], inputs["weight"])
    coupling = inputs["prior"].softmax(dim=1).expand(votes_.shape[:3])
    return squash(_plain_sum(votes_, coupling, inputs["bias"]))


PLAIN = {
    "dynamic": _plain_dynamic,
    "self_attention": _plain_self_attention,
    "uniform": _plain_uniform,
    "learned": _plain_learned,
}


def _gradients(function, inputs):
    leaves = {key: x.clone().requires_grad_() for key, x in inputs.items()}
    poses = function(leaves)
    probe = torch.linspace(-1, 2, poses.numel(), dtype=poses.dtype)
    (poses * probe.view_as(poses)).sum().backward()
    return {
        key: torch.zeros_like(x) if x.grad is None else x.grad
        for key, x in leaves.items()
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *CASES,
        ("dynamic", {"iterations": 1, "stop_gradient": True}),
        ("dynamic", {"iterations": 3, "stop_gradient": True}),
        ("dynamic", {"iterations": 3, "leaky": True, "stop_gradient": True}),
    ],
    ids=str,
)
@each_squash
def test_gradients_equal_those_of_the_plain_form(name, options, squashing):
    inputs, squashing = random_inputs(), SQUASHES[squashing]
    gradients = _gradients(
        lambda leaves: route(name, **leaves, squash=squashing, **options).poses, inputs
    )
    expected = _gradients(
        lambda leaves: PLAIN[name](leaves, squashing, **options), inputs
    )
    assert_close(gradients, expected, rtol=0, atol=1e-12)


@each_case
@each_squash
def test_gradcheck(name, options, squashing):
    inputs = random_inputs((2, 3, 2, 2, 2))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        return route(name, **named, squash=SQUASHES[squashing], **options)

    assert torch.autograd.gradcheck(function, leaves)


@each_case
@pytest.mark.parametrize("frozen", [None, "poses", "weight"])
def test_second_derivative(name, options, frozen):
    inputs = random_inputs((2, 3, 2, 2, 2))
    leaves = [x.requires_grad_(key != frozen) for key, x in inputs.items()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        return tuple(
            part for part in route(name, **named, **options) if part.requires_grad
        )

    assert torch.autograd.gradgradcheck(function, leaves)


def test_gradient_of_a_gradient_keeps_the_first():
    inputs = random_inputs(prior=False)
    leaves = [x.requires_grad_() for x in inputs.values() if x is not None]
    for stop_gradient in (True, False):
        poses = route("dynamic", **inputs, stop_gradient=stop_gradient).poses
        plain = torch.autograd.grad(poses.sum(), leaves, retain_graph=True)
        again = torch.autograd.grad(poses.sum(), leaves, create_graph=True)
        for found, expected in zip(again, plain, strict=True):
            assert_close(found, expected)
            assert found.requires_grad


def test_stop_gradient_keeps_the_values():
    inputs = random_inputs()
    stopped = dynamic_routing(
        inputs["poses"].requires_grad_(),
        inputs["weight"],
        bias=inputs["bias"],
        stop_gradient=True,
    )
    flowing = dynamic_routing(inputs["poses"], inputs["weight"], bias=inputs["bias"])
    assert_equal(stopped, flowing.poses, flowing.coupling, tolerance=0)
    assert not stopped.coupling.requires_grad
    assert flowing.coupling.requires_grad


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_without_bias(stop_gradient):
    inputs = random_inputs(bias=False)
    poses = inputs["poses"].requires_grad_()
    dynamic_routing(
        poses, inputs["weight"], stop_gradient=stop_gradient
    ).poses.sum().backward()
    assert poses.grad.abs().sum() > 0


# --- dtypes, layouts and extremes -----------------------------------------------------


@each_case
def test_float32_agrees_with_float64(name, options):
    inputs = random_inputs((4, 32, 10, 8, 16))
    inputs["weight"] = inputs["weight"] * 0.1
    exact = route(name, **inputs, **options)
    single = {key: x.float() for key, x in inputs.items()}
    routed = route(name, **single, **options)
    assert routed.poses.dtype == routed.coupling.dtype == torch.float32
    assert_close(routed.poses.double(), exact.poses, rtol=0, atol=1e-5)
    assert_close(routed.coupling.double(), exact.coupling, rtol=0, atol=1e-5)


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_keep_their_dtype(name, options, dtype):
    inputs = {key: 0.3 * x for key, x in random_inputs().items()}
    exact = route(name, **inputs, **options)
    half = {key: x.to(dtype) for key, x in inputs.items()}
    routed = route(name, **half, **options)
    assert routed.poses.dtype == routed.coupling.dtype == dtype
    tolerance = 8 * torch.finfo(dtype).eps
    assert_close(routed.poses.double(), exact.poses, rtol=0, atol=tolerance)
    assert_close(routed.coupling.double(), exact.coupling, rtol=0, atol=tolerance)


@each_case
def test_autocast(name, options):
    inputs = {key: (0.3 * x).float() for key, x in random_inputs().items()}
    exact = route(name, **inputs, **options)
    leaves = {key: x.requires_grad_() for key, x in inputs.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        routed = route(name, **leaves, **options)
    assert_close(routed.poses.float(), exact.poses, rtol=0, atol=0.05)
    assert_close(routed.coupling.float(), exact.coupling, rtol=0, atol=0.05)
    routed.poses.float().sum().backward()
    assert leaves["poses"].grad.isfinite().all()
    assert leaves["weight"].grad.isfinite().all()


@each_case
def test_inputs_need_not_be_contiguous(name, options):
    inputs = random_inputs()
    routed = route(name, **inputs, **options)
    strided = {
        key: x.transpose(0, -1).contiguous().transpose(0, -1)
        for key, x in inputs.items()
    }
    assert not strided["poses"].is_contiguous()
    same = route(name, **strided, **options)
    assert_equal(same, routed.poses, routed.coupling)


@each_case
def test_inputs_are_left_as_they_are(name, options):
    inputs = random_inputs()
    route(name, **inputs, **options)
    assert_close(inputs, random_inputs(), rtol=0, atol=0)


@each_case
@each_squash
@pytest.mark.parametrize("norm", [0.0, 1e-30, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_extreme_poses_give_finite_values_and_gradients(
    name, options, squashing, norm, dtype
):
    inputs = random_inputs(bias=False)
    inputs["poses"] = norm * torch.nn.functional.normalize(inputs["poses"], dim=-1)
    leaves = {
        key: None if x is None else x.to(dtype).requires_grad_()
        for key, x in inputs.items()
    }
    routed = route(name, **leaves, squash=SQUASHES[squashing], **options)
    (routed.poses.sum() + routed.coupling.sum()).backward()
    assert routed.poses.isfinite().all()
    assert routed.coupling.isfinite().all()
    assert leaves["poses"].grad.isfinite().all()
    assert leaves["weight"].grad.isfinite().all()


@each_case
def test_empty_batch(name, options):
    leaves = random_inputs((0, 3, 4, 2, 5))
    leaves = {key: value.requires_grad_() for key, value in leaves.items()}
    routed = route(name, **leaves, **options)
    assert routed.poses.shape == (0, 4, 5)
    assert routed.coupling.shape == (0, 3, 4)
    (routed.poses.sum() + routed.coupling.sum()).backward()
    assert not leaves["weight"].grad.any()


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("iterations", [0, -1])
def test_too_few_iterations(iterations):
    inputs = random_inputs()
    message = rf"iterations must be at least 1, got {iterations}\."
    with pytest.raises(ValueError, match=message):
        dynamic_routing(inputs["poses"], inputs["weight"], iterations=iterations)


def test_squash_with_parameters():
    class Squash(torch.nn.Linear):
        def forward(self, poses):
            return squash(super().forward(poses))

    inputs = random_inputs()
    inputs = inputs["poses"], inputs["weight"]
    own = Squash(3, 3).double()
    message = "squash must have no parameters to train in dynamic routing"
    with pytest.raises(ValueError, match=message):
        dynamic_routing(*inputs, iterations=2, squash=own)
    with torch.no_grad():
        assert dynamic_routing(*inputs, squash=own).poses.isfinite().all()
    dynamic_routing(*inputs, iterations=1, squash=own).poses.sum().backward()
    assert own.weight.grad.any()
    frozen = own.requires_grad_(False)
    assert dynamic_routing(*inputs, squash=frozen).poses.isfinite().all()


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
@pytest.mark.parametrize(
    ("argument", "shape", "message"),
    [
        ("poses", (2, 1, 2), r"poses must have shape \(batch, 3, 2\), got \(2, 1, 2\)"),
        ("poses", (3, 2), r"poses must have shape \(batch, 3, 2\), got \(3, 2\)"),
        ("weight", (3, 4, 2), r"weight must have shape \(caps_in, .*\), got \(3, 4, 2"),
        ("bias", (3,), r"bias must have shape \(4, 3\), got \(3,\)"),
        ("bias", (4, 1), r"bias must have shape \(4, 3\), got \(4, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(name, argument, shape, message):
    inputs = {**random_inputs(), argument: torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=message):
        route(name, **inputs)


@pytest.mark.parametrize("name", ["learned", "self_attention"])
@pytest.mark.parametrize("shape", [(4,), (3, 1), (4, 3)], ids=str)
def test_prior_that_does_not_fit(name, shape):
    inputs = {**random_inputs(), "prior": torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"prior must have shape \(3, 4\), got \("):
        route(name, **inputs)
