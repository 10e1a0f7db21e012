import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    MAP_LOSSES,
    dice_loss,
    pixel_cross_entropy_loss,
    pixel_margin_loss,
)

RNG = np.random.default_rng(0)
LENGTHS = torch.as_tensor(RNG.uniform(0.02, 0.98, size=(2, 2, 3, 4)))
MASKS = torch.as_tensor(RNG.integers(-1, 3, size=(2, 3, 4)))
WEIGHT = torch.tensor([0.5, 2.0, 3.0]).double()
each_loss = pytest.mark.parametrize("name", sorted(MAP_LOSSES))


def mean_over_pixels(cost, weight):
    """Sum the costs of both capsules of every known pixel, one after the other."""
    total, n_known = 0.0, 0
    for image, row, column in np.ndindex(*MASKS.shape):
        label = int(MASKS[image, row, column])
        if label < 0:
            continue
        n_known += 1
        for capsule in range(2):
            length = float(LENGTHS[image, capsule, row, column])
            total += float(weight[label]) * cost(length, label == capsule + 1)
    return total / n_known


def cross_entropy(length, is_present):
    return -math.log(length if is_present else 1 - length)


def margin(length, is_present):
    if is_present:
        return max(0, 0.9 - length) ** 2
    return 0.5 * max(0, length - 0.1) ** 2


@pytest.mark.parametrize(
    ("loss", "cost"),
    [(pixel_cross_entropy_loss, cross_entropy), (pixel_margin_loss, margin)],
)
def test_losses_equal_loop(loss, cost):
    expected = mean_over_pixels(cost, [1, 1, 1])
    assert loss(LENGTHS, MASKS).item() == pytest.approx(expected, abs=1e-12)
    expected = mean_over_pixels(cost, WEIGHT)
    assert loss(LENGTHS, MASKS, WEIGHT).item() == pytest.approx(expected, abs=1e-12)


def test_dice_loss_equals_its_definition():
    known = (MASKS >= 0).numpy()
    found = []
    for capsule in range(2):
        lengths = LENGTHS[:, capsule].numpy()[known]
        present = MASKS.numpy()[known] == capsule + 1
        both, either = lengths[present].sum(), lengths.sum() + present.sum()
        found.append((2 * both + 1) / (either + 1))
    assert_close(dice_loss(LENGTHS, MASKS).item(), 1 - np.mean(found))
    expected = 1 - np.average(found, weights=[2, 3])
    assert_close(dice_loss(LENGTHS, MASKS, WEIGHT).item(), expected)


def test_right_lengths_cost_no_dice():
    masks = torch.tensor([[[0, 1], [1, 0]]])
    assert_close(dice_loss((masks == 1).double()[:, None], masks).item(), 0.0)
    assert_close(dice_loss(torch.zeros(1, 1, 2, 2), 0 * masks).item(), 0.0)


@each_loss
def test_unknown_pixels_get_no_gradient(name):
    lengths = LENGTHS.clone().requires_grad_()
    MAP_LOSSES[name](lengths, MASKS, WEIGHT).backward()
    unknown = (MASKS < 0).unsqueeze(1).expand_as(lengths)
    assert (lengths.grad[unknown] == 0).all()
    assert (lengths.grad[~unknown] != 0).any()


@each_loss
def test_nothing_known_costs_nothing(name):
    lengths = LENGTHS.clone().requires_grad_()
    loss = MAP_LOSSES[name](lengths, torch.full_like(MASKS, -1))
    loss.backward()
    assert loss == 0
    assert (lengths.grad == 0).all()


@each_loss
def test_gradients(name):
    lengths = LENGTHS.clone().requires_grad_()
    loss = MAP_LOSSES[name]
    assert torch.autograd.gradcheck(lambda x: loss(x, MASKS, WEIGHT), lengths)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lengths_of_zero_and_one_are_finite(name, dtype):
    lengths = torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]], dtype=dtype, requires_grad=True)
    loss = MAP_LOSSES[name](lengths, torch.tensor([[[0, 0, 1, 1]]]))
    loss.backward()
    assert loss.isfinite()
    assert lengths.grad.isfinite().all()


@each_loss
def test_says_what_is_wrong(name):
    with pytest.raises(ValueError, match=r"masks must have shape \(2, 3, 4\), got"):
        MAP_LOSSES[name](LENGTHS, MASKS[:1])
    with pytest.raises(ValueError, match=r"class_weight must have shape \(3,\), got"):
        MAP_LOSSES[name](LENGTHS, MASKS, WEIGHT[:2])
