import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from skcaps.functional import (
    ROUTINGS,
    SQUASHES,
    Routing,
    dynamic_routing,
    learned_routing,
    lengths,
    self_attention_routing,
    squash,
    squash_exp,
    uniform_routing,
    votes,
)

from . import _reference

SHAPES = [
    # batch, caps_in, caps_out, dim_in, dim_out
    (2, 3, 4, 2, 3),
    (3, 6, 2, 4, 5),
    (1, 1, 1, 1, 1),
    (1, 4, 3, 2, 2),
    (2, 1, 3, 2, 4),
    (2, 5, 1, 3, 2),
]
SHAPE = SHAPES[0]
CASES = [
    ("dynamic", {"iterations": 1}),
    ("dynamic", {"iterations": 2}),
    ("dynamic", {"iterations": 3}),
    ("dynamic", {"iterations": 5}),
    ("self_attention", {}),
    ("uniform", {}),
    ("learned", {}),
]
REFERENCE_SQUASHES = {"squash": _reference.squash, "squash_exp": _reference.squash_exp}

each_case = pytest.mark.parametrize(
    ("name", "options"), CASES, ids=[f"{n}{o.get('iterations', '')}" for n, o in CASES]
)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_squash = pytest.mark.parametrize("squashing", sorted(SQUASHES))


def _inputs(shape=SHAPE, prior=True, bias=True, dtype=torch.float64):
    batch, caps_in, caps_out, dim_in, dim_out = shape
    rng = np.random.default_rng(0)
    arrays = {
        "poses": rng.normal(size=(batch, caps_in, dim_in)),
        "weight": rng.normal(size=(caps_in, caps_out, dim_in, dim_out)),
        "prior": rng.normal(size=(caps_in, caps_out)) if prior else None,
        "bias": rng.normal(size=(caps_out, dim_out)) if bias else None,
    }
    return {
        name: None if array is None else torch.from_numpy(array).to(dtype)
        for name, array in arrays.items()
    }


def _route(name, poses, weight, prior=None, bias=None, **options):
    routing = ROUTINGS[name]
    if routing.has_prior:
        options["prior"] = prior
    return routing.function(poses, weight, bias=bias, **options)


def _assert_equal(routed, poses, coupling, tolerance=1e-12):
    assert_close(routed.poses, poses, rtol=0, atol=tolerance)
    assert_close(routed.coupling, coupling, rtol=0, atol=tolerance)


def test_table_holds_the_documented_routings():
    assert {
        "dynamic": Routing(dynamic_routing, False, True),
        "self_attention": Routing(self_attention_routing, True, False),
        "uniform": Routing(uniform_routing, False, False),
        "learned": Routing(learned_routing, True, False),
    } == ROUTINGS


# --- values ---------------------------------------------------------------------------


@each_case
@each_shape
@each_squash
@pytest.mark.parametrize("extras", [False, True], ids=["bare", "prior-bias"])
def test_equals_reference(name, options, shape, squashing, extras):
    inputs = _inputs(shape, prior=extras or name == "learned", bias=extras)
    routed = _route(name, **inputs, squash=SQUASHES[squashing], **options)
    arrays = {key: None if x is None else x.numpy() for key, x in inputs.items()}
    poses, coupling = _reference.route(
        name, **arrays, squash=REFERENCE_SQUASHES[squashing], **options
    )
    _assert_equal(routed, torch.from_numpy(poses), torch.from_numpy(coupling))


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
    inputs = _inputs()
    routed, same = _route(name, **inputs), _route(name, **inputs, squash=expected)
    _assert_equal(routed, same.poses, same.coupling, tolerance=0)


def test_default_number_of_iterations_is_three():
    inputs = _inputs()
    routed = _route("dynamic", **inputs)
    same = _route("dynamic", **inputs, iterations=3)
    _assert_equal(routed, same.poses, same.coupling, tolerance=0)


# --- gradients ------------------------------------------------------------------------


