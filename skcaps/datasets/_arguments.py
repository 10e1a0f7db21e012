"""Checks of the arguments that the generators share."""

import math
import numbers
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

RandomState: TypeAlias = int | np.random.RandomState | np.random.Generator | None

DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def as_images(X: ArrayLike) -> np.ndarray:
    """Check images and give them rows and columns.

    Parameters
    ----------
    X : array-like of shape (n_samples, height, width) or (n_samples, side * side)
        Grey images, uint8, float32 or float64, none below 0, which is the background.

    Returns
    -------
    images : ndarray of shape (n_samples, height, width)
        The images, a view of `X` where that is an array.

    Raises
    ------
    ValueError
        If the shape, the type or the values are not those of grey images.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets._arguments import as_images
    >>> as_images(np.zeros((2, 784), dtype=np.uint8)).shape
    (2, 28, 28)
    """
    images = np.asarray(X)
    shape = images.shape
    if images.ndim == 2:
        side = math.isqrt(shape[1])
        if side * side != shape[1]:
            raise ValueError(
                f"X has {shape[1]} features, which is no square image; pass images of "
                "the shape (n_samples, height, width)."
            )
        images = images.reshape(shape[0], side, side)
    if images.ndim != 3 or images.size == 0:
        raise ValueError(
            "X must hold at least one grey image, in the shape (n_samples, height, "
            f"width) or (n_samples, side * side), got the shape {shape}."
        )
    if images.dtype not in DTYPES:
        raise ValueError(
            f"X must be of the type uint8, float32 or float64, got {images.dtype}; "
            "convert it first."
        )
    lowest, highest = images.min(), images.max()
    if not (lowest >= 0 and np.isfinite(highest)):
        raise ValueError(
            "X must be finite and not below 0, which is the background, got values "
            f"from {lowest} to {highest}; scale it first."
        )
    return images


def as_labels(y: ArrayLike, n_samples: int) -> np.ndarray:
    """Check that there is one label for each image.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The labels.
    n_samples : int
        How many there must be.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If there are more or fewer, or they have more axes.

    Examples
    --------
    >>> from skcaps.datasets._arguments import as_labels
    >>> as_labels([3, 7], 2)
    array([3, 7])
    """
    labels = np.asarray(y)
    if labels.shape != (n_samples,):
        raise ValueError(
            f"y must have the shape ({n_samples},), one label for each image in X, "
            f"got {labels.shape}."
        )
    return labels


def check_count(name: str, value: Any, *, minimum: int = 0) -> int:
    """Check a number of things or of pixels.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : object
        What was given for it.
    minimum : int, default=0
        The smallest number that is allowed.

    Returns
    -------
    count : int
        The given value.

    Raises
    ------
    ValueError
        If it is no whole number, or too small.

    Examples
    --------
    >>> from skcaps.datasets._arguments import check_count
    >>> check_count("pad", 4)
    4
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < minimum:
        raise ValueError(
            f"{name} must be a whole number, at least {minimum}, got {value!r}."
        )
    return int(value)


def as_generator(random_state: RandomState) -> np.random.Generator:
    """Return NumPy's newer kind of random generator for any `random_state`.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        A seed, a generator of either kind, which goes on from where it is, or
        ``None`` for a new one that no seed repeats.

    Returns
    -------
    rng : numpy.random.Generator
        The generator.

    Raises
    ------
    ValueError
        If `random_state` is something else.

    Examples
    --------
    >>> from skcaps.datasets._arguments import as_generator
    >>> int(as_generator(0).integers(100)) == int(as_generator(0).integers(100))
    True
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        # A seed as long as the generator's own pool of entropy.
        seed = random_state.randint(2**32, size=4, dtype=np.uint32)
        return np.random.default_rng(seed)
    if random_state is None:
        return np.random.default_rng()
    is_seed = isinstance(random_state, numbers.Integral) and random_state >= 0
    if not is_seed or isinstance(random_state, bool):
        raise ValueError(
            "random_state must be None, a whole number that is not negative, a "
            f"RandomState or a Generator of NumPy, got {random_state!r}."
        )
    return np.random.default_rng(int(random_state))
