import itertools

import numpy as np
import pytest
import torch

from skcaps.functional import LOGITS, LOSSES, cross_entropy_loss, odds_logits


def exactly_one(lengths):
    """Probability of each class, counted over all sets of classes that may be there."""
    found = np.zeros(len(lengths))
    for present in itertools.product([0, 1], repeat=len(lengths)):
        if sum(present) == 1:
            found[present.index(1)] = np.prod(np.where(present, lengths, 1 - lengths))
    return found / found.sum()


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_softmax_is_the_probability_that_exactly_one_is_there(n_classes):
    lengths = np.random.default_rng(n_classes).random(n_classes)
    found = odds_logits(torch.from_numpy(lengths)).softmax(dim=0)
    np.testing.assert_allclose(found, exactly_one(lengths), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_ends_are_finite_and_in_order(dtype):
    lengths = torch.tensor([0.0, 0.5, 1.0], dtype=dtype)
    found = odds_logits(lengths)
    assert torch.isfinite(found).all()
    assert found[1] == 0
    assert (found.diff() > 10).all()
    assert found.dtype == (dtype if dtype == torch.float64 else torch.float32)


def test_cross_entropy_has_the_softmax_that_it_trains():
    lengths = torch.rand(5, 4, dtype=torch.float64)
    targets = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]]
    probabilities = LOGITS["cross_entropy"](lengths).softmax(dim=1)
    expected = -(targets * probabilities.log()).sum(dim=1).mean()
    torch.testing.assert_close(cross_entropy_loss(lengths, targets), expected)


def test_every_loss_has_its_logits():
    assert LOGITS.keys() == LOSSES.keys()


@pytest.mark.parametrize("loss", sorted(LOGITS))
def test_logits_rank_like_lengths(loss):
    lengths = torch.linspace(0, 1, 100)
    assert (LOGITS[loss](lengths).diff() > 0).all()
