import numpy as np
from reproduction.random_couplings import RandomCouplingsClassifier

from skcaps import CapsNetClassifier

from ._generated import digits

X, Y = digits()


def fit(seed, max_epochs):
    return RandomCouplingsClassifier(
        routing="learned",
        conv_channels=4,
        primary_capsules=2,
        batch_size=16,
        max_epochs=max_epochs,
        random_state=seed,
    ).fit(X, Y)


def test_couplings_are_random_and_the_same_for_all_images():
    couplings = fit(0, 1).couplings(X[:3])
    np.testing.assert_allclose(couplings.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_array_equal(couplings[0], couplings[2])
    # The softmax of ten normal numbers has a deviation of about 0.1 around 0.1.
    assert 0.05 < couplings.std() < 0.2


def test_training_leaves_the_couplings_and_trains_the_rest():
    short, long = fit(0, 1), fit(0, 3)
    np.testing.assert_array_equal(short.couplings(X[:1]), long.couplings(X[:1]))
    assert not np.allclose(short.poses(X[:1]), long.poses(X[:1]))


def test_another_seed_has_other_couplings():
    assert not np.allclose(fit(0, 1).couplings(X[:1]), fit(1, 1).couplings(X[:1]))


def test_only_what_is_trained_is_counted():
    classifier = fit(0, 1)
    prior = classifier.network_.layers[-1].routing.prior
    trained = [p for p in classifier.network_.parameters() if p.requires_grad]
    assert classifier.n_parameters_ == sum(p.numel() for p in trained)
    assert all(p is not prior for p in trained)


def test_one_iteration_of_dynamic_routing_is_the_uniform_routing():
    # Why the table of the routings has one row for both.
    dynamic, uniform = (
        CapsNetClassifier(
            conv_channels=4, primary_capsules=2, max_epochs=1, random_state=0, **given
        ).fit(X, Y)
        for given in ({"routing_iterations": 1}, {"routing": "uniform"})
    )
    np.testing.assert_array_equal(dynamic.poses(X), uniform.poses(X))