def _plain_sum(votes, coupling, bias):
    total = torch.einsum("bij,bije->bje", coupling, votes)
    return total if bias is None else total + bias


def _plain_dynamic(inputs, squash, iterations=3, stop_gradient=False):
    """Dynamic routing on the full votes, in the form of the public ports."""
    votes_, bias = votes(inputs["poses"], inputs["weight"]), inputs["bias"]
    inner = votes_.detach() if stop_gradient else votes_
    inner_bias = bias.detach() if stop_gradient else bias
    logits = torch.zeros(votes_.shape[:3], dtype=votes_.dtype)
    for _ in range(iterations - 1):
        parents = squash(_plain_sum(inner, logits.softmax(dim=2), inner_bias))
        logits = logits + torch.einsum("bije,bje->bij", inner, parents)
    return squash(_plain_sum(votes_, logits.softmax(dim=2), bias))


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
    ],
    ids=str,
)
@each_squash
def test_gradients_equal_those_of_the_plain_form(name, options, squashing):
    inputs, squashing = _inputs(), SQUASHES[squashing]
    gradients = _gradients(
        lambda leaves: _route(name, **leaves, squash=squashing, **options).poses, inputs
    )
    expected = _gradients(
        lambda leaves: PLAIN[name](leaves, squashing, **options), inputs
    )
    assert_close(gradients, expected, rtol=0, atol=1e-12)


@each_case
@each_squash
def test_gradcheck(name, options, squashing):
    inputs = _inputs((2, 3, 2, 2, 2))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        return _route(name, **named, squash=SQUASHES[squashing], **options)

    assert torch.autograd.gradcheck(function, leaves)


def test_stop_gradient_keeps_the_values():
    inputs = _inputs()
    stopped = dynamic_routing(
        inputs["poses"].requires_grad_(),
        inputs["weight"],
        inputs["bias"],
        stop_gradient=True,
    )
    flowing = dynamic_routing(inputs["poses"], inputs["weight"], inputs["bias"])
    _assert_equal(stopped, flowing.poses, flowing.coupling, tolerance=0)
    assert not stopped.coupling.requires_grad
    assert flowing.coupling.requires_grad


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_without_bias(stop_gradient):
    inputs = _inputs(bias=False)
    poses = inputs["poses"].requires_grad_()
    dynamic_routing(
        poses, inputs["weight"], stop_gradient=stop_gradient
    ).poses.sum().backward()
    assert poses.grad.abs().sum() > 0


# --- laws -----------------------------------------------------------------------------


@each_case
@each_shape
def test_couplings_sum_to_one_over_parents(name, options, shape):
    inputs = _inputs(shape, prior=name == "learned")
    coupling = _route(name, **inputs, **options).coupling
    batch, caps_in, _, _, _ = shape
    ones = torch.ones(batch, caps_in, dtype=torch.float64)
    assert_close(coupling.sum(dim=2), ones, rtol=0, atol=1e-12)
    assert (coupling >= 0).all()


def test_self_attention_adds_its_prior_after_the_softmax():
    inputs = _inputs()
    coupling = _route("self_attention", **inputs).coupling
    without = _route("self_attention", **{**inputs, "prior": None}).coupling
    assert_close(coupling - without, inputs["prior"].expand_as(coupling))


@each_case
@each_squash
def test_lengths_are_below_one(name, options, squashing):
    inputs = _inputs((8, 6, 3, 4, 5))
    routed = _route(name, **inputs, squash=SQUASHES[squashing], **options)
    assert (lengths(routed.poses) < 1).all()


@each_case
def test_rotation_equivariance_in_vote_space(name, options):
    inputs = _inputs()
    routed = _route(name, **inputs, **options)
    noise = np.random.default_rng(1).normal(size=(SHAPE[4], SHAPE[4]))
    rotation, _ = torch.linalg.qr(torch.from_numpy(noise))
    inputs["weight"] = inputs["weight"] @ rotation
    inputs["bias"] = inputs["bias"] @ rotation
    turned = _route(name, **inputs, **options)
    _assert_equal(turned, routed.poses @ rotation, routed.coupling)


