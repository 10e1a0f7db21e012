"""Networks start able to learn, whatever the classes, the brightness and the routing.

Seconds long, so these are no measurements: those are in `benchmarks/learning.py`.
"""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.nn import DECODERS, ROUTINGS, efficient_capsnet

X, Y = load_digits(n_class=2, return_X_y=True)
X_TRAIN, Y_TRAIN, X_TEST, Y_TEST = X[:128], Y[:128], X[128:], Y[128:]
NETWORKS = pytest.mark.parametrize(
    "make", [CapsNetClassifier, EfficientCapsNetClassifier]
)


def dark(X):
    """One hot pixel in the first image, so that the rest is nearly black."""
    X = X.copy()
    X[0, 0] = 100 * X.max()
    return X


def bright(X):
    return X.max() - X


@pytest.mark.filterwarnings("ignore:The values of X")
@NETWORKS
@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("change", [np.asarray, dark, bright])
def test_two_classes_are_learned(make, routing, change):
    clf = make(routing=routing, max_epochs=8, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clf.fit(change(X_TRAIN), Y_TRAIN)
    X_new = bright(X_TEST) if change is bright else X_TEST
    assert clf.score(X_new, Y_TEST) >= 0.95


@NETWORKS
def test_hidden_capsules_are_learned(make):
    X, y = load_digits(return_X_y=True)
    clf = make(hidden_capsules=((16, 8),), max_epochs=8, random_state=0)
    clf.fit(X[:500], y[:500])
    assert clf.score(X[500:900], y[500:900]) >= 0.75


@NETWORKS
def test_partial_fit_learns_too(make):
    clf = make(random_state=0)
    for _ in range(8):
        clf.partial_fit(X_TRAIN, Y_TRAIN, classes=[0, 1])
    assert clf.score(X_TEST, Y_TEST) >= 0.95


@NETWORKS
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_lives(make, decoder):
    clf = make(decoder=decoder, max_epochs=24, random_state=0).fit(X_TRAIN, Y_TRAIN)
    drawn = clf.reconstruct(X_TRAIN, Y_TRAIN)
    error = np.square(drawn - X_TRAIN).sum(axis=1).mean()
    mean_image = np.square(X_TRAIN.mean(axis=0) - X_TRAIN).sum(axis=1).mean()
    assert error < 0.8 * mean_image
    assert drawn.max() > 0.5 * X_TRAIN.max()


def test_papers_values_are_reachable_by_name():
    fitted = CapsNetClassifier(
        conv_channels=16, initialization="paper", learning_rate=1e-30, random_state=0
    ).fit(X_TRAIN, Y_TRAIN)
    stem = fitted.network_.stem.conv
    assert (stem.bias == 0.1).all()
    other = CapsNetClassifier(
        conv_channels=16, learning_rate=1e-30, random_state=0
    ).fit(X_TRAIN, Y_TRAIN)
    assert not (other.network_.stem.conv.bias == 0.1).all()


def test_published_efficient_capsnet_keeps_the_papers_values():
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 1, 28, 28)), np.arange(20) % 10
    options = {"max_epochs": 1, "learning_rate": 1e-30, "random_state": 0}
    by_default = EfficientCapsNetClassifier(**options).fit(X, y)
    papers = EfficientCapsNetClassifier(initialization="paper", **options).fit(X, y)
    calibrated = EfficientCapsNetClassifier(initialization="calibrated", **options).fit(
        X, y
    )
    weight = by_default.network_.layers[0].weight
    assert torch.equal(weight, papers.network_.layers[0].weight)
    assert not torch.equal(weight, calibrated.network_.layers[0].weight)
    std = efficient_capsnet((1, 28, 28), 10).layers[0].weight.std()
    assert weight.std().item() == pytest.approx(std.item(), rel=0.05)


def test_a_training_that_collapses_says_so():
    clf = CapsNetClassifier(
        conv_channels=16,
        initialization="paper",
        learning_rate=1.0,
        learning_rate_warmup=0,
        max_epochs=2,
        random_state=0,
    )
    message = r"learned nothing: .*Try more max_epochs or a learning_rate below 1, and"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        clf.fit(X_TRAIN, Y_TRAIN)
    assert caught[0].filename == __file__


def test_what_was_trained_is_kept_where_warnings_are_errors():
    clf = CapsNetClassifier(conv_channels=16, max_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="learned nothing"):
            clf.fit(np.ones_like(X_TRAIN), Y_TRAIN)
    assert clf.n_epochs_ == 1
    assert clf.predict(np.ones_like(X_TEST)).shape == Y_TEST.shape


def test_labels_without_a_pattern_say_so():
    same = np.ones_like(X_TRAIN)
    with pytest.warns(ConvergenceWarning, match="activations are alike for all of 128"):
        CapsNetClassifier(conv_channels=16, max_epochs=1, random_state=0).fit(
            same, Y_TRAIN
        )


def test_an_indicator_that_is_not_learned_says_so():
    indicator = np.eye(2, dtype=int)[Y_TRAIN]
    clf = CapsNetClassifier(
        conv_channels=16, learning_rate=1e-9, max_epochs=1, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="right for .* of 128 training images"):
        clf.fit(X_TRAIN, indicator)


@NETWORKS
def test_no_warning_where_something_is_learned(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        make(max_epochs=8, random_state=0).fit(X_TRAIN, Y_TRAIN)
