"""Dice and Jaccard: how far two masks of labels overlap."""

import math
import numbers
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning

from skcaps.metrics._averages import AVERAGES
from skcaps.metrics._counts import Counts, MaskPair
from skcaps.metrics._labels import (
    Label,
    check_labels,
    encode,
    find_labels,
    sort_labels,
)


def dice_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    average: str | None = "macro",
    pos_label: Label = 1,
    ignore_label: Label | None = -1,
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> float | np.ndarray:
    r"""Compute the Dice coefficient of masks of labels.

    Of the pixels that a class has in both masks, twice as a share of those that it has
    in either mask,

    .. math:: D_k = \frac{2 |A_k \cap B_k|}{|A_k| + |B_k|},

    from 0, no pixel in common, to 1, all. It is the F1 score of the pixels: where
    `average` is not ``"samples"``, and no pixel is ignored, this is
    :func:`sklearn.metrics.f1_score` of the raveled masks, in less memory.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, ...)
        The true labels, for images mostly (n_samples, height, width): whole numbers of
        any type or strings.
    y_pred : array-like of shape (n_samples, ...)
        The predicted labels, in the same shape.
    labels : array-like of shape (n_classes,), default=None
        The classes to score, and their order where `average` is ``None``: leave the
        background out to score the rest. ``None`` takes all labels of both masks, in
        ascending order. A pixel of another class counts as wrong where one of these is
        in the other mask.
    average : {"macro", "micro", "weighted", "samples", "binary"} or None, \
            default="macro"
        ``"macro"`` averages the scores of the classes, ``"weighted"`` weighs them by
        their number of true pixels, and ``"micro"`` takes the pixels of all classes
        together, which is the accuracy where `labels` leaves none out.
        ``"samples"`` averages over the classes in each image, then over the images, so
        that a small object in one image counts as much as a large one in another; pass
        ``zero_division=np.nan`` to leave out the classes that an image lacks in both
        masks. ``"binary"`` is the score of `pos_label`, for masks of two labels.
        ``None`` returns the score of each class.
    pos_label : int or str, default=1
        The class that is scored where `average` is ``"binary"``; not used otherwise.
    ignore_label : int or str, default=-1
        The label of true pixels that are not counted, as nobody knows what they are.
        ``None`` counts all.
    sample_weight : array-like of shape (n_samples,), default=None
        How much each image counts: each of its pixels, or its score where `average` is
        ``"samples"``.
    zero_division : {"warn", 0.0, 1.0, np.nan}, default="warn"
        The score of a class that neither mask has. ``np.nan`` leaves it out of the
        average, and ``"warn"`` is 0 with a warning.

    Returns
    -------
    score : float or ndarray of shape (n_classes,)
        From 0 to 1; an array if `average` is ``None``.

    Raises
    ------
    ValueError
        If the masks differ in shape, hold anything but labels of one kind, or the
        predicted ones hold `ignore_label`; or if an option is out of its range.

    See Also
    --------
    jaccard_score : The intersection as a share of the union.
    dice_scorer : For ``scoring=``.

    References
    ----------
    Dice (1945), Measures of the amount of ecologic association between species,
    Ecology 26(3).

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics import dice_score
    >>> y_true = np.array([[["sky", "sky"], ["sea", "sea"]]])
    >>> y_pred = np.array([[["sky", "sea"], ["sea", "sea"]]])
    >>> dice_score(y_true, y_pred, average=None, labels=["sky", "sea"]).round(2)
    array([0.67, 0.8 ])

    A scorer with other options, for a grid search over foreground classes:

    >>> from sklearn.metrics import make_scorer
    >>> scorer = make_scorer(dice_score, labels=[1, 2], average="samples")
    """
    return _score(
        _DICE,
        y_true,
        y_pred,
        labels=labels,
        average=average,
        pos_label=pos_label,
        ignore_label=ignore_label,
        sample_weight=sample_weight,
        zero_division=zero_division,
    )


def jaccard_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    average: str | None = "macro",
    pos_label: Label = 1,
    ignore_label: Label | None = -1,
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> float | np.ndarray:
    r"""Compute the Jaccard index, the intersection over union, of masks of labels.

    Of the pixels that a class has in both masks, as a share of those that it has in at
    least one,

    .. math:: J_k = \frac{|A_k \cap B_k|}{|A_k \cup B_k|} = \frac{D_k}{2 - D_k},

    where :math:`D_k` is the Dice coefficient. Where `average` is not ``"samples"``, and
    no pixel is ignored, this is :func:`sklearn.metrics.jaccard_score` of the raveled
    masks, in less memory.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, ...)
        The true labels: whole numbers of any type or strings.
    y_pred : array-like of shape (n_samples, ...)
        The predicted labels, in the same shape.
    labels : array-like of shape (n_classes,), default=None
        The classes to score, as in :func:`dice_score`.
    average : {"macro", "micro", "weighted", "samples", "binary"} or None, \
            default="macro"
        How the classes make one score, as in :func:`dice_score`.
    pos_label : int or str, default=1
        The class that is scored where `average` is ``"binary"``; not used otherwise.
    ignore_label : int or str, default=-1
        The label of true pixels that are not counted. ``None`` counts all.
    sample_weight : array-like of shape (n_samples,), default=None
        How much each image counts.
    zero_division : {"warn", 0.0, 1.0, np.nan}, default="warn"
        The score of a class that neither mask has, as in :func:`dice_score`.

    Returns
    -------
    score : float or ndarray of shape (n_classes,)
        From 0 to 1; an array if `average` is ``None``.

    Raises
    ------
    ValueError
        As :func:`dice_score`.

    See Also
    --------
    dice_score : Twice the intersection as a share of both sizes.
    jaccard_scorer : For ``scoring=``.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics import jaccard_score
    >>> y_true = np.array([[[0, 0], [1, -1]]])
    >>> y_pred = np.array([[[0, 1], [1, 1]]])
    >>> jaccard_score(y_true, y_pred, average=None)
    array([0.5, 0.5])
    """
    return _score(
        _JACCARD,
        y_true,
        y_pred,
        labels=labels,
        average=average,
        pos_label=pos_label,
        ignore_label=ignore_label,
        sample_weight=sample_weight,
        zero_division=zero_division,
    )


