import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import SQUASHES, lengths, squash, squash_exp

from . import _reference

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NORMS = [0.0, 1e-30, 1e-8, 1.0, 1e4]
REFERENCES = {"squash": _reference.squash, "squash_exp": _reference.squash_exp}

each_squash = pytest.mark.parametrize("name", sorted(SQUASHES))
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_norm = pytest.mark.parametrize("norm", NORMS)


def _direction(dim=4):
    vector = torch.arange(1, dim + 1, dtype=torch.float64)
    return vector / vector.norm()


def _poses(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_table_holds_the_documented_functions():
    assert {"squash": squash, "squash_exp": squash_exp} == SQUASHES


@each_squash
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 5, 1), (2, 1, 3, 2)])
def test_equals_reference(name, shape):
    poses = np.random.default_rng(0).normal(size=shape)
    expected = torch.from_numpy(_reference.each(REFERENCES[name], poses))
    value = SQUASHES[name](torch.from_numpy(poses))
    assert_close(value, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "norm", "expected"),
    [
        ("squash", 0.1, 0.0099),
        ("squash", 0.5, 0.2),
        ("squash", 1.0, 0.5),
        ("squash", 5.0, 0.962),
        ("squash_exp", 0.1, 0.095),
        ("squash_exp", 0.5, 0.393),
        ("squash_exp", 1.0, 0.632),
        ("squash_exp", 5.0, 0.993),
    ],
)
def test_known_lengths(name, norm, expected):
    value = lengths(SQUASHES[name](norm * _direction()))
    assert value.item() == pytest.approx(expected, abs=5e-4)


@each_squash
@each_dtype
@each_norm
def test_value_at_extreme_norms(name, norm, dtype):
    poses = (norm * _direction()).to(dtype)
    value = SQUASHES[name](poses)
    assert value.dtype == dtype
    info = torch.finfo(dtype)
    assert_close(
        value.double(),
        SQUASHES[name](poses.double()),
        rtol=4 * info.eps,
        atol=info.smallest_normal * info.eps,
    )


@each_squash
@each_dtype
@each_norm
def test_gradient_at_extreme_norms(name, norm, dtype):
    poses = (norm * _direction()).to(dtype).requires_grad_()
    exact = poses.detach().double().requires_grad_()
    output_gradient = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=dtype)
    SQUASHES[name](poses).backward(output_gradient)
    SQUASHES[name](exact).backward(output_gradient.double())
    assert poses.grad.dtype == dtype
    eps = torch.finfo(dtype).eps
    # Gradients are of order 1 or less; float32 carries the half types' inner steps.
    assert_close(poses.grad.double(), exact.grad, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize(
    ("name", "diagonal"), [("squash", 0.0), ("squash_exp", 1.0)], ids=str
)
@each_dtype
@pytest.mark.parametrize("norm", [0.0, 1e-30, 1e-12])
def test_jacobian_near_zero(name, diagonal, norm, dtype):
    poses = (norm * _direction()).to(dtype)
    jacobian = torch.autograd.functional.jacobian(SQUASHES[name], poses)
    expected = diagonal * torch.eye(4, dtype=torch.float64)
    tolerance = max(torch.finfo(dtype).eps, 1e-11)
    assert_close(jacobian.double(), expected, rtol=0, atol=tolerance)


@each_squash
def test_gradient_is_finite_beside_a_zero_capsule(name):
    poses = _poses(2, 3, 4)
    poses[0, 1] = 0
    poses.requires_grad_()
    SQUASHES[name](poses).sum().backward()
    assert poses.grad.isfinite().all()


@each_squash
def test_gradcheck(name):
    assert torch.autograd.gradcheck(SQUASHES[name], _poses(2, 3, 4).requires_grad_())


@each_squash
@each_dtype
@pytest.mark.parametrize("norm", [1.0, 10.0, 100.0, 1e3, 1e4])
def test_lengths_stay_below_one_up_to_rounding(name, norm, dtype):
    poses = (norm * torch.nn.functional.normalize(_poses(200, 7), dim=-1)).to(dtype)
    squashed = SQUASHES[name](poses)
    assert (squashed.double().norm(dim=-1) <= 1 + 2 * torch.finfo(dtype).eps).all()


@each_squash
def test_lengths_are_below_one(name):
    assert (lengths(SQUASHES[name](3 * _poses(200, 7))) < 1).all()


@each_squash
def test_length_grows_with_length(name):
    norms = torch.linspace(0, 20, 400, dtype=torch.float64)
    squashed = lengths(SQUASHES[name](norms[:, None] * _direction()))
    assert (squashed.diff() > 0).all()


@each_squash
def test_keeps_the_direction(name):
    poses = _poses(50, 4)
    cosine = torch.nn.functional.cosine_similarity(SQUASHES[name](poses), poses, dim=-1)
    assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-12)


@each_squash
def test_rotation_equivariance(name):
    poses = _poses(5, 4)
    rotation, _ = torch.linalg.qr(_poses(4, 4))
    turned_first = SQUASHES[name](poses @ rotation)
    turned_last = SQUASHES[name](poses) @ rotation
    assert_close(turned_first, turned_last, rtol=0, atol=1e-12)


@each_squash
def test_empty_batch(name):
    assert SQUASHES[name](torch.zeros(0, 3, 4)).shape == (0, 3, 4)


@each_squash
def test_float32_agrees_with_float64(name):
    poses = _poses(20, 8)
    value = SQUASHES[name](poses.float()).double()
    assert_close(value, SQUASHES[name](poses), rtol=0, atol=1e-6)
