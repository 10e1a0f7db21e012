from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcaps import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    MatrixCapsNetClassifier,
)

FLOAT32 = [
    EfficientCapsNetClassifier(max_epochs=8),
    CapsNetClassifier(
        max_epochs=16, conv_channels=32, primary_capsules=8, learning_rate=4e-3
    ),
    MatrixCapsNetClassifier(
        conv_channels=16, primary_capsules=4, hidden_capsules=((4, 16),)
    ),
    MatrixCapsNetClassifier(
        routing="vb",
        conv_channels=16,
        primary_capsules=4,
        hidden_capsules=((4, 16),),
    ),
]
FLOAT64 = [clone(estimator).set_params(precision="float64") for estimator in FLOAT32]


def expected_failures(estimator):
    if estimator.precision == "float64":
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": "float32 rounding"}


@parametrize_with_checks(FLOAT32 + FLOAT64, expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    check(estimator)