class _Ratio(NamedTuple):
    """A share of pixels: its name, and what is divided by what."""

    name: str
    parts: Callable[[Counts], tuple[np.ndarray, np.ndarray]]


_DICE = _Ratio(
    "Dice", lambda counts: (2 * counts.shared, counts.true + counts.predicted)
)
_JACCARD = _Ratio(
    "Jaccard",
    lambda counts: (counts.shared, counts.true + counts.predicted - counts.shared),
)


def _score(
    ratio: _Ratio,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None,
    average: str | None,
    pos_label: Label,
    ignore_label: Label | None,
    sample_weight: ArrayLike | None,
    zero_division: str | float,
) -> float | np.ndarray:
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {list(AVERAGES)}, got {average!r}.")
    true, predicted = _check_masks(y_true, y_pred)
    present = _find_present(true, predicted, ignore_label)
    if average == "binary":
        classes = _check_pos_label(pos_label, present)
    elif labels is None:
        classes = present
    else:
        classes = _check_classes(labels, present, ignore_label)
    codes = {label: number for number, label in enumerate(classes)}
    if ignore_label is not None:
        codes[ignore_label] = -1
    pair = MaskPair(true, predicted, codes, _check_weight(sample_weight, len(true)))
    score = partial(_divide, ratio, zero_division=_check_zero_division(zero_division))
    return AVERAGES[average](pair, score)


def _divide(ratio: _Ratio, counts: Counts, *, zero_division: str | float) -> np.ndarray:
    """Return the score of each class."""
    above, below = ratio.parts(counts)
    is_undefined = below == 0
    value = 0.0 if isinstance(zero_division, str) else zero_division
    if zero_division == "warn" and is_undefined.any():
        warnings.warn(
            f"{ratio.name} is undefined for a class that neither mask has, and set to "
            f"0 for {is_undefined.sum()} of {is_undefined.size}; pass zero_division to "
            "say what it is.",
            UndefinedMetricWarning,
            stacklevel=5,
        )
    scores: np.ndarray = above / np.where(is_undefined, 1, below)
    scores[is_undefined] = value
    return scores


def _check_masks(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != predicted.shape or true.size == 0 or true.ndim == 0:
        raise ValueError(
            "y_true and y_pred must hold at least one label, in one shape (n_samples, "
            f"...), got {true.shape} and {predicted.shape}."
        )
    return true, predicted


def _find_present(
    true: np.ndarray, predicted: np.ndarray, ignore_label: Label | None
) -> list[Label]:
    """Find the classes of the pixels that count, in both masks."""
    of_true = find_labels("y_true", true)
    is_counted = None
    if ignore_label is not None and ignore_label in of_true:
        of_true.remove(ignore_label)
        is_counted = partial(_is_other, true, ignore_label)
    if not of_true:
        raise ValueError(
            f"y_true must hold a label to score, got ignore_label, {ignore_label!r}, "
            "everywhere."
        )
    of_predicted = find_labels("y_pred", predicted, is_counted)
    if ignore_label in of_predicted:
        raise ValueError(
            f"y_pred must not hold ignore_label, {ignore_label!r}, which only true "
            "pixels have; pass ignore_label=None if it is a class."
        )
    return sort_labels(of_true | of_predicted)


def _is_other(mask: np.ndarray, label: Label, block: slice) -> np.ndarray:
    # A comparison would mix strings and numbers.
    return encode(mask[block], {label: 0}, other=1).astype(bool)


def _check_pos_label(pos_label: Label, present: list[Label]) -> list[Label]:
    if len(present) > 2 or (len(present) == 2 and pos_label not in present):
        raise ValueError(
            'With average="binary", the masks must hold two labels, one of them '
            f"pos_label, {pos_label!r}, got {present[:10]}; choose another average, or "
            "pass labels=[pos_label]."
        )
    return [pos_label]


def _check_classes(
    labels: ArrayLike, present: list[Label], ignore_label: Label | None
) -> list[Label]:
    classes = np.asarray(labels).tolist()
    if not isinstance(classes, list) or not classes:
        raise ValueError(
            f"labels must be a list of at least one class, got {labels!r}."
        )
    distinct = check_labels("labels", classes)
    if len(distinct) < len(classes) or ignore_label in distinct:
        raise ValueError(
            "labels must name each class once, and not ignore_label, "
            f"{ignore_label!r}, got {classes}."
        )
    sort_labels(distinct | set(present))
    return classes


def _check_weight(sample_weight: ArrayLike | None, n_samples: int) -> Any:
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,) or not np.isfinite(weight).all():
        raise ValueError(
            f"sample_weight must hold {n_samples} finite numbers, one for each image, "
            f"got the shape {weight.shape}."
        )
    return weight


def _check_zero_division(zero_division: str | float) -> str | float:
    if isinstance(zero_division, numbers.Real):
        value = float(zero_division)
        if value in (0.0, 1.0) or math.isnan(value):
            return value
    if zero_division == "warn":
        return zero_division
    raise ValueError(
        f'zero_division must be "warn", 0.0, 1.0 or np.nan, got {zero_division!r}.'
    )
