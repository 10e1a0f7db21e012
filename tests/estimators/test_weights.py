import numpy as np
import pytest

from ._small import X, Y, make

INDICATOR = np.eye(3, dtype=int)[Y]
ONES = np.ones(len(Y))


@pytest.mark.parametrize("weight", [-1, np.nan, np.inf, "much", None])
def test_class_weights_are_finite_and_not_negative(weight):
    message = "class_weight must hold finite .* for class 1"
    with pytest.raises(ValueError, match=message):
        make(class_weight={0: 1, 1: weight}).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        make(class_weight=[{0: 1, 1: weight}] * 3).fit(X, INDICATOR)


@pytest.mark.parametrize(
    ("weights", "class_weight", "message"),
    [
        (None, {0: 0, 1: 0, 2: 0}, r"class_weight=\{0: 0, .* no sample would count"),
        (Y == 0, {0: 0}, r"sample_weight times class_weight=\{0: 0\} .* only zeros"),
        (0 * ONES, None, "must have a positive entry|at least one non-zero"),
        (1e-46 * ONES, None, "sample_weight must be 0 or from 1e-15 .* 1e-46 to 1e-46"),
        (1e38 * ONES, None, "got values from 1e.38 to 1e.38; divide by their mean"),
        (None, {0: 1e-46}, r"class_weight=\{0: 1e-46\} must be 0 or from 1e-15"),
        (1e-10 * ONES, {0: 1e-10}, "got values from 1e-20 to 1e-10"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_that_train_nothing(method, weights, class_weight, message):
    clf = make(class_weight=class_weight)
    given = {} if method == "fit" else {"classes": [0, 1, 2]}
    with pytest.raises(ValueError, match=message):
        getattr(clf, method)(X, Y, sample_weight=weights, **given)
    assert not hasattr(clf, "classes_")


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_only_the_ratio_of_weights_counts(scale):
    weights = 1.0 + Y
    one, other = (make().fit(X, Y, w) for w in (weights, scale * weights))
    np.testing.assert_allclose(
        one.predict_proba(X), other.predict_proba(X), rtol=1e-3, atol=1e-5
    )


def test_balanced_weights_need_all_samples():
    clf = make(class_weight="balanced")
    with pytest.raises(ValueError, match=r"balanced.* needs all samples at once"):
        clf.partial_fit(X, Y, classes=[0, 1, 2])
