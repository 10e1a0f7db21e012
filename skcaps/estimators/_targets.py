"""Labels of any type, as rows of zeros and ones for the losses."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

_KINDS = {True: "an indicator of zeros and ones", False: "a vector of labels"}


def check_targets(y):
    """Check labels and say whether a sample may have several.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_classes)
        Labels, or an indicator of zeros and ones.

    Returns
    -------
    y : ndarray
        A vector of labels, or a uint8 indicator.
    is_multilabel : bool

    Raises
    ------
    ValueError
        If `y` is continuous, or has several columns that are no indicator.
    """
    _check_one_kind(y)
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        return y.astype(np.uint8), True
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y must be a vector of labels or an indicator of zeros and ones, got "
            f"several columns of labels, shape {np.shape(y)} (multiclass-multioutput); "
            "fit one classifier for each column with MultiOutputClassifier."
        )
    return column_or_1d(y, warn=True), False


def _check_one_kind(y) -> None:
    """Raise a ValueError for labels that cannot be sorted."""
    if not isinstance(y, np.ndarray) or y.dtype != object or y.ndim != 1:
        return
    if len({isinstance(label, str) for label in y}) > 1:
        raise ValueError(
            "y must hold labels of one kind, got strings and other labels; convert "
            "them with y.astype(str)."
        )


def check_loss(loss: str, is_multilabel: bool) -> None:
    """Raise a ValueError for a loss that does not train lengths towards 0.5 and above.

    Cross entropy makes the classes of an image share one, so that none of several is
    longer than 0.5.
    """
    if is_multilabel and loss == "cross_entropy":
        raise ValueError(
            'loss="cross_entropy" needs one class for each image, and y is an '
            'indicator of several; use loss="margin".'
        )


def check_same_kind(y, is_multilabel: bool):
    """Check labels that come after the first ones.

    Raises
    ------
    ValueError
        If an indicator comes where labels came before, or labels for an indicator.
    """
    y, is_indicator = check_targets(y)
    if is_indicator != is_multilabel:
        raise ValueError(
            f"y must be {_KINDS[is_multilabel]}, as in the first call, got "
            f"{_KINDS[is_indicator]} of shape {y.shape}."
        )
    return y


def find_classes(y, is_multilabel: bool):
    """Give the classes; an indicator's are its column numbers."""
    is_indicator = is_multilabel and np.ndim(y) == 2
    classes = np.arange(y.shape[1]) if is_indicator else np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            "y must hold at least 2 classes, since capsules compete for the image; got "
            f"1 class: {classes.tolist()}."
        )
    return classes


def encode(y, classes, is_multilabel: bool):
    """Give class numbers, int64 of shape (n_samples,), or the indicator itself.

    Raises
    ------
    ValueError
        If `y` holds a label that is not in `classes`.
    """
    if is_multilabel:
        if y.shape[1] != len(classes):
            raise ValueError(
                f"y must have {len(classes)} columns, one for each class, got "
                f"{y.shape[1]}."
            )
        return y
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y has labels {unknown.tolist()} that are not in classes "
            f"{np.asarray(classes).tolist()}, which the first call to fit or "
            "partial_fit has set."
        )
    return np.searchsorted(classes, y).astype(np.int64)


def to_rows(targets: torch.Tensor, n_classes: int, dtype: torch.dtype) -> torch.Tensor:
    """Give zeros and ones of shape (batch, n_classes) from `encode`'s result."""
    if targets.ndim == 1:
        targets = to_one_hot(targets, n_classes)
    return targets.to(dtype)


def to_one_hot(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Say which class each label is; unlike torch's own, it reads no value."""
    return labels.unsqueeze(1) == torch.arange(n_classes, device=labels.device)


def apply_class_weight(class_weight, y, sample_weight):
    """Multiply sample weights by class weights; None where there is neither."""
    if class_weight is None:
        return sample_weight
    weights = compute_sample_weight(class_weight, y)
    return weights if sample_weight is None else weights * sample_weight
