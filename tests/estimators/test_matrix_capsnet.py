"""The matrix capsule network behind the same methods."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skcaps
from skcaps import CapsNetClassifier, MatrixCapsNetClassifier
from skcaps.estimators._objective import Objective, Settings
from skcaps.functional import spread_loss

from ._small import X, Y, assert_same_weights

SMALL = {
    "conv_channels": 6,
    "primary_capsules": 2,
    "hidden_capsules": ((3, 16),),
    "max_epochs": 1,
    "random_state": 0,
}
SEVERAL = np.stack([Y == 0, Y <= 1], axis=1).astype(int)

each_routing = pytest.mark.parametrize("routing", ["em", "vb"])


def make(**params):
    return MatrixCapsNetClassifier(**{**SMALL, **params})


@each_routing
def test_outputs(routing):
    clf = make(routing=routing).fit(X, Y)
    active = clf.activations(X)
    assert active.shape == (len(X), 3)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[active.argmax(axis=1)])
    assert clf.transform(X).shape == (len(X), 48)
    np.testing.assert_allclose(clf.couplings(X).sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@each_routing
def test_kept_and_loaded(routing, tmp_path):
    clf = make(routing=routing).fit(X, Y)
    skcaps.save(clf, tmp_path / "clf")
    for other in (skcaps.load(tmp_path / "clf"), pickle.loads(pickle.dumps(clf))):
        assert_same_weights(clf, other)
        np.testing.assert_array_equal(clf.activations(X), other.activations(X))


def test_search_in_a_pipeline():
    pipeline = make_pipeline(FunctionTransformer(), make())
    grid = {"matrixcapsnetclassifier__routing": ["em", "vb"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.predict(X).shape == Y.shape


@each_routing
@pytest.mark.parametrize("sides", [(1, 2), (3, 3), (5, 40)])
@pytest.mark.parametrize("hidden", [(), ((3, 16),)])
def test_any_image_size(routing, sides, hidden):
    images = np.random.default_rng(0).random((12, *sides), dtype=np.float32)
    clf = make(routing=routing, hidden_capsules=hidden)
    assert clf.fit(images, np.arange(12) % 3).lengths(images).shape == (12, 3)


@each_routing
def test_several_classes_in_an_image(routing):
    clf = make(routing=routing).fit(X, SEVERAL)
    np.testing.assert_array_equal(clf.predict(X), clf.activations(X) > 0.5)


@each_routing
def test_predicts_some_images_at_a_time(routing):
    clf, seen = make(routing=routing).fit(X, Y), []
    clf.network_.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    many = np.concatenate([X] * 5)
    clf.predict(many)
    assert len(many) > 4 * max(seen)


def test_decoder():
    clf = make(decoder="dense").fit(X, Y)
    assert clf.reconstruct(X).shape == X.shape


@pytest.mark.parametrize(
    ("routing", "y", "expected"),
    [
        ("em", Y, "spread"),
        ("vb", Y, "cross_entropy"),
        ("em", SEVERAL, "margin"),
        ("vb", SEVERAL, "margin"),
    ],
)
def test_loss_of_the_papers(routing, y, expected):
    one = make(routing=routing).fit(X, y)
    assert_same_weights(one, make(routing=routing, loss=expected).fit(X, y))
    assert one._fitted.loss == expected


@pytest.mark.parametrize("routing", ["dynamic", "self"])
def test_other_routings(routing):
    with pytest.raises(ValueError, match=r"'routing' parameter .* must be a str among"):
        make(routing=routing).fit(X, Y)


def test_poses_are_matrices_of_four_rows():
    with pytest.raises(ValueError, match=r"choose multiples of 4\.$"):
        make(pose_dim=6).fit(X, Y)


# --- the margin that rises ------------------------------------------------------------


def _loss_at(progress, loss="spread"):
    clf = make(loss=loss).fit(X, Y)
    settings = clf.net_.criterion_.settings
    (batch,) = clf.net_.get_iterator(_first_batch(clf))
    objective = Objective(Settings(*settings))
    with torch.no_grad():
        value, found = objective(clf.network_, batch, progress)
    return value, found, batch.targets


def _first_batch(clf):
    from skcaps.estimators._dataset import ImageDataset

    fitted = clf._fitted
    return ImageDataset(
        X[:16],
        fitted.labels.encode(Y[:16]),
        None,
        layout=fitted.layout,
        input_range=fitted.input_range,
        labels=fitted.labels,
        machine=fitted.machine,
        sources=None,
    )


@pytest.mark.parametrize(
    ("progress", "margin"), [(None, 0.9), (0.0, 0.2), (0.5, 0.55), (1.0, 0.9)]
)
def test_margin(progress, margin):
    share = None if progress is None else torch.tensor(progress)
    value, found, targets = _loss_at(share)
    torch.testing.assert_close(value, spread_loss(found, targets, margin=margin))


@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_other_losses_do_not_change(loss):
    start, *_ = _loss_at(torch.tensor(0.0), loss)
    assert start == _loss_at(None, loss)[0]


@pytest.mark.parametrize("build", [CapsNetClassifier, MatrixCapsNetClassifier])
def test_margin_follows_the_steps(build, monkeypatch):
    seen = []
    forward = Objective.forward

    def spy(self, network, batch, progress=None):
        seen.append(None if progress is None else progress.item())
        return forward(self, network, batch, progress)

    monkeypatch.setattr(Objective, "forward", spy)
    params = {"conv_channels": 4, "primary_capsules": 2, "batch_size": 45}
    clf = build(max_epochs=2, loss="spread", random_state=0, **params).fit(X, Y)
    assert seen == [0.25, 0.5, 0.75, 1.0]
    # Where no end is known the margin is the last one.
    seen.clear()
    clf.partial_fit(X[:45], Y[:45])
    assert seen == [None]
