import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    conv_capsules,
    conv_transpose_capsules,
    conv_transpose_votes,
    conv_votes,
    lengths,
    locally_constrained_from_votes,
    squash,
    squash_exp,
)
from skcaps.functional.routing import _map_agreement

from . import _loops, _references

# batch, caps_in, caps_out, dim_in, dim_out, rows, columns, kernel, stride
SHAPES = [
    (2, 3, 4, 2, 2, 2, 4, 5, 1),
    (1, 2, 3, 3, 2, 6, 4, 5, 2),
    (1, 3, 2, 2, 2, 5, 3, 3, 2),
    (1, 2, 1, 2, 3, 3, 3, 1, 1),
    (1, 1, 2, 1, 1, 1, 1, 3, 1),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_count = pytest.mark.parametrize("iterations", [1, 2, 3])


def draw(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


def children_and_kernel(shape):
    batch, caps_in, caps_out, dim_in, dim_out, rows, columns, kernel, stride = shape
    poses = draw(batch, caps_in, dim_in, rows, columns)
    weight = draw(caps_out, dim_out, dim_in, kernel, kernel, seed=1)
    return poses, weight, draw(caps_out, dim_out, seed=2), stride


def loop(votes, bias, iterations):
    found = [_loops.locally_constrained(v, bias, iterations) for v in votes]
    return [torch.as_tensor(np.stack(part)) for part in zip(*found, strict=True)]


# --- values ---------------------------------------------------------------------------


@each_shape
def test_votes_equal_loop(shape):
    poses, weight, _, stride = children_and_kernel(shape)
    expected = [_loops.map_votes(p, weight.numpy(), stride) for p in poses.numpy()]
    found = conv_votes(poses, weight, stride=stride)
    assert_close(found, torch.as_tensor(np.stack(expected)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (2, 2), (3, 1), (5, 3)])
def test_transposed_votes_equal_loop(kernel, stride):
    poses, weight = draw(2, 3, 2, 2, 3), draw(2, 4, 3, kernel, kernel, seed=1)
    expected = [
        _loops.transposed_map_votes(p, weight.numpy(), stride) for p in poses.numpy()
    ]
    found = conv_transpose_votes(poses, weight, stride=stride)
    assert_close(found, torch.as_tensor(np.stack(expected)), rtol=0, atol=1e-12)


@each_shape
@each_count
def test_conv_capsules_equal_loop(shape, iterations):
    poses, weight, bias, stride = children_and_kernel(shape)
    votes = [_loops.map_votes(p, weight.numpy(), stride) for p in poses.numpy()]
    expected = loop(votes, bias.numpy(), iterations)
    routed = conv_capsules(
        poses, weight, bias=bias, stride=stride, iterations=iterations
    )
    for found, value in zip(routed[:2], expected, strict=True):
        assert_close(found, value, rtol=0, atol=1e-12)
    assert_close(routed.activations, lengths(expected[0].movedim(2, -1)))


@each_count
def test_conv_transpose_capsules_equal_loop(iterations):
    poses, weight, bias = draw(2, 3, 2, 2, 3), draw(2, 4, 3, 4, 4, seed=1), draw(4, 3)
    votes = [_loops.transposed_map_votes(p, weight.numpy()) for p in poses.numpy()]
    expected = loop(votes, bias.numpy(), iterations)
    routed = conv_transpose_capsules(poses, weight, bias=bias, iterations=iterations)
    for found, value in zip(routed[:2], expected, strict=True):
        assert_close(found, value, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "iterations"),
    [("s1", 1), ("s1", 2), ("s1", 3)]
    + [(case, count) for case in ("s2_even", "one_parent") for count in (1, 3)],
)
def test_equals_authors_code(references, case, iterations):
    values = references(f"segcaps_{case}", case)
    inputs = _references.leaves(values, "poses", "W", "bias")
    weight = inputs["W"].permute(3, 2, 0, 1)
    weight = weight.unflatten(0, tuple(inputs["bias"].shape))
    routed = conv_capsules(
        inputs["poses"],
        weight,
        bias=inputs["bias"],
        stride=int(values["stride"]),
        iterations=iterations,
    )
    prefix = f"t{iterations}/"
    found = {"poses": routed.poses, "couplings": routed.coupling}
    _references.compare(values, prefix, tolerance=1e-12, **found)
    gradients = {"poses": routed.poses}
    _references.compare_gradients(values, prefix, inputs, **gradients)


@pytest.mark.parametrize("name", ["ucaps_conv2d_s1", "ucaps_deconv2d"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_equals_ported_code(references, name, iterations):
    """The votes have a bias of their own there, and are then routed as here."""
    values = references(name, name.removeprefix("ucaps_"))
    parents = tuple(values["bias"].shape)
    if values["transposed"]:
        votes = conv_transpose_votes(values["poses"], values["W"].unflatten(1, parents))
    else:
        votes = conv_votes(values["poses"], values["W"].unflatten(0, parents))
    votes = votes + values["conv_bias"].view(*parents, 1, 1)
    routed = locally_constrained_from_votes(
        votes, bias=values["bias"], iterations=iterations
    )
    found = {"poses": routed.poses, "couplings": routed.coupling}
    _references.compare(values, f"t{iterations}/segcaps_", tolerance=1e-12, **found)


# --- gradients ------------------------------------------------------------------------


@each_count
@pytest.mark.parametrize("shorten", [squash, squash_exp])
def test_gradients_are_those_of_finite_differences(iterations, shorten):
    votes = draw(1, 3, 2, 2, 2, 1).requires_grad_()
    bias = draw(2, 2, seed=1).requires_grad_()

    def route(votes, bias):
        return locally_constrained_from_votes(
            votes, bias=bias, iterations=iterations, squash=shorten
        )

    assert torch.autograd.gradcheck(route, (votes, bias))


def test_gradients_have_gradients():
    votes = draw(1, 2, 2, 2, 1, 1).requires_grad_()
    bias = draw(2, 2, seed=1).requires_grad_()

    def route(votes, bias):
        return locally_constrained_from_votes(votes, bias=bias)

    assert torch.autograd.gradgradcheck(route, (votes, bias))


def test_gradients_of_parts_are_those_of_the_whole(monkeypatch):
    votes = draw(2, 5, 3, 4, 3, 2).requires_grad_()

    def gradient():
        routed = locally_constrained_from_votes(votes)
        total = (routed.poses * draw(*routed.poses.shape, seed=3)).sum()
        return torch.autograd.grad(total, votes)[0]

    whole = gradient()
    monkeypatch.setattr(_map_agreement, "_PRODUCT_BYTES", {"cpu": 2 * 2 * 12 * 6 * 8})
    assert_close(gradient(), whole, rtol=0, atol=0)


def test_zero_votes_have_finite_gradients():
    votes = torch.zeros(1, 3, 2, 4, 2, 2, requires_grad=True)
    routed = locally_constrained_from_votes(votes)
    (routed.poses.sum() + routed.activations.sum()).backward()
    assert not votes.grad.isnan().any()
    assert_close(routed.coupling, torch.full((1, 3, 2, 2, 2), 0.5))


# --- laws -----------------------------------------------------------------------------


def test_coupling_sums_to_one_over_types_at_every_pixel():
    routed = locally_constrained_from_votes(3 * draw(2, 5, 4, 3, 3, 2))
    assert_close(routed.coupling.sum(dim=2), torch.ones(2, 5, 3, 2).double())
    assert routed.coupling.std(dim=2).min() > 0


def test_one_type_of_parents_makes_iterations_change_nothing():
    votes = draw(2, 5, 1, 3, 3, 2)
    once, thrice = (
        locally_constrained_from_votes(votes, iterations=count) for count in (1, 3)
    )
    assert_close(thrice, once, rtol=0, atol=0)
    assert (once.coupling == 1).all()


def test_one_iteration_is_convolution_bias_and_squash():
    poses, weight, bias, _ = children_and_kernel(SHAPES[0])
    routed = conv_capsules(poses, weight, bias=bias, iterations=1)
    maps = torch.nn.functional.conv2d(
        poses.sum(dim=1) / len(weight), weight.flatten(0, 1), bias.flatten(), padding=2
    )
    expected = squash(maps.unflatten(1, bias.shape).movedim(2, -1)).movedim(-1, 2)
    assert_close(routed.poses, expected)


def test_permuted_types_permute_the_result():
    votes = draw(1, 4, 3, 2, 2, 2)
    routed = locally_constrained_from_votes(votes)
    children, parents = [2, 0, 3, 1], [1, 2, 0]
    permuted = locally_constrained_from_votes(votes[:, children][:, :, parents])
    assert_close(permuted.poses, routed.poses[:, parents])
    assert_close(permuted.coupling, routed.coupling[:, children][:, :, parents])


def test_pixels_are_routed_by_themselves():
    votes = draw(1, 4, 3, 2, 3, 3)
    routed = locally_constrained_from_votes(votes)
    alone = locally_constrained_from_votes(votes[..., 1:2, 2:3])
    assert_close(alone.poses, routed.poses[..., 1:2, 2:3])


def test_rotated_votes_rotate_the_poses():
    votes = draw(1, 4, 3, 2, 2, 2)
    turn = torch.tensor(
        [[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]]
    ).double()
    routed = locally_constrained_from_votes(votes)
    turned = locally_constrained_from_votes(
        torch.einsum("de,bijeyx->bijdyx", turn, votes)
    )
    expected = torch.einsum("de,bjeyx->bjdyx", turn, routed.poses)
    assert_close(turned.poses, expected)
    assert_close(turned.coupling, routed.coupling)


def test_a_shift_by_the_stride_commutes_inside():
    poses, weight, bias, _ = children_and_kernel((1, 2, 3, 2, 2, 16, 16, 5, 2))
    routed = conv_capsules(poses, weight, bias=bias, stride=2)
    shifted = conv_capsules(poses.roll(4, dims=3), weight, bias=bias, stride=2)
    assert_close(shifted.poses[..., 4:6, 1:-1], routed.poses[..., 2:4, 1:-1])


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"votes": torch.ones(2, 3, 4)}, r"votes must have shape .*got \(2, 3, 4\)"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"bias": torch.ones(2, 1)}, r"bias must have shape \(2, 3\), got \(2, 1\)"),
    ],
)
def test_says_what_is_wrong_with_votes(arguments, message):
    arguments = {"votes": torch.ones(1, 2, 2, 3, 1, 1), **arguments}
    with pytest.raises(ValueError, match=message):
        locally_constrained_from_votes(**arguments)


@pytest.mark.parametrize(
    ("function", "poses", "weight", "message"),
    [
        (conv_capsules, (1, 2, 3, 4, 4), (2, 3), "weight must have shape"),
        (
            conv_capsules,
            (1, 2, 4, 4, 4),
            (2, 2, 3, 1, 1),
            r"poses must have shape \(batch, caps_in, 3, height, width\), got",
        ),
        (conv_transpose_capsules, (1, 2, 3, 4), (3, 2, 2, 4, 4), "poses must have"),
        (
            conv_transpose_capsules,
            (1, 2, 3, 4, 4),
            (3, 2, 2, 3, 3),
            r"kernel must be as wide as the stride, 2, .* got \(3, 3\)",
        ),
    ],
)
def test_says_what_is_wrong_with_shapes(function, poses, weight, message):
    with pytest.raises(ValueError, match=message):
        function(torch.ones(poses), torch.ones(weight))


@pytest.mark.parametrize("function", [conv_capsules, conv_transpose_capsules])
def test_says_that_iterations_are_too_few(function):
    with pytest.raises(ValueError, match="iterations must be at least 1, got -1"):
        function(torch.ones(1, 2, 2, 2, 2), torch.ones(2, 2, 2, 2, 2), iterations=-1)
