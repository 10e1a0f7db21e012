import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skcaps.estimators._fitted import FittedNetwork
from skcaps.functional import Routed, lengths

from ._small import X, Y, make, make_capsnet

INDICATOR = np.stack([Y == 0, Y != 1, Y == 2], axis=1).astype(int)


@pytest.fixture(scope="module", params=[make, make_capsnet], ids=["efficient", "caps"])
def fitted(request):
    return request.param(max_epochs=3).fit(X, Y)


@pytest.fixture(scope="module")
def multilabel():
    return make(max_epochs=3).fit(X, INDICATOR)


def test_one_score_stands_behind_all(fitted):
    poses, lengths = fitted.poses(X), fitted.lengths(X)
    np.testing.assert_allclose(lengths, np.linalg.norm(poses, axis=2), rtol=1e-5)
    assert (lengths >= 0).all()
    assert (lengths < 1).all()
    proba = fitted.predict_proba(X)
    odds = lengths / (1 - lengths)
    np.testing.assert_allclose(proba, odds / odds.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(fitted.decision_function(X), lengths)
    np.testing.assert_array_equal(fitted.predict(X), lengths.argmax(axis=1))
    np.testing.assert_array_equal(fitted.transform(X), poses.reshape(len(X), -1))


@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_two_classes_have_one_score(loss):
    part = Y < 2
    clf = make(max_epochs=3, loss=loss).fit(X[part], Y[part])
    proba, scores = clf.predict_proba(X), clf.decision_function(X)
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-5)
    np.testing.assert_array_equal(clf.predict(X), scores > 0)
    lengths = clf.lengths(X).astype(float)
    odds = np.log(lengths / (1 - lengths))
    logits = {"margin": odds, "cross_entropy": 10 * lengths}[loss]
    np.testing.assert_allclose(scores, logits[:, 1] - logits[:, 0], atol=1e-4)


def test_cross_entropy_predicts_the_softmax_that_it_trained():
    clf = make(max_epochs=3, loss="cross_entropy").fit(X, Y)
    powers = np.exp(10 * clf.lengths(X))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
    # What the network was trained with counts, not what the next one will be.
    clf.set_params(loss="margin")
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(clf)).predict_proba(X), expected, rtol=1e-5
    )


@pytest.mark.parametrize("y", [Y, INDICATOR, Y == 0], ids=["3", "multi", "2"])
@pytest.mark.parametrize("length", [0.0, 1.0, 1.0000001, 1.5])
def test_scores_are_finite_at_the_ends(y, length):
    clf = make().fit(X, y)
    n_classes = len(clf.classes_)

    def saturated(images, *args):
        poses = torch.zeros(len(images), n_classes, 16)
        poses[:, 1, 0] = length
        return Routed(poses, None, lengths(poses))

    clf.network_.forward = saturated
    proba = clf.predict_proba(X)
    for found in (proba, clf.decision_function(X), clf.activations(X)):
        assert np.isfinite(found).all()
    assert (proba >= 0).all()
    assert (proba <= 1).all()
    assert (clf.activations(X) < 1).all()
    assert (clf.lengths(X) < 1).all()
    if proba.shape[1] != 3 or y is Y:
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)


def test_activations_that_are_no_numbers_are_told():
    clf = make().fit(X, Y)

    def broken(images, *args):
        poses = torch.zeros(len(images), 3, 16)
        return Routed(poses, None, torch.full((len(images), 3), torch.nan))

    clf.network_.forward = broken
    with pytest.raises(ValueError, match="output is not finite"):
        clf.predict(X)


def test_only_what_is_asked_for_is_kept(fitted, multilabel, monkeypatch):
    kept = []
    original = FittedNetwork.map

    def run(*args):
        results = original(*args)
        kept.append((results.shape, results.dtype))
        return results

    monkeypatch.setattr(FittedNetwork, "map", run)
    fitted.predict(X)
    fitted.predict_proba(X)
    fitted.score(X, Y)
    multilabel.predict(X)
    numbers, shares = ((90,), np.int64), ((90, 3), np.float32)
    assert kept == [numbers, shares, numbers, ((90, 3), np.bool_)]


def test_network_gives_the_poses(fitted):
    images = torch.from_numpy(X / 16).float().view(-1, 1, 8, 8)
    with torch.no_grad():
        expected = fitted.network_(images)
    np.testing.assert_allclose(fitted.poses(X), expected.poses, atol=1e-5)
    np.testing.assert_allclose(fitted.couplings(X), expected.coupling, atol=1e-5)


def test_couplings_sum_to_one_plus_the_prior(fitted):
    sums = fitted.couplings(X).sum(axis=2)
    prior = getattr(fitted.network_.layers[-1].routing, "prior", None)
    expected = 1 if prior is None else 1 + prior.detach().sum(dim=1).numpy()
    np.testing.assert_allclose(sums, np.broadcast_to(expected, sums.shape), rtol=1e-5)


