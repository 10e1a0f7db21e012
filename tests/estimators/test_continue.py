import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from ._small import X, Y, assert_same_weights, make, weights_of


def test_warm_start():
    clf = make(warm_start=True).fit(X, Y)
    network, before = clf.network_, weights_of(clf)
    clf.fit(X, Y)
    assert clf.network_ is network
    assert clf.n_epochs_ == 2
    assert [row["epoch"] for row in clf.history_] == [1, 2]
    assert any(not np.array_equal(before[k], v) for k, v in weights_of(clf).items())
    with pytest.raises(ValueError, match=r"labels \[3\] that are not in classes"):
        clf.fit(X, Y + 1)
    with pytest.raises(ValueError, match="63 features"):
        clf.fit(X[:, :63], Y)


def test_without_warm_start_fit_begins_anew():
    clf = make().fit(X, Y)
    again = make().fit(X, Y).fit(X, Y)
    assert again.n_epochs_ == 1
    assert_same_weights(clf, again)


def test_partial_fit():
    clf = make()
    for part in np.array_split(np.arange(90), 3):
        clf.partial_fit(X[part], Y[part], classes=[2, 0, 1])
    assert clf.classes_.tolist() == [0, 1, 2]
    assert clf.n_epochs_ == 3
    again = make()
    for part in np.array_split(np.arange(90), 3):
        again.partial_fit(X[part], Y[part], classes=[0, 1, 2])
    assert_same_weights(clf, again)


def test_partial_fit_of_one_class_at_a_time():
    clf = make().partial_fit(X[Y == 0], Y[Y == 0], classes=[0, 1, 2])
    clf.partial_fit(X[Y == 2], Y[Y == 2])
    assert clf.predict_proba(X).shape == (90, 3)


def test_partial_fit_rejects():
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make().partial_fit(X, Y)
    with pytest.raises(ValueError, match="set early_stopping=False"):
        make(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not in classes"):
        make().partial_fit(X, Y, classes=[0, 1])
    clf = make().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as in the first call"):
        clf.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"labels \[3\]"):
        clf.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="y must be a vector of labels, as in"):
        clf.partial_fit(X, np.eye(3, dtype=int)[Y])


@pytest.mark.parametrize(
    "changed",
    [
        {"pose_dim": 4},
        {"routing": "uniform", "decoder": None},
        {"precision": "float64"},
    ],
)
@pytest.mark.parametrize("again", ["fit", "partial_fit"])
def test_the_network_cannot_be_changed(changed, again):
    clf = make(warm_start=True).fit(X, Y).set_params(**changed)
    names = ", ".join(changed)
    with pytest.raises(ValueError, match=f"The parameters {names} have changed"):
        getattr(clf, again)(X, Y)


def test_partial_fit_follows_new_training_parameters():
    clf = make().partial_fit(X, Y, classes=[0, 1, 2])
    net = clf.net_
    assert clf.partial_fit(X, Y).net_ is net
    clf.set_params(learning_rate=1e-12).partial_fit(X, Y)
    before = weights_of(clf)["layers.0.weight"]
    clf.partial_fit(X, Y)
    np.testing.assert_allclose(weights_of(clf)["layers.0.weight"], before, atol=1e-9)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_what_fails_leaves_the_classifier_as_it_was(method):
    clf = make().fit(X, Y)
    attributes = dict(vars(clf))
    with pytest.raises(ValueError, match="labels of one kind"):
        getattr(clf, method)(X, np.array(["a", *Y[1:]], dtype=object))
    assert vars(clf) == attributes
    clf.set_params(hidden_capsules=((3,),))
    with pytest.raises(ValueError, match="hidden_capsules must hold a pair"):
        clf.fit(X, Y > 0)
    np.testing.assert_array_equal(clf.classes_, [0, 1, 2])
    assert clf.predict(X).shape == Y.shape


def test_what_fails_at_first_is_not_fitted():
    clf = make(learning_rate=1e30)
    with pytest.raises(ValueError, match="loss became"):
        clf.fit(X, Y)
    with pytest.raises(NotFittedError):
        clf.predict(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_training_that_fails_gives_the_weights_back(method):
    clf = make(warm_start=True).fit(X, Y)
    before = weights_of(clf)
    clf.set_params(learning_rate=1e30)
    with pytest.raises(ValueError, match="loss became"):
        getattr(clf, method)(X, Y)
    for name, weight in weights_of(clf).items():
        np.testing.assert_array_equal(weight, before[name], err_msg=name)
    clf.set_params(learning_rate=1e-3)
    assert np.isfinite(getattr(clf, method)(X, Y).loss_curve_).all()


def interrupt_in_batch(number):
    """Make an augmentation during which the user presses the keys."""
    seen = []

    def augmentation(images):
        seen.append(images)
        if len(seen) == number:
            raise KeyboardInterrupt
        return images

    return augmentation


def test_an_interrupt_keeps_what_was_trained():
    clf = make(max_epochs=3, batch_size=90, augmentation=interrupt_in_batch(2))
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    assert clf.n_epochs_ == len(clf.history_) == 1
    assert clf.predict(X).shape == Y.shape


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_every_training_draws_another_order(method):
    seen = []

    def note(images):
        seen.append(images.flatten(1).sum(dim=1).tolist())
        return images

    clf = make(augmentation=note, batch_size=90, warm_start=True).fit(X, Y)
    getattr(clf, method)(X, Y)
    getattr(clf, method)(X, Y)
    assert len(seen) == 3
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(seen[2])
    assert seen[0] != seen[1] != seen[2] != seen[0]


def test_epochs_are_counted_through_all_trainings():
    clf = make(max_epochs=2, warm_start=True).fit(X, Y).fit(X, Y).partial_fit(X, Y)
    assert [row["epoch"] for row in clf.history_] == [1, 2, 3, 4, 5]
    assert clf.n_epochs_ == 5


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_later_loss_for_one_class_is_refused_for_several(method):
    indicator = np.eye(3, dtype=int)[Y]
    clf = make(warm_start=True).fit(X, indicator).set_params(loss="cross_entropy")
    with pytest.raises(ValueError, match="needs one class for each image"):
        getattr(clf, method)(X, indicator)


def test_lists_and_tuples_are_the_same_network():
    clf = make(hidden_capsules=[(4, 8)], warm_start=True).fit(X, Y)
    clf.set_params(hidden_capsules=((4, 8),), conv_channels=[32, 64, 64, 128])
    assert clf.fit(X, Y).partial_fit(X, Y).n_epochs_ == 3
