import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import lengths

from . import _reference

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NORMS = [0.0, 1e-30, 1.0, 1e4]


def _direction(dim=4):
    vector = torch.arange(1, dim + 1, dtype=torch.float64)
    return vector / vector.norm()


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 5, 1), (2, 1, 3, 2)])
def test_equals_reference(shape):
    poses = np.random.default_rng(0).normal(size=shape)
    expected = _reference.each(_reference.length, poses)
    assert_close(
        lengths(torch.from_numpy(poses)),
        torch.from_numpy(np.asarray(expected)),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_value_at_extreme_norms(norm, dtype):
    poses = (norm * _direction()).to(dtype)
    value = lengths(poses)
    assert value.dtype == dtype
    exact = poses.double().norm()
    assert_close(value.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-29)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_gradient_is_finite_at_extreme_norms(norm, dtype):
    poses = (norm * _direction()).to(dtype).requires_grad_()
    lengths(poses).backward()
    assert poses.grad.dtype == dtype
    assert poses.grad.isfinite().all()
    assert poses.grad.double().norm() <= 1 + 4 * torch.finfo(dtype).eps


def test_gradient_is_zero_at_zero():
    poses = torch.zeros(2, 3, requires_grad=True)
    lengths(poses).sum().backward()
    assert_close(poses.grad, torch.zeros(2, 3), rtol=0, atol=0)


def test_gradcheck():
    poses = torch.randn(2, 3, 4, dtype=torch.float64, generator=_generator())
    assert torch.autograd.gradcheck(lengths, poses.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32(dtype):
    # 4096 ones: in either half type a running sum of the squares stalls far below.
    assert lengths(torch.ones(4096, dtype=dtype)).item() == 64


def test_empty_batch():
    assert lengths(torch.zeros(0, 3, 4)).shape == (0, 3)


def _generator():
    return torch.Generator().manual_seed(0)
