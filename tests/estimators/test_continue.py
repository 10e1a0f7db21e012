import numpy as np
import pytest

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
