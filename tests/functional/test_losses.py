import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    LOSSES,
    cross_entropy_loss,
    margin_loss,
    reconstruction_loss,
    spread_loss,
)

from . import _reference

each_loss = pytest.mark.parametrize("name", sorted(LOSSES))

# none, one, two and all classes present; lengths on both sides of every hinge
TARGETS = torch.tensor([[0, 0, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 1]])
LENGTHS = torch.tensor(
    [
        [0.05, 0.5, 0.95],
        [0.02, 0.97, 0.03],
        [0.3, 0.85, 0.1],
        [0.93, 0.2, 0.6],
        [0.7, 0.08, 0.65],
    ],
    dtype=torch.float64,
)
WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)


def _expected(name, sample_weight=None, **options):
    losses = [
        _reference.LOSSES[name](sample, target, **options)
        for sample, target in zip(LENGTHS.numpy(), TARGETS.numpy(), strict=True)
    ]
    return pytest.approx(_reference.average(losses, sample_weight), rel=1e-12)


def test_table_holds_the_documented_functions():
    assert {
        "margin": margin_loss,
        "spread": spread_loss,
        "cross_entropy": cross_entropy_loss,
    } == LOSSES


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("margin", {}),
        ("margin", {"m_plus": 0.8}),
        ("margin", {"m_minus": 0.2}),
        ("margin", {"down_weight": 1.0}),
        ("spread", {}),
        ("spread", {"margin": 0.2}),
        ("cross_entropy", {}),
        ("cross_entropy", {"scale": 1.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["plain", "weighted"])
def test_equals_reference(name, options, sample_weight):
    value = LOSSES[name](LENGTHS, TARGETS.double(), sample_weight, **options)
    assert value.shape == ()
    assert value.item() == _expected(name, sample_weight, **options)


def test_known_margin_loss():
    value = margin_loss(torch.tensor([[0.7, 0.3]]), torch.tensor([[1.0, 0.0]]))
    assert value.item() == pytest.approx(0.2**2 + 0.5 * 0.2**2)


@each_loss
def test_gradcheck(name):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.rand(5, 3, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(
        lambda lengths: LOSSES[name](lengths, TARGETS, WEIGHTS),
        lengths.requires_grad_(),
    )


@each_loss
def test_batches_add_up_to_the_weighted_objective(name):
    parts = [
        LOSSES[name](LENGTHS[part], TARGETS[part], WEIGHTS[part]) * len(LENGTHS[part])
        for part in (slice(0, 2), slice(2, 5))
    ]
    whole = LOSSES[name](LENGTHS, TARGETS, WEIGHTS) * len(LENGTHS)
    assert_close(sum(parts), whole, rtol=1e-12, atol=1e-12)


@each_loss
@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_is_linear_in_the_weights(name, scale):
    weighted = LOSSES[name](LENGTHS, TARGETS, torch.full((5,), scale))
    assert_close(weighted, scale * LOSSES[name](LENGTHS, TARGETS), rtol=1e-12, atol=0)


@each_loss
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_any_dtype_of_targets(name, dtype):
    value = LOSSES[name](LENGTHS, TARGETS.to(dtype))
    assert_close(value, LOSSES[name](LENGTHS, TARGETS.double()), rtol=0, atol=0)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32(name, dtype):
    lengths = LENGTHS.to(dtype)
    value = LOSSES[name](lengths, TARGETS.to(dtype), WEIGHTS.to(dtype))
    assert value.dtype == torch.float32
    exact = LOSSES[name](lengths.double(), TARGETS, WEIGHTS)
    assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)


@each_loss
def test_falls_when_the_true_capsule_grows(name):
    lengths = torch.full((1, 3), 0.5, requires_grad=True)
    LOSSES[name](lengths, torch.tensor([[0, 1, 0]])).backward()
    assert (lengths.grad.sign() == torch.tensor([[1.0, -1.0, 1.0]])).all()


@pytest.mark.parametrize("name", ["margin", "spread"])
def test_is_zero_beyond_the_margins(name):
    lengths = torch.tensor([[0.95, 0.05, 0.0]], requires_grad=True)
    value = LOSSES[name](lengths, torch.tensor([[1, 0, 0]]))
    value.backward()
    assert value.item() == 0
    assert (lengths.grad == 0).all()


def test_cross_entropy_without_a_label_is_zero():
    lengths = torch.tensor([[0.9, 0.1]], requires_grad=True)
    value = cross_entropy_loss(lengths, torch.zeros(1, 2))
    value.backward()
    assert value.item() == 0
    assert (lengths.grad == 0).all()


def test_cross_entropy_is_finite_at_large_scale():
    lengths = torch.tensor([[0.9, 0.1]])
    value = cross_entropy_loss(lengths, torch.tensor([[0, 1]]), scale=1e4)
    assert value.item() == pytest.approx(8e3)


@each_loss
def test_one_class(name):
    value = LOSSES[name](torch.tensor([[0.5]]), torch.tensor([[1.0]]))
    expected = _reference.LOSSES[name](np.array([0.5]), np.array([1]))
    assert value.item() == pytest.approx(expected)


@each_loss
def test_empty_batch_costs_nothing(name):
    lengths = torch.zeros(0, 3, requires_grad=True)
    value = LOSSES[name](lengths, torch.zeros(0, 3))
    value.backward()
    assert value.item() == 0


@each_loss
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3)], ids=str)
def test_targets_that_would_broadcast(name, shape):
    message = r"targets must have shape \(3, 3\), got \("
    with pytest.raises(ValueError, match=message):
        LOSSES[name](torch.ones(3, 3), torch.ones(shape))


@each_loss
def test_sample_weight_that_would_broadcast(name):
    message = r"sample_weight must have shape \(3,\), got \(3, 1\)\."
    with pytest.raises(ValueError, match=message):
        LOSSES[name](torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 1))


def _images(seed, shape=(3, 2, 4, 5)):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape))


@pytest.mark.parametrize("sample_weight", [None, WEIGHTS[:3]], ids=["plain", "weights"])
@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5), (3, 2, 4, 5)], ids=str)
def test_reconstruction_equals_reference(shape, sample_weight):
    first, second = _images(0, shape), _images(1, shape)
    losses = [
        _reference.reconstruction(*pair)
        for pair in zip(first.numpy(), second.numpy(), strict=True)
    ]
    value = reconstruction_loss(first, second, sample_weight)
    expected = _reference.average(losses, sample_weight)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_reconstruction_gradcheck():
    assert torch.autograd.gradcheck(
        lambda first: reconstruction_loss(first, _images(1), WEIGHTS[:3]),
        _images(0).requires_grad_(),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reconstruction_of_half_images_does_not_overflow(dtype):
    # 90,000 is above the largest float16.
    images = torch.zeros(1, 300, 300, dtype=dtype)
    assert reconstruction_loss(images + 1, images).item() == 90_000


def test_reconstruction_of_an_empty_batch():
    assert reconstruction_loss(torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0


def test_images_that_would_broadcast():
    message = r"images must have shape \(2, 1, 4, 4\), got \(2, 3, 4, 4\)\."
    with pytest.raises(ValueError, match=message):
        reconstruction_loss(torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4))
