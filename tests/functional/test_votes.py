import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import matrix_votes, votes

from . import _reference

SHAPES = [
    # batch, caps_in, caps_out, dim_in, dim_out
    (2, 3, 4, 2, 3),
    (1, 1, 1, 1, 1),
    (3, 1, 2, 2, 4),
    (2, 5, 1, 3, 2),
]


def _inputs(shape):
    batch, caps_in, caps_out, dim_in, dim_out = shape
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(batch, caps_in, dim_in))
    weight = rng.normal(size=(caps_in, caps_out, dim_in, dim_out))
    return torch.from_numpy(poses), torch.from_numpy(weight)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_reference(shape):
    poses, weight = _inputs(shape)
    expected = [_reference.votes(sample, weight.numpy()) for sample in poses.numpy()]
    value = votes(poses, weight)
    assert_close(value, torch.from_numpy(np.array(expected)), rtol=1e-12, atol=1e-12)


def test_gradcheck():
    poses, weight = _inputs(SHAPES[0])
    assert torch.autograd.gradcheck(
        votes, (poses.requires_grad_(), weight.requires_grad_())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_keeps_the_dtype(dtype):
    poses, weight = _inputs(SHAPES[0])
    value = votes(poses.to(dtype), weight.to(dtype))
    assert value.dtype == dtype
    tolerance = 20 * torch.finfo(dtype).eps
    assert_close(value.double(), votes(poses, weight), rtol=0, atol=tolerance)


def test_empty_batch():
    assert votes(torch.zeros(0, 3, 2), torch.ones(3, 4, 2, 5)).shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    ("poses_shape", "message"),
    [
        ((2, 1, 2), r"poses must have shape \(batch, 3, 2\), got \(2, 1, 2\)\."),
        ((2, 3, 5), r"poses must have shape \(batch, 3, 2\), got \(2, 3, 5\)\."),
        ((3, 2), r"poses must have shape \(batch, 3, 2\), got \(3, 2\)\."),
    ],
)
def test_poses_that_do_not_fit(poses_shape, message):
    with pytest.raises(ValueError, match=message):
        votes(torch.ones(poses_shape), torch.ones(3, 4, 2, 5))


def test_weight_that_is_not_four_dimensional():
    message = (
        r"weight must have shape \(caps_in, caps_out, dim_in, dim_out\), "
        r"got \(3, 2, 5\)\."
    )
    with pytest.raises(ValueError, match=message):
        votes(torch.ones(2, 3, 2), torch.ones(3, 2, 5))


# --- poses that are matrices ----------------------------------------------------------


def _matrices(rows=4, dim=3, columns=2):
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(2, 5, rows * dim))
    weight = rng.normal(size=(5, 3, dim, columns))
    return torch.from_numpy(poses), torch.from_numpy(weight)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (4, 3, 2), (1, 3, 2), (2, 1, 1)], ids=str)
def test_matrix_votes_are_products(sizes):
    poses, weight = _matrices(*sizes)
    found = matrix_votes(poses, weight)
    for b, i, j in np.ndindex(2, 5, 3):
        matrix = poses[b, i].numpy().reshape(sizes[:2])
        expected = (matrix @ weight[i, j].numpy()).ravel()
        np.testing.assert_allclose(found[b, i, j], expected, rtol=0, atol=1e-12)


def test_matrix_votes_commute_with_a_change_of_viewpoint():
    poses, weight = _matrices(4, 4, 4)
    view = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 4)))
    seen = (view @ poses.unflatten(2, (4, 4))).flatten(2)
    expected = (view @ matrix_votes(poses, weight).unflatten(3, (4, 4))).flatten(3)
    assert_close(matrix_votes(seen, weight), expected, rtol=0, atol=1e-12)


def test_matrix_votes_of_one_row_are_votes():
    poses, weight = _matrices(rows=1)
    assert_close(matrix_votes(poses, weight), votes(poses, weight))


def test_gradcheck_of_matrix_votes():
    leaves = [x.requires_grad_() for x in _matrices()]
    assert torch.autograd.gradcheck(matrix_votes, leaves)


def test_matrix_votes_of_an_empty_batch():
    found = matrix_votes(torch.zeros(0, 5, 16), torch.ones(5, 3, 4, 4))
    assert found.shape == (0, 5, 3, 16)


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 1, 6), (5, 6), (2, 5, 0)], ids=str)
def test_matrix_poses_that_do_not_fit(shape):
    message = r"^poses must have shape \(batch, 5, rows \* 3\), got \("
    with pytest.raises(ValueError, match=message):
        matrix_votes(torch.ones(shape), torch.ones(5, 3, 3, 2))


def test_matrix_weight_that_is_not_four_dimensional():
    message = (
        r"weight must have shape \(caps_in, caps_out, dim, columns\), "
        r"got \(3, 4, 4\)\."
    )
    with pytest.raises(ValueError, match=message):
        matrix_votes(torch.ones(2, 3, 16), torch.ones(3, 4, 4))
