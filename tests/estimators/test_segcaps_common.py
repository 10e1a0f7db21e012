import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcaps import SegCapsSegmenter

# The checks have one label for a sample, and a segmenter one for each pixel. Here a
# sample's pixels are of its class where they are bright, so that the checks that can
# run do.
NO_MASKS = "its `y` has one label for a sample, which is no mask"


class MaskedSegmenter(SegCapsSegmenter):
    """Make masks of the checks' labels."""

    def fit(self, X, y=None):
        """Fit on masks."""
        return super().fit(X, _masks(X, y))

    def partial_fit(self, X, y, classes=None):
        """Fit on masks."""
        return super().partial_fit(X, _masks(X, y), [0, 1])

    def score(self, X, y, sample_weight=None):
        """Score masks."""
        return super().score(X, _masks(X, y), sample_weight)


def _masks(X, y):
    if y is None or np.ndim(X) != 2 or not np.size(X):
        return y
    try:
        brightness = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        return y
    masks = (brightness > np.median(brightness)).astype(int)
    masks[0, 0], masks[-1, -1] = 0, 1
    return np.resize(masks, (len(y), *masks.shape[1:]))


def expected_failures(estimator):
    if not isinstance(estimator, MaskedSegmenter):
        return dict.fromkeys(ONE_LABEL, NO_MASKS)
    return {}


# Of the class itself, those that fit labels.
ONE_LABEL = {
    "check_complex_data",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network has learned nothing:sklearn.exceptions.ConvergenceWarning"
)


@parametrize_with_checks(
    [
        kind(variant="encoder", max_epochs=1)
        for kind in (SegCapsSegmenter, MaskedSegmenter)
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
