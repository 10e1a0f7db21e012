import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:120], Y[:120]


def make(**params):
    params = {"max_epochs": 3, "random_state": 0, "batch_size": 16, **params}
    return EfficientCapsNetClassifier(**params)


def is_distribution(proba):
    return proba.shape == (len(X), 3) and np.allclose(proba.sum(axis=1), 1, atol=1e-5)


def test_grid_search_is_the_same_in_parallel():
    estimator = CapsNetClassifier(
        conv_channels=16, primary_capsules=4, max_epochs=2, random_state=0
    )
    grid = {"routing_iterations": [1, 2, 3]}
    one, two = (
        GridSearchCV(estimator, grid, cv=2, n_jobs=n, scoring="neg_log_loss").fit(X, Y)
        for n in (1, 2)
    )
    scores = [
        name for name in one.cv_results_ if "score" in name and "time" not in name
    ]
    assert len(scores) == 5
    for name in scores:
        np.testing.assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    assert len(set(one.cv_results_["mean_test_score"])) == 3
    assert one.best_params_ == two.best_params_
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_pipeline_with_scaler():
    pipeline = make_pipeline(StandardScaler(), make(max_epochs=3)).fit(X, Y)
    assert pipeline.score(X, Y) > 0.8
    assert is_distribution(pipeline.predict_proba(X))
    assert pipeline.transform(X).shape == (len(X), 48)
    assert len(pipeline.get_feature_names_out()) == 48


def test_calibration():
    clf = CalibratedClassifierCV(make(), cv=2).fit(X, Y)
    assert is_distribution(clf.predict_proba(X))
    assert clf.score(X, Y) > 0.7


def test_voting():
    members = [
        ("efficient", make()),
        (
            "capsnet",
            CapsNetClassifier(
                conv_channels=16, primary_capsules=4, max_epochs=2, random_state=0
            ),
        ),
        ("linear", LogisticRegression(max_iter=1000)),
    ]
    clf = VotingClassifier(members, voting="soft").fit(X, Y)
    assert clf.score(X, Y) > 0.7


def test_stacking():
    clf = StackingClassifier(
        [("capsules", make()), ("linear", LogisticRegression(max_iter=1000))], cv=2
    ).fit(X, Y)
    assert is_distribution(clf.predict_proba(X))
    assert clf.score(X, Y) > 0.7


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_cross_val_predict(method):
    found = cross_val_predict(make(max_epochs=1), X, Y, cv=2, method=method)
    assert found.shape == ((len(X),) if method == "predict" else (len(X), 3))


def test_poses_feed_a_linear_model():
    pipeline = make_pipeline(make(), LogisticRegression(max_iter=1000)).fit(X, Y)
    assert pipeline.score(X, Y) > 0.8


def test_set_output_pandas():
    clf = make(max_epochs=1).fit(X, Y)
    plain = clf.transform(X)
    frame = clf.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == clf.get_feature_names_out().tolist()
    assert frame.columns[0] == "0_pose0"
    assert frame.columns[-1] == "2_pose15"
    np.testing.assert_array_equal(frame.to_numpy(), plain)


def test_routing_of_sample_weight():
    weights = (Y != 2).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        # Not through the classifier's own `score`: scikit-learn 1.6 does not find what
        # the last step of a pipeline requests for it.
        routed = cross_validate(
            make_pipeline(make(max_epochs=1).set_fit_request(sample_weight=True)),
            X,
            Y,
            cv=2,
            scoring=make_scorer(accuracy_score).set_score_request(sample_weight=True),
            params={"sample_weight": weights},
            return_estimator=True,
            return_indices=True,
        )
    train = routed["indices"]["train"][0]
    direct = make(max_epochs=1).fit(X[train], Y[train], weights[train])
    np.testing.assert_array_equal(
        routed["estimator"][0].predict_proba(X), direct.predict_proba(X)
    )
    test = routed["indices"]["test"][0]
    expected = direct.score(X[test], Y[test], weights[test])
    assert routed["test_score"][0] == expected


def test_images_in_cross_val_score():
    flat = cross_val_score(make(max_epochs=1), X, Y, cv=2, scoring="neg_log_loss")
    images = cross_val_score(
        make(max_epochs=1), X.reshape(-1, 1, 8, 8), Y, cv=2, scoring="neg_log_loss"
    )
    np.testing.assert_array_equal(images, flat)
