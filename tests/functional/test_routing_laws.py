import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from skcaps.functional import (
    SQUASHES,
    dynamic_routing,
    lengths,
)
from skcaps.functional.routing import _agreement

from ._routing_cases import (
    SHAPE,
    assert_equal,
    each_case,
    each_shape,
    each_squash,
    random_inputs,
    route,
)


@each_case
@each_shape
def test_couplings_sum_to_one_over_parents(name, options, shape):
    inputs = random_inputs(shape, prior=name == "learned")
    coupling = route(name, **inputs, **options).coupling
    batch, caps_in, _, _, _ = shape
    ones = torch.ones(batch, caps_in, dtype=torch.float64)
    if "leaky" in options:
        assert (coupling.sum(dim=2) < ones).all()
    else:
        assert_close(coupling.sum(dim=2), ones, rtol=0, atol=1e-12)
    assert (coupling >= 0).all()


@each_squash
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_an_orphan_is_a_parent_that_nobody_votes_for(squashing, iterations):
    inputs = random_inputs(bias=False)
    options = {"squash": SQUASHES[squashing], "iterations": iterations}
    leaky = route("dynamic", **inputs, **options, leaky=True)
    inputs["weight"] = torch.nn.functional.pad(inputs["weight"], (0, 0, 0, 0, 0, 1))
    plain = route("dynamic", **inputs, **options)
    assert_equal(leaky, plain.poses[:, :-1], plain.coupling[:, :, :-1])


def test_what_agrees_with_no_parent_leaks():
    # The votes of children 0 and 1 agree, those of 2 and 3 cancel out.
    votes = torch.tensor([3.0, 3.0, 3.0, -3.0]).view(4, 1, 1, 1)
    left = [
        1
        - dynamic_routing(
            torch.ones(1, 4, 1), votes, iterations=count, leaky=True
        ).coupling[0, :, 0]
        for count in (1, 2, 3)
    ]
    changes = torch.stack(left).diff(dim=0)
    assert (changes[:, :3] < 0).all()
    assert (changes[:, 3] > 0).all()


def test_self_attention_adds_its_prior_after_the_softmax():
    inputs = random_inputs()
    coupling = route("self_attention", **inputs).coupling
    without = route("self_attention", **{**inputs, "prior": None}).coupling
    assert_close(coupling - without, inputs["prior"].expand_as(coupling))


@each_case
@each_squash
def test_lengths_are_below_one(name, options, squashing):
    inputs = random_inputs((8, 6, 3, 4, 5))
    routed = route(name, **inputs, squash=SQUASHES[squashing], **options)
    assert (lengths(routed.poses) < 1).all()


@each_case
@each_squash
def test_activations_are_the_lengths(name, options, squashing):
    inputs = random_inputs()
    routed = route(name, **inputs, squash=SQUASHES[squashing], **options)
    assert_close(routed.activations, lengths(routed.poses), rtol=0, atol=0)


@each_case
def test_rotation_equivariance_in_vote_space(name, options):
    inputs = random_inputs()
    routed = route(name, **inputs, **options)
    noise = np.random.default_rng(1).normal(size=(SHAPE[4], SHAPE[4]))
    rotation, _ = torch.linalg.qr(torch.from_numpy(noise))
    inputs["weight"] = inputs["weight"] @ rotation
    inputs["bias"] = inputs["bias"] @ rotation
    turned = route(name, **inputs, **options)
    assert_equal(turned, routed.poses @ rotation, routed.coupling)


@each_case
def test_permutation_equivariance_in_parents(name, options):
    inputs = random_inputs()
    routed = route(name, **inputs, **options)
    order = torch.tensor([2, 0, 3, 1])
    inputs["weight"] = inputs["weight"][:, order]
    inputs["prior"] = inputs["prior"][:, order]
    inputs["bias"] = inputs["bias"][order]
    permuted = route(name, **inputs, **options)
    assert_equal(permuted, routed.poses[:, order], routed.coupling[:, :, order])


