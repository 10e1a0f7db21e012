import numpy as np
import pytest
import torch
from reproduction.cnn import (
    ARCHITECTURES,
    CNNClassifier,
    CrossEntropy,
    count_parameters,
)
from sklearn.base import clone

from skcaps.estimators._labels import MultiLabel, SingleLabel
from skcaps.estimators._machine import Machine
from skcaps.estimators._objective import Batch
from skcaps.nn import capsnet, efficient_capsnet

from ._generated import digits

X, Y = digits()
MACHINE = Machine("cpu", torch.device("cpu"), "float32", False)
TINY = {"channels": (4, 4, 4, 16)}


def make(**parameters):
    return CNNClassifier(
        sizes=TINY, batch_size=16, random_state=0, **{"max_epochs": 1, **parameters}
    )


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 36, 36), (1, 40, 40), (2, 48, 48)])
def test_the_small_cnn_has_the_size_of_efficient_capsnet(shape):
    n_classes = 5 if shape[0] == 2 else 10
    wanted = count_parameters(efficient_capsnet(shape, n_classes, decoder=None))
    found = count_parameters(ARCHITECTURES["small"](shape, n_classes))
    assert found == pytest.approx(wanted, abs=70)


def test_the_large_cnn_has_the_size_of_capsnet():
    wanted = count_parameters(capsnet((1, 28, 28), 10, decoder=None))
    found = count_parameters(ARCHITECTURES["large"]((1, 28, 28), 10))
    assert found == 6_805_994
    assert found == pytest.approx(wanted, rel=1e-3)


def test_the_cnn_of_the_paper_has_its_number_of_parameters():
    found = count_parameters(ARCHITECTURES["paper"]((1, 28, 28), 10))
    assert round(found / 1e6, 1) == 35.4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_scores_the_classes(name):
    sizes = {"small": TINY, "large": {"channels": 4, "width": 8}}.get(name, {})
    network = ARCHITECTURES[name]((1, 28, 28), 10, **sizes)
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_it_learns():
    classifier = make(max_epochs=30).fit(X, Y)
    assert classifier.score(X, Y) > 0.9
    losses = [row["train_loss"] for row in classifier.history_]
    assert losses[-1] < losses[0] / 2


def test_it_learns_several_labels_of_an_image():
    pairs = np.eye(10, dtype=int)[Y] | np.eye(10, dtype=int)[(Y + 1) % 10]
    classifier = make(max_epochs=30).fit(X, pairs)
    assert (classifier.predict(X) == pairs).mean() > 0.9


def test_a_seed_repeats_and_another_does_not():
    scores = make().fit(X, Y).decision_function(X)
    np.testing.assert_array_equal(scores, make().fit(X, Y).decision_function(X))
    other = make().set_params(random_state=1).fit(X, Y).decision_function(X)
    assert np.abs(scores - other).max() > 1e-3


def test_predictions_do_not_depend_on_the_other_images():
    classifier = clone(make()).fit(X, Y)
    np.testing.assert_allclose(
        classifier.decision_function(X)[:3],
        classifier.decision_function(X[:3]),
        atol=1e-5,
    )


def test_the_rate_falls_as_that_of_the_capsule_networks():
    history = make(max_epochs=4, learning_rate=0.1).fit(X, Y).history_
    rates = [row["learning_rate"] for row in history]
    # In so few steps.
    np.testing.assert_allclose(rates, [0.1 * 0.3 ** (n / 4) for n in range(4)])


def test_the_loss_is_the_cross_entropy():
    batch = Batch(torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 0.0]]), None, ())
    scores = torch.tensor([[0.0, 3.0]])
    loss, _ = CrossEntropy(SingleLabel(np.arange(2)), MACHINE)(
        lambda images: scores, batch
    )
    assert loss.item() == pytest.approx(np.log(1 + np.exp(3.0)))
    loss, _ = CrossEntropy(MultiLabel(np.arange(2)), MACHINE)(
        lambda images: scores, batch
    )
    assert loss.item() == pytest.approx(np.log(2) + np.log(1 + np.exp(3.0)))
