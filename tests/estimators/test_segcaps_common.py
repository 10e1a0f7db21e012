"""scikit-learn's checks have one label for a sample, and a segmenter one for a pixel.

So that all of them run, a sample's labels are replaced by a mask of its bright pixels.
The checks are those of estimators that are no classifiers, as this is none.
"""

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcaps import SegCapsSegmenter


class MaskedSegmenter(SegCapsSegmenter):
    """Take labels of samples, and make masks of them."""

    def fit(self, X, y=None):
        """Fit on masks."""
        return super().fit(X, _masks(X, y))

    def partial_fit(self, X, y, classes=None):
        """Go on with masks."""
        return super().partial_fit(X, _masks(X, y), [0, 1])

    def score(self, X, y, sample_weight=None):
        """Score masks."""
        return super().score(X, _masks(X, y), sample_weight)


def _masks(X, y):
    """Return a mask for each label, or what is no label as it is."""
    if y is None or np.ndim(X) != 2 or not np.size(X):
        return y
    X = X.toarray() if sparse.issparse(X) else X
    try:
        brightness = abs(np.asarray(X)).astype(float)
    except (TypeError, ValueError):
        return y
    masks = (brightness > np.median(brightness)).astype(int)
    masks[0, 0], masks[-1, -1] = 0, 1
    return np.resize(masks, (len(y), *masks.shape[1:]))


pytestmark = pytest.mark.filterwarnings(
    "ignore:The network has learned nothing:sklearn.exceptions.ConvergenceWarning"
)


@parametrize_with_checks([MaskedSegmenter(variant="encoder", max_epochs=1)])
def test_scikit_learn_check(estimator, check):
    check(estimator)
