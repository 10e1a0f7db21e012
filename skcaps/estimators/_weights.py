"""Weights of samples and classes."""

from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from skcaps.estimators._inputs import to_numpy

# Sums and squares of weights in between stay within float32.
_SMALLEST, _LARGEST = 1e-15, 1e15


def find_weights(sample_weight, class_weight, rows, y):
    """Check weights and multiply them; None where there are none.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict, list of dict, "balanced" or None
    rows : ndarray of shape (n_samples, n_features)
    y : ndarray
        Checked labels.

    Returns
    -------
    weights : ndarray of shape (n_samples,) or None
        float64, at least one of them positive.

    Raises
    ------
    ValueError
        If a weight is negative, not finite, or beyond what float32 can add up, or if
        none is positive.
    """
    if sample_weight is None and class_weight is None:
        return None
    if sample_weight is not None:
        sample_weight = _check_sample_weight(
            to_numpy(sample_weight), rows, dtype=np.float64, ensure_non_negative=True
        )
        _check("sample_weight", sample_weight)
    if class_weight is None:
        return sample_weight
    _check_class_weight(class_weight)
    weights = compute_sample_weight(class_weight, y)
    if sample_weight is not None:
        weights = weights * sample_weight
    _check(f"sample_weight times class_weight={class_weight!r}", weights)
    return weights


def _check_class_weight(class_weight):
    if isinstance(class_weight, str):
        return
    parts = [class_weight] if isinstance(class_weight, dict) else class_weight
    for label, weight in (item for part in parts for item in part.items()):
        if not (isinstance(weight, (int, float, np.number)) and 0 <= weight < np.inf):
            raise ValueError(
                "class_weight must hold finite numbers that are not negative, got "
                f"{weight!r} for class {label!r}."
            )


def _check(name, weights):
    if not weights.any():
        raise ValueError(
            f"{name} must have a positive entry, got only zeros: no sample would count."
        )
    positive = weights[weights > 0]
    low, high = positive.min(), positive.max()
    if low < _SMALLEST or high > _LARGEST:
        raise ValueError(
            f"{name} must be 0 or from {_SMALLEST:g} to {_LARGEST:g}, got values from "
            f"{low:g} to {high:g}; divide by their mean."
        )
