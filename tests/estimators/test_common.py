import pytest
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

ESTIMATORS = [
    EfficientCapsNetClassifier(max_epochs=8),
    CapsNetClassifier(
        max_epochs=16, conv_channels=32, primary_capsules=8, learning_rate=4e-3
    ),
]


def expected_failures(estimator):
    return {"check_sample_weight_equivalence_on_dense_data": "float32 rounding"}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_weights_equal_repetition_in_float64(estimator):
    params = {**estimator.get_params(), "precision": "float64"}
    check_sample_weight_equivalence_on_dense_data(
        type(estimator).__name__, type(estimator)(**params)
    )