@each_case
def test_permutation_equivariance_in_parents(name, options):
    inputs = _inputs()
    routed = _route(name, **inputs, **options)
    order = torch.tensor([2, 0, 3, 1])
    inputs["weight"] = inputs["weight"][:, order]
    inputs["prior"] = inputs["prior"][:, order]
    inputs["bias"] = inputs["bias"][order]
    permuted = _route(name, **inputs, **options)
    _assert_equal(permuted, routed.poses[:, order], routed.coupling[:, :, order])


@each_case
def test_invariance_to_child_order(name, options):
    inputs = _inputs()
    routed = _route(name, **inputs, **options)
    order = torch.tensor([1, 2, 0])
    inputs["poses"] = inputs["poses"][:, order]
    inputs["weight"] = inputs["weight"][order]
    inputs["prior"] = inputs["prior"][order]
    permuted = _route(name, **inputs, **options)
    _assert_equal(permuted, routed.poses, routed.coupling[:, order])


@each_case
def test_batch_independence(name, options):
    inputs = _inputs((3, 4, 3, 2, 5))
    routed = _route(name, **inputs, **options)
    inputs["poses"] = inputs["poses"][1:2]
    alone = _route(name, **inputs, **options)
    _assert_equal(alone, routed.poses[1:2], routed.coupling[1:2])


@each_squash
def test_one_dynamic_iteration_is_uniform(squashing):
    inputs = _inputs()
    options = {"squash": SQUASHES[squashing]}
    uniform = _route("uniform", **inputs, **options)
    dynamic = _route("dynamic", **inputs, **options, iterations=1)
    _assert_equal(dynamic, uniform.poses, uniform.coupling, tolerance=0)


def test_learned_with_an_equal_prior_is_uniform():
    inputs = _inputs()
    uniform = _route("uniform", **inputs)
    inputs["prior"] = torch.full_like(inputs["prior"], 0.7)
    learned = _route("learned", **inputs)
    _assert_equal(learned, uniform.poses, uniform.coupling)


@pytest.mark.parametrize("name", ["dynamic", "self_attention"])
def test_one_parent_takes_everything(name):
    inputs = _inputs((2, 5, 1, 3, 2), prior=False)
    routed = _route(name, **inputs)
    ones = torch.ones(2, 5, 1, dtype=torch.float64)
    assert_close(routed.coupling, ones, rtol=0, atol=1e-15)


def test_iterations_raise_the_coupling_of_the_agreeing_parent():
    # Three children agree on parent 0 and cancel out on parent 1.
    poses = torch.ones(1, 4, 1)
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    coupling = [
        dynamic_routing(poses, weight[:, :, None, None], iterations=count).coupling
        for count in (1, 2, 3)
    ]
    shares = torch.stack(coupling)[:, 0, :, 0]
    assert (shares.diff(dim=0) > 0).all()


