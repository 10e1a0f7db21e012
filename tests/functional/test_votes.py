import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import votes

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