def test_entropy_is_that_of_the_couplings(fitted):
    shares = fitted.couplings(X).clip(min=0).astype(float)
    shares /= shares.sum(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(shares > 0, shares * np.log(shares), 0)
    expected = -terms.sum(axis=2).mean(axis=1) / np.log(3)
    found = fitted.coupling_entropy(X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found >= 0).all()
    assert (found <= 1 + 1e-6).all()


def test_uniform_routing_has_entropy_one():
    clf = make_capsnet(routing="uniform").fit(X, Y)
    np.testing.assert_allclose(clf.coupling_entropy(X[:5]), 1, rtol=1e-6)


def test_more_iterations_decide_more():
    clf = make_capsnet(max_epochs=5).fit(X, Y)
    entropies = []
    for iterations in (1, 2, 4):
        clf.network_.layers[-1].routing.iterations = iterations
        entropies.append(clf.coupling_entropy(X).mean())
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[0] == pytest.approx(1)
    assert entropies[2] < 0.999


def test_reconstruct_draws_the_chosen_capsule(fitted):
    poses = torch.from_numpy(fitted.poses(X))
    chosen = np.roll(Y, 1)
    masked = torch.zeros_like(poses)
    rows = np.arange(len(X))
    masked[rows, chosen] = poses[rows, chosen]
    with torch.no_grad():
        expected = 16 * fitted.network_.decoder(masked.flatten(1)).flatten(1).numpy()
    np.testing.assert_allclose(fitted.reconstruct(X, chosen), expected, atol=1e-4)
    np.testing.assert_array_equal(
        fitted.reconstruct(X), fitted.reconstruct(X, fitted.predict(X))
    )


def test_reconstruction_error_is_the_summed_square_in_unit_values(fitted):
    expected = (((fitted.reconstruct(X) - X) / 16) ** 2).sum(axis=1)
    np.testing.assert_allclose(fitted.reconstruction_error(X), expected, rtol=1e-4)
    as_images = fitted.reconstruction_error(X.reshape(-1, 8, 8))
    np.testing.assert_allclose(as_images, expected, rtol=1e-4)
    other = fitted.reconstruction_error(X, np.roll(Y, 1))
    assert not np.allclose(other, expected)


def test_sweep_of_nothing_is_the_reconstruction(fitted):
    swept = fitted.sweep_pose(X[:4], 3, [-0.2, 0, 0.2])
    assert swept.shape == (4, 3, 64)
    np.testing.assert_allclose(swept[:, 1], fitted.reconstruct(X[:4]), atol=1e-4)
    assert not np.allclose(swept[:, 0], swept[:, 2], atol=1e-3)


@pytest.mark.parametrize("dimension", [-1, 16])
def test_sweep_rejects_other_dimensions(fitted, dimension):
    message = f"dimension must be from 0 to 15, got {dimension}"
    with pytest.raises(ValueError, match=message):
        fitted.sweep_pose(X[:1], dimension, [0])


def test_multilabel_draws_each_class_alone(multilabel):
    both = multilabel.reconstruct(X[:6], np.tile([1, 0, 1], (6, 1)))
    first = multilabel.reconstruct(X[:6], np.tile([1, 0, 0], (6, 1)))
    third = multilabel.reconstruct(X[:6], np.tile([0, 0, 1], (6, 1)))
    np.testing.assert_allclose(both, np.minimum(first + third, 16), atol=1e-3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1, 0, 0]], "y must be a vector of labels, as in the first call"),
        ([7], r"labels \[7\] that are not in classes"),
    ],
)
def test_reconstruct_rejects_labels(fitted, labels, message):
    with pytest.raises(ValueError, match=message):
        fitted.reconstruct(X[:1], labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1], "y must be an indicator of zeros and ones, as in"),
        ([[1, 0]], "y must have 3 columns"),
    ],
)
def test_reconstruct_rejects_indicators(multilabel, labels, message):
    with pytest.raises(ValueError, match=message):
        multilabel.reconstruct(X[:1], labels)


def test_without_decoder_nothing_is_drawn():
    clf = make(decoder=None).fit(X, Y)
    for draw in (clf.reconstruct, clf.reconstruction_error):
        with pytest.raises(ValueError, match="no decoder; fit it with decoder="):
            draw(X)


def test_labels_to_draw_are_one_for_each_image(fitted):
    with pytest.raises(ValueError, match="classes to decode of 4 images, got 3"):
        fitted.reconstruct(X[:4], Y[:3])


def test_a_single_value_to_sweep(fitted):
    assert fitted.sweep_pose(X[:2], 0, 0.1).shape == (2, 1, 64)
    with pytest.raises(ValueError, match=r"from 0 to 15, got 0\.5"):
        fitted.sweep_pose(X[:2], 0.5, 0.1)


def test_an_image_has_the_same_numbers_alone_and_in_a_batch(fitted):
    # To the bit, which for images of few numbers costs little.
    for part in (slice(0, 1), slice(3, 10)):
        for method in (fitted.lengths, fitted.poses, fitted.reconstruct):
            np.testing.assert_array_equal(method(X[part]), method(X)[part])


@pytest.mark.parametrize(
    "name", ["classes_", "network_", "image_shape_", "input_range_", "device_"]
)
def test_what_fit_finds_is_not_there_before(name):
    clf = make_capsnet()
    assert not hasattr(clf, name)
    with pytest.raises(
        NotFittedError, match="CapsNetClassifier instance is not fitted"
    ):
        getattr(clf, name)
