import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score

from skcaps.metrics import dice_score, dice_scorer, jaccard_score, jaccard_scorer


class Threshold(BaseEstimator):
    """What is brighter is the object."""

    def __init__(self, threshold=0.5):
        self.threshold = threshold

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.where(np.less_equal(X, self.threshold), "background", "object")


@pytest.fixture
def images(rng):
    return rng.random((9, 5, 4))


@pytest.fixture
def masks(images):
    return Threshold(0.7).predict(images)


SCORERS = [(dice_scorer, dice_score), (jaccard_scorer, jaccard_score)]


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_scorer_scores_what_is_predicted(images, masks, scorer, score):
    found = scorer(Threshold(0.4), images, masks)
    assert found == score(masks, Threshold(0.4).predict(images))


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_scorer_takes_weights(images, masks, scorer, score):
    weight = np.arange(9.0)
    found = scorer(Threshold(0.4), images, masks, sample_weight=weight)
    assert found == score(masks, Threshold(0.4).predict(images), sample_weight=weight)
    assert found != scorer(Threshold(0.4), images, masks)


@pytest.mark.parametrize(
    "scorer",
    [
        dice_scorer,
        jaccard_scorer,
        make_scorer(dice_score, average="samples", labels=["object"]),
    ],
)
def test_grid_search_finds_the_threshold(images, masks, scorer):
    grid = {"threshold": [0.3, 0.7, 0.9]}
    search = GridSearchCV(Threshold(), grid, scoring=scorer, cv=3).fit(images, masks)
    assert search.best_params_ == {"threshold": 0.7}
    assert search.best_score_ == 1


def test_cross_validation_scores_each_part(images, masks):
    found = cross_val_score(Threshold(0.4), images, masks, cv=3, scoring=dice_scorer)
    predicted = Threshold(0.4).predict(images)
    parts = [slice(0, 3), slice(3, 6), slice(6, 9)]
    expected = [dice_score(masks[part], predicted[part]) for part in parts]
    np.testing.assert_array_equal(found, expected)