@each_case
def test_invariance_to_child_order(name, options):
    inputs = random_inputs()
    routed = route(name, **inputs, **options)
    order = torch.tensor([1, 2, 0])
    inputs["poses"] = inputs["poses"][:, order]
    inputs["weight"] = inputs["weight"][order]
    inputs["prior"] = inputs["prior"][order]
    permuted = route(name, **inputs, **options)
    assert_equal(permuted, routed.poses, routed.coupling[:, order])


@each_case
def test_batch_independence(name, options):
    inputs = random_inputs((3, 4, 3, 2, 5))
    routed = route(name, **inputs, **options)
    inputs["poses"] = inputs["poses"][1:2]
    alone = route(name, **inputs, **options)
    assert_equal(alone, routed.poses[1:2], routed.coupling[1:2])


@each_squash
def test_one_dynamic_iteration_is_uniform(squashing):
    inputs = random_inputs()
    options = {"squash": SQUASHES[squashing]}
    uniform = route("uniform", **inputs, **options)
    dynamic = route("dynamic", **inputs, **options, iterations=1)
    assert_equal(dynamic, uniform.poses, uniform.coupling, tolerance=0)


def test_learned_with_an_equal_prior_is_uniform():
    inputs = random_inputs()
    uniform = route("uniform", **inputs)
    inputs["prior"] = torch.full_like(inputs["prior"], 0.7)
    learned = route("learned", **inputs)
    assert_equal(learned, uniform.poses, uniform.coupling)


@pytest.mark.parametrize("name", ["dynamic", "self_attention"])
def test_one_parent_takes_everything(name):
    inputs = random_inputs((2, 5, 1, 3, 2), prior=False)
    routed = route(name, **inputs)
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


@pytest.mark.parametrize("name", ["self_attention", "uniform", "learned"])
def test_votes_are_never_built(name):
    batch, caps_in, caps_out, dim_in, dim_out = shape = (16, 4, 3, 2, 8)
    with _LargestTensor() as memory:
        route(name, **random_inputs(shape))
    assert memory.largest <= batch * caps_in * caps_out * dim_in
    assert memory.largest < batch * caps_in * caps_out * dim_out


@pytest.fixture
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(_agreement, "_VOTES_BYTES", {"cpu": 0})
    return _agreement._FEWEST_IMAGES


def _gradients(inputs, **options):
    leaves = {key: x.clone().requires_grad_() for key, x in inputs.items()}
    leaves.pop("prior")
    routed = dynamic_routing(**leaves, **options)
    slope = torch.linspace(-1, 1, routed.poses.numel(), dtype=torch.float64)
    (routed.poses.flatten() * slope).sum().backward()
    return [leaf.grad for leaf in leaves.values()]


def test_dynamic_builds_the_votes_of_a_few_images_only(few_at_a_time):
    _, caps_in, caps_out, _, dim_out = shape = (20, 64, 3, 1, 64)
    with _LargestTensor() as memory:
        _gradients(random_inputs(shape))
    assert memory.largest == few_at_a_time * caps_in * caps_out * dim_out


@pytest.mark.parametrize("stop_gradient", [False, True])
@pytest.mark.parametrize("batch", [5, 8, 19])
def test_parts_of_a_batch_do_not_show(batch, stop_gradient, monkeypatch):
    inputs = random_inputs((batch, 4, 3, 2, 5))
    options = {"stop_gradient": stop_gradient}
    whole, expected = route("dynamic", **inputs), _gradients(inputs, **options)
    monkeypatch.setattr(_agreement, "_VOTES_BYTES", {"cpu": 0})
    assert_equal(route("dynamic", **inputs), whole.poses, whole.coupling)
    for found, gradient in zip(_gradients(inputs, **options), expected, strict=True):
        assert_close(found, gradient, rtol=0, atol=1e-12)


def test_gradient_of_the_coupling():
    inputs = {key: x.requires_grad_() for key, x in random_inputs().items()}
    arguments = (inputs["poses"], inputs["weight"], inputs["bias"])
    assert torch.autograd.gradcheck(
        lambda poses, weight, bias: tuple(dynamic_routing(poses, weight, bias=bias)),
        arguments,
    )
