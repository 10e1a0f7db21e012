"""What a display needs of an estimator."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _inputs


def check_estimator(estimator, attribute):
    """Raise an error for what is not fitted, or is no estimator of this package.

    Parameters
    ----------
    estimator : object
    attribute : str
        What the display reads.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    TypeError
        If it lacks the attribute.
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"estimator must be a fitted estimator of skcaps, which has {attribute}, "
            f"got {type(estimator).__name__}; of a pipeline pass the last step, "
            "pipeline[-1], and of a search its best_estimator_."
        )


def first_images(array, n_images):
    """Return the first samples of any container.

    Raises
    ------
    ValueError
        If none is asked for.
    """
    if n_images < 1:
        raise ValueError(f"n_images must be at least 1, got {n_images}.")
    array = _inputs.to_numpy(array)
    return _safe_indexing(array, np.arange(min(n_images, len(array))))
