"""Every routing behind the same methods."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skcaps
from skcaps.nn import ROUTINGS, ActivationRouting

from ._small import X, Y, make, make_capsnet

ACTIVATION = [
    name for name, kind in ROUTINGS.items() if issubclass(kind, ActivationRouting)
]

SEVERAL = np.stack([Y == 0, Y <= 1], axis=1).astype(int)

each_routing = pytest.mark.parametrize("routing", ROUTINGS)
each_activation = pytest.mark.parametrize("routing", ACTIVATION)
each_network = pytest.mark.parametrize("build", [make, make_capsnet])


@each_network
@each_routing
def test_activations_decide(build, routing):
    clf = build(routing=routing, hidden_capsules=((5, 4),)).fit(X, Y)
    active = clf.activations(X)
    assert active.shape == (len(X), 3)
    assert active.dtype == np.float32
    assert active.min() >= 0
    assert active.max() < 1
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[active.argmax(axis=1)])
    np.testing.assert_array_equal(clf.decision_function(X), active)
    odds = active / (1 - active.astype(float))
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-4)
    norms = np.linalg.norm(clf.poses(X), axis=2)
    np.testing.assert_allclose(clf.lengths(X), norms, rtol=1e-5)


@each_routing
def test_lengths_are_activations_where_poses_are_squashed(routing):
    clf = make(routing=routing).fit(X, Y)
    same = np.array_equal(clf.lengths(X), clf.activations(X))
    assert same == (routing not in ACTIVATION)


@each_activation
def test_what_is_active_is_decoded(routing):
    clf = make(routing=routing).fit(X, Y)
    decoded = clf.reconstruct(X)
    np.testing.assert_array_equal(decoded, clf.reconstruct(X, clf.predict(X)))
    still = clf.sweep_pose(X, 0, [0.0])[:, 0]
    np.testing.assert_allclose(still, decoded, rtol=1e-6)


@pytest.mark.parametrize("routing", [name for name in ROUTINGS if name != "self"])
def test_several_classes_in_an_image(routing):
    clf = make(routing=routing).fit(X, SEVERAL)
    np.testing.assert_array_equal(clf.predict(X), clf.activations(X) > 0.5)


def test_what_shares_one_presence_refuses_several_classes():
    message = r"^routing='self' shares one presence .*; use another routing\.$"
    with pytest.raises(ValueError, match=message):
        make(routing="self").fit(X, SEVERAL)


def test_inverted_attention_needs_a_pose_of_two_numbers():
    with pytest.raises(ValueError, match=r"at least 2, got 1; raise pose_dim\.$"):
        make(routing="inverted_attention", pose_dim=1).fit(X, Y)


@each_activation
@pytest.mark.parametrize("loss", ["margin", "spread", "cross_entropy"])
def test_every_loss_changes_every_parameter(routing, loss):
    # Beyond its start, and where a parent's score alone would not tell.
    before = make(routing=routing, loss=loss, learning_rate=1e-30).fit(X, Y)
    after = make(routing=routing, loss=loss).fit(X, Y)
    pairs = zip(
        before.network_.layers[-1].named_parameters(),
        after.network_.layers[-1].parameters(),
        strict=True,
    )
    for (name, old), new in pairs:
        assert new.isfinite().all(), name
        assert not np.array_equal(old.detach(), new.detach()), name


@each_routing
@pytest.mark.parametrize("share_weight", [False, True])
def test_kept_and_copied(routing, share_weight, tmp_path):
    clf = make(routing=routing, routing_iterations=2, share_weight=share_weight)
    clf.fit(X, Y)
    skcaps.save(clf, tmp_path / "clf.skcaps")
    loaded = skcaps.load(tmp_path / "clf.skcaps")
    for other in (loaded, pickle.loads(pickle.dumps(clf)), clone(clf).fit(X, Y)):
        np.testing.assert_array_equal(other.activations(X), clf.activations(X))


@each_network
def test_a_shared_weight_is_one_matrix_a_parent(build):
    counts = [
        build(decoder=None, share_weight=share, routing="uniform").fit(X, Y)
        for share in (False, True)
    ]
    apart, shared = (clf.network_.layers[0].weight for clf in counts)
    assert shared.shape == (1, *apart.shape[1:])
    fewer = counts[0].n_parameters_ - counts[1].n_parameters_
    assert fewer == apart.numel() - shared.numel()


@each_network
def test_a_grid_of_routings_and_iterations(build):
    grid = [
        {"routing": ["self", "uniform"], "share_weight": [False, True]},
        {"routing": ["em", "leaky_dynamic"], "routing_iterations": [1, 2]},
    ]
    search = GridSearchCV(build(), grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 8
    best = search.best_estimator_
    chosen = {key: getattr(best, key) for key in search.best_params_}
    assert chosen == search.best_params_
    layer = best.network_.layers[0]
    assert type(layer.routing) is ROUTINGS[best.routing]
    assert layer.routing.iterations == best.routing_iterations
