"""All of scikit-learn's checks on every classifier with every routing it has.

They take minutes, so pytest runs them only if this file is named.
"""

from sklearn.utils.estimator_checks import parametrize_with_checks

from skcaps import EfficientCapsNetClassifier, MatrixCapsNetClassifier
from skcaps.nn import MIXTURES, ROUTINGS

from .test_common import make_tiny


def _make_efficient(routing):
    return EfficientCapsNetClassifier(
        routing=routing, conv_channels=(8, 8, 8, 16), primary_dim=4, pose_dim=4,
        decoder=None, learning_rate=8e-3, max_epochs=15, precision="float64",
    )  # fmt: skip


def _make_matrix(routing):
    return MatrixCapsNetClassifier(
        routing=routing, conv_channels=16, primary_capsules=4,
        hidden_capsules=((4, 16),), precision="float64",
    )  # fmt: skip


def _expected_failures(estimator):
    if estimator.routing != "vb":
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "its normalization over the "
        "batch has no weights"
    }


@parametrize_with_checks(
    [
        *(make(name) for name in ROUTINGS for make in (make_tiny, _make_efficient)),
        *map(_make_matrix, MIXTURES),
    ],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
