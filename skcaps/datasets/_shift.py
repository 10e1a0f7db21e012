"""Images moved by whole pixels on a larger background."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from skcaps.datasets._arguments import (
    RandomState,
    as_generator,
    as_images,
    check_count,
)

# Images at a time, so that the padded copies stay small.
BLOCK = 4096


def pad_and_shift(
    X: ArrayLike,
    *,
    pad: int = 6,
    max_shift: int = 6,
    random_state: RandomState = None,
) -> np.ndarray:
    """Place each image at random on a larger black background.

    This makes the training set of the affNIST protocol: each 28x28 digit of MNIST
    is placed at random on 40x40 pixels, and meets no other affine map in training.
    Each of the positions within `max_shift` is equally likely, in each direction on
    its own. While `max_shift` is not above `pad`, nothing of any image is cut off.

    Parameters
    ----------
    X : array-like of shape (n_samples, height, width) or (n_samples, side * side)
        Grey images, uint8, float32 or float64, none below 0, which is the background.
    pad : int, default=6
        How many rows and columns of background come on each side.
    max_shift : int, default=6
        By how many pixels an image leaves the middle at most, up, down, left and
        right.
    random_state : int, RandomState, Generator or None, default=None
        Where the shifts come from. A number gives the same images every time.

    Returns
    -------
    X_shifted : ndarray
        The images, of the type of `X`, and of the shape (n_samples, height +
        2 * pad, width + 2 * pad), or flat where `X` is.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    See Also
    --------
    load_affnist : What a network trained on these images is tested on.
    make_affnist_like : Other affine maps.

    References
    ----------
    Sabour, Frosst, Hinton (2017), Dynamic routing between capsules, NeurIPS,
    section 5.2, arXiv:1710.09829.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import pad_and_shift
    >>> X = np.full((3, 28, 28), 255, dtype=np.uint8)
    >>> X_train = pad_and_shift(X, random_state=0)
    >>> X_train.shape
    (3, 40, 40)
    >>> bool(X_train.sum() == X.sum())
    True
    """
    images = as_images(X)
    pad = check_count("pad", pad)
    max_shift = check_count("max_shift", max_shift)
    rng = as_generator(random_state)
    shifts = rng.integers(-max_shift, max_shift + 1, (len(images), 2))
    n_samples, height, width = images.shape
    shape = (n_samples, height + 2 * pad, width + 2 * pad)
    shifted = np.empty(shape, dtype=images.dtype)
    for start in range(0, n_samples, BLOCK):
        block = slice(start, start + BLOCK)
        shifted[block] = shift(images[block], shifts[block], pad, max_shift)
    return shifted if np.ndim(X) == 3 else shifted.reshape(n_samples, -1)


def shift(
    images: np.ndarray, shifts: np.ndarray, pad: int, max_shift: int
) -> np.ndarray:
    """Move each image by its own shift on a padded background.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width)
        The images.
    shifts : ndarray of shape (n_samples, 2), dtype int64
        By how many pixels each goes down and right.
    pad : int
        How many rows and columns of background come on each side.
    max_shift : int
        The largest shift, in any direction.

    Returns
    -------
    shifted : ndarray of shape (n_samples, height + 2 * pad, width + 2 * pad)
        The images, a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets._shift import shift
    >>> shift(np.ones((1, 1, 1)), np.array([[-1, 1]]), pad=1, max_shift=1)
    array([[[0., 0., 1.],
            [0., 0., 0.],
            [0., 0., 0.]]])
    """
    height, width = images.shape[1:]
    margin = pad + max_shift
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    size = (height + 2 * pad, width + 2 * pad)
    windows = sliding_window_view(padded, size, axis=(1, 2))
    top, left = (max_shift - shifts).T
    shifted: np.ndarray = windows[np.arange(len(images)), top, left]
    return shifted
