import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from ._small import X, Y, assert_same_weights, make

INDICATOR = np.eye(3, dtype=int)[Y]
NAMES = np.array(["a", "b", "c"])[Y]


def with_missing(values, dtype):
    series = pd.Series(values, dtype=dtype)
    series[3] = None
    return series


@pytest.mark.parametrize(
    "indicator",
    [
        INDICATOR.astype(bool),
        INDICATOR.astype(float),
        INDICATOR.astype(object),
        sparse.csr_matrix(INDICATOR),
        sparse.csr_array(INDICATOR.astype(bool)),
        pd.DataFrame(INDICATOR),
    ],
    ids=["bool", "float", "object", "sparse", "sparse bool", "frame"],
)
def test_an_indicator_of_any_kind(indicator):
    assert_same_weights(make().fit(X, INDICATOR), make().fit(X, indicator))


@pytest.mark.parametrize(
    ("indicator", "values"),
    [
        (2 * INDICATOR - 1, r"\[-1, 1\]"),
        (255 * INDICATOR, r"\[0, 255\]"),
        (INDICATOR + 1, r"\[1, 2\]"),
        (sparse.csr_matrix(2 * INDICATOR), r"\[0, 2\]"),
    ],
)
def test_an_indicator_of_other_values(indicator, values):
    message = f"indicator of zeros and ones .* got the values {values}"
    with pytest.raises(ValueError, match=message):
        make().fit(X, indicator)
    clf = make().partial_fit(X, INDICATOR, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(X, indicator)


@pytest.mark.parametrize(
    ("labels", "classes", "kind"),
    [
        (Y.astype(object), [0, 1, 2], "i"),
        ((Y == 0).astype(object), [False, True], "b"),
        (Y.astype(float).astype(object), [0.0, 1.0, 2.0], "f"),
        (pd.Series(Y, dtype="Int64"), [0, 1, 2], "i"),
        (pd.Series(Y == 0, dtype="boolean"), [False, True], "b"),
        (pd.Series(NAMES, dtype="string"), ["a", "b", "c"], "O"),
        (pd.Series(NAMES).astype("category"), ["a", "b", "c"], "O"),
        (pd.Series(Y).astype("category"), [0, 1, 2], "i"),
        ([bool(value) for value in Y == 0], [False, True], "b"),
    ],
    ids=lambda value: None,
)
def test_labels_keep_their_own_type(labels, classes, kind):
    clf = make(max_epochs=2).fit(X, labels)
    assert clf.classes_.tolist() == classes
    assert clf.classes_.dtype.kind == kind
    assert clf.score(X, labels) == np.mean(clf.predict(X) == np.asarray(labels))
    clf.partial_fit(X, labels)
    assert clf.reconstruct(X[:2], labels[:2]).shape == (2, 64)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (with_missing(NAMES, "string"), "missing labels"),
        (with_missing(Y, "Int64"), "contains NaN"),
        (with_missing(NAMES, "category"), "missing labels"),
        (with_missing(NAMES, object), "missing labels"),
        (with_missing(Y, float), "contains NaN"),
        (np.array([0, "a", 1] * 30, dtype=object), "got numbers and strings"),
        (np.array([True, 2, 3] * 30, dtype=object), "got booleans and numbers"),
    ],
)
def test_labels_that_cannot_be_told_apart(labels, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, labels)


@pytest.mark.parametrize(
    "classes",
    [{0, 1, 2}, frozenset({2, 1, 0}), range(3), np.arange(3).astype(object), [2, 1, 0]],
)
def test_classes_in_any_container(classes):
    clf = make().partial_fit(X, Y, classes=classes).partial_fit(X, Y, classes=classes)
    assert clf.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "classes",
    [[[0, 1, 2]], [[0], [1], [2]], [0, 1, np.nan], "abc", 3, {0: 1, 1: 1, 2: 1}],
)
def test_classes_that_are_no_row_of_labels(classes):
    with pytest.raises(ValueError, match="classes must be all labels in one row"):
        make().partial_fit(X, Y, classes=classes)


def test_classes_with_none():
    with pytest.raises(ValueError, match="classes must not have missing labels"):
        make().partial_fit(X, Y, classes=[0, 1, None])


def test_a_class_of_one_member_is_named():
    labels = Y.copy()
    labels[:2] = 7, 9
    with pytest.raises(ValueError, match=r"classes \[7, 9\] have one sample"):
        make(early_stopping=True).fit(X, labels)