class _LargestTensor(TorchDispatchMode):
    """Record the number of elements of the largest tensor that an operation makes."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.untyped_storage().nbytes() // 8)
        return out


@each_case
def test_votes_are_never_built(name, options):
    batch, caps_in, caps_out, dim_in, dim_out = shape = (16, 4, 3, 2, 8)
    with _LargestTensor() as memory:
        _route(name, **_inputs(shape), **options)
    assert memory.largest <= batch * caps_in * caps_out * dim_in
    assert memory.largest < batch * caps_in * caps_out * dim_out


# --- dtypes, layouts and extremes -----------------------------------------------------


@each_case
def test_float32_agrees_with_float64(name, options):
    inputs = _inputs((4, 32, 10, 8, 16))
    inputs["weight"] = inputs["weight"] * 0.1
    exact = _route(name, **inputs, **options)
    single = {key: x.float() for key, x in inputs.items()}
    routed = _route(name, **single, **options)
    assert routed.poses.dtype == routed.coupling.dtype == torch.float32
    assert_close(routed.poses.double(), exact.poses, rtol=0, atol=1e-5)
    assert_close(routed.coupling.double(), exact.coupling, rtol=0, atol=1e-5)


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_keep_their_dtype(name, options, dtype):
    inputs = {key: 0.3 * x for key, x in _inputs().items()}
    exact = _route(name, **inputs, **options)
    half = {key: x.to(dtype) for key, x in inputs.items()}
    routed = _route(name, **half, **options)
    assert routed.poses.dtype == routed.coupling.dtype == dtype
    tolerance = 8 * torch.finfo(dtype).eps
    assert_close(routed.poses.double(), exact.poses, rtol=0, atol=tolerance)
    assert_close(routed.coupling.double(), exact.coupling, rtol=0, atol=tolerance)


@each_case
def test_autocast(name, options):
    inputs = {key: (0.3 * x).float() for key, x in _inputs().items()}
    exact = _route(name, **inputs, **options)
    leaves = {key: x.requires_grad_() for key, x in inputs.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        routed = _route(name, **leaves, **options)
    assert_close(routed.poses.float(), exact.poses, rtol=0, atol=0.05)
    assert_close(routed.coupling.float(), exact.coupling, rtol=0, atol=0.05)
    routed.poses.float().sum().backward()
    assert leaves["poses"].grad.isfinite().all()
    assert leaves["weight"].grad.isfinite().all()


@each_case
def test_inputs_need_not_be_contiguous(name, options):
    inputs = _inputs()
    routed = _route(name, **inputs, **options)
    strided = {
        key: x.transpose(0, -1).contiguous().transpose(0, -1)
        for key, x in inputs.items()
    }
    assert not strided["poses"].is_contiguous()
    same = _route(name, **strided, **options)
    _assert_equal(same, routed.poses, routed.coupling)


@each_case
def test_inputs_are_left_as_they_are(name, options):
    inputs = _inputs()
    _route(name, **inputs, **options)
    assert_close(inputs, _inputs(), rtol=0, atol=0)


@each_case
@each_squash
@pytest.mark.parametrize("norm", [0.0, 1e-30, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_extreme_poses_give_finite_values_and_gradients(
    name, options, squashing, norm, dtype
):
    inputs = _inputs(bias=False)
    inputs["poses"] = norm * torch.nn.functional.normalize(inputs["poses"], dim=-1)
    leaves = {
        key: None if x is None else x.to(dtype).requires_grad_()
        for key, x in inputs.items()
    }
    routed = _route(name, **leaves, squash=SQUASHES[squashing], **options)
    (routed.poses.sum() + routed.coupling.sum()).backward()
    assert routed.poses.isfinite().all()
    assert routed.coupling.isfinite().all()
    assert leaves["poses"].grad.isfinite().all()
    assert leaves["weight"].grad.isfinite().all()


@each_case
def test_empty_batch(name, options):
    routed = _route(name, **_inputs((0, 3, 4, 2, 5)), **options)
    assert routed.poses.shape == (0, 4, 5)
    assert routed.coupling.shape == (0, 3, 4)


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("iterations", [0, -1])
def test_too_few_iterations(iterations):
    inputs = _inputs()
    message = rf"iterations must be at least 1, got {iterations}\."
    with pytest.raises(ValueError, match=message):
        dynamic_routing(inputs["poses"], inputs["weight"], iterations=iterations)


@pytest.mark.parametrize("name", sorted(ROUTINGS))
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
    inputs = {**_inputs(), argument: torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=message):
        _route(name, **inputs)


@pytest.mark.parametrize("name", ["learned", "self_attention"])
@pytest.mark.parametrize("shape", [(4,), (3, 1), (4, 3)], ids=str)
def test_prior_that_does_not_fit(name, shape):
    inputs = {**_inputs(), "prior": torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"prior must have shape \(3, 4\), got \("):
        _route(name, **inputs)
