"""From the pixels of each class to one number."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from skcaps.metrics._counts import Counts, MaskPair

Score: TypeAlias = Callable[[Counts], np.ndarray]


def each(pair: MaskPair, score: Score) -> np.ndarray:
    """Leave the scores of the classes as they are."""
    return score(pair.count_all())


def macro(pair: MaskPair, score: Score) -> float:
    """Average the scores of the classes."""
    return float(mean(score(pair.count_all())))


def micro(pair: MaskPair, score: Score) -> float:
    """Score the pixels of all classes together."""
    return float(mean(score(pair.count_all().sum())))


def weighted(pair: MaskPair, score: Score) -> float:
    """Average the scores of the classes, by their number of true pixels."""
    counts = pair.count_all()
    return float(mean(score(counts), counts.true))


def samples(pair: MaskPair, score: Score) -> float:
    """Average over the classes in each image, then over the images."""
    of_images = mean(score(pair.count_each()))
    weights = 1.0 if pair.sample_weight is None else pair.sample_weight
    return float(mean(of_images, weights))


AVERAGES: dict[str | None, Callable[[MaskPair, Score], float | np.ndarray]] = {
    "macro": macro,
    "micro": micro,
    "weighted": weighted,
    "samples": samples,
    # Of one class, whose score it is.
    "binary": macro,
    None: each,
}


def mean(scores: np.ndarray, weights: ArrayLike = 1.0) -> Any:
    """Average along the last axis, without scores that are undefined.

    Parameters
    ----------
    scores : ndarray of shape (..., n)
        The scores, NaN where one is undefined.
    weights : array-like of shape (n,), default=1.0
        How much each counts. Where all that are defined weigh nothing, they weigh the
        same, as in scikit-learn.

    Returns
    -------
    mean : ndarray of shape (...)
        NaN where no score is defined.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics._averages import mean
    >>> mean(np.array([[1.0, np.nan, 0.5], [np.nan] * 3]))
    array([0.75,  nan])
    """
    is_defined = ~np.isnan(scores)
    weights = np.where(is_defined, weights, 0.0)
    is_weighted = weights.sum(axis=-1, keepdims=True) != 0
    weights = np.where(is_weighted, weights, is_defined)
    total = np.where(is_defined, scores * weights, 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return total / weights.sum(axis=-1)
