"""Which pixels each of several overlapping objects covers."""

import numbers
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from skcaps.datasets._arguments import DTYPES


class SourceMasks(NamedTuple):
    """Which pixels each object of an image covers.

    Attributes
    ----------
    objects : ndarray of shape (n_samples, n_objects, height, width), dtype bool
        The pixels that each object covers.
    overlap : ndarray of shape (n_samples, height, width), dtype bool
        The pixels that more than one covers.
    depth : ndarray of shape (n_samples, height, width), dtype uint8
        How many objects cover each pixel, labels for a segmentation: of two digits, 0
        is the background, 1 a digit and 2 both.
    """

    objects: np.ndarray
    overlap: np.ndarray
    depth: np.ndarray


def masks_from_sources(
    sources: ArrayLike, *, threshold: float | None = None
) -> SourceMasks:
    """Find the pixels that each of several overlapping images covers.

    A pixel belongs to an object whose ink covers half of it or more. MNIST's digits
    were black and white before they were scaled to their size, and a grey value says
    which part of its pixel is ink, so that half is where a black and white image of
    this size would have its edge.

    Parameters
    ----------
    sources : array-like of shape (n_samples, n_objects, height, width)
        The images before they were added, as :func:`make_multimnist` returns them:
        uint8, float32 or float64, none below 0, which is the background.
    threshold : float, default=None
        The lowest value of a pixel that an object covers, above 0. ``None`` is half of
        white: 128 for uint8, and 0.5 for floating-point values, which must lie between
        0 and 1 then. It does not depend on the images, so that masks of batches are
        those of the whole.

    Returns
    -------
    masks : SourceMasks
        A named tuple of ``objects``, the pixels of each object, ``overlap``, those of
        more than one, and ``depth``, how many objects cover each.

    Raises
    ------
    ValueError
        If the shape, the type or the values are not those of such images, or
        `threshold` is not above 0.

    See Also
    --------
    make_multimnist : Pairs of digits with their sources.
    label_pixels : The class of each pixel.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86(11), section III.A, on the grey values.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import masks_from_sources
    >>> sources = np.array([[[[200, 255, 0]], [[0, 130, 90]]]], dtype=np.uint8)
    >>> masks = masks_from_sources(sources)
    >>> masks.objects[0, 1].tolist()
    [[False, True, False]]
    >>> masks.depth[0].tolist()
    [[1, 2, 0]]
    """
    images = _check_sources(sources)
    objects = images >= _find_threshold(images, threshold)
    depth = objects.sum(axis=1, dtype=np.uint8)
    return SourceMasks(objects, depth > 1, depth)


def label_pixels(
    objects: ArrayLike, object_labels: ArrayLike, *, background: Any, overlap: Any = -1
) -> np.ndarray:
    """Label each pixel by the object that covers it.

    Parameters
    ----------
    objects : array-like of shape (n_samples, n_objects, height, width), dtype bool
        The pixels that each object covers, as :func:`masks_from_sources` finds them.
    object_labels : array-like of shape (n_samples, n_objects)
        The label of each object, such as ``source_target`` of :func:`make_multimnist`.
    background : int or str
        The label of pixels that no object covers.
    overlap : int or str, default=-1
        The label of pixels that several cover. The default is what stands for pixels
        whose label is unknown, which are not trained on and not scored.

    Returns
    -------
    labels : ndarray of shape (n_samples, height, width)
        The labels, of a type that holds all of them.

    Raises
    ------
    ValueError
        If the shapes do not belong together, `objects` is not boolean, or numbers and
        strings come together.

    See Also
    --------
    masks_from_sources : The pixels of each object.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import label_pixels
    >>> objects = np.array([[[[True, True, False]], [[False, True, False]]]])
    >>> label_pixels(objects, [[3, 8]], background=10)
    array([[[ 3, -1, 10]]])
    """
    covers, names = np.asarray(objects), np.asarray(object_labels)
    if covers.ndim != 4 or covers.dtype != bool or names.shape != covers.shape[:2]:
        raise ValueError(
            "objects must be boolean, of the shape (n_samples, n_objects, height, "
            "width), with one label for each in object_labels, got "
            f"{covers.dtype} of the shape {covers.shape}, and labels of {names.shape}."
        )
    values = [names, np.asarray(background), np.asarray(overlap)]
    if len({value.dtype.kind in "US" for value in values}) > 1:
        raise ValueError(
            "object_labels, background and overlap must be all numbers or all strings, "
            f"got {names.dtype}, {background!r} and {overlap!r}."
        )
    depth = covers.sum(axis=1)
    first = covers.argmax(axis=1)
    labels = np.where(depth == 0, values[1], values[2])
    # Of each sample, by the number of its object.
    single = np.take_along_axis(names[:, :, None, None], first[:, None], axis=1)[:, 0]
    return np.where(depth == 1, single, labels)


def _check_sources(sources: ArrayLike) -> np.ndarray:
    images = np.asarray(sources)
    if images.ndim != 4 or images.size == 0 or images.dtype not in DTYPES:
        raise ValueError(
            "sources must be uint8, float32 or float64, of the shape (n_samples, "
            f"n_objects, height, width), got {images.dtype} of the shape "
            f"{images.shape}."
        )
    if not (images.min() >= 0 and np.isfinite(images.max())):
        raise ValueError(
            "sources must be finite and not below 0, which is the background, got "
            f"values from {images.min()} to {images.max()}."
        )
    return images


def _find_threshold(images: np.ndarray, threshold: float | None) -> float:
    if threshold is not None:
        if not isinstance(threshold, numbers.Real) or not threshold > 0:
            raise ValueError(f"threshold must be a number above 0, got {threshold!r}.")
        return threshold
    if images.dtype == np.uint8:
        return 128
    if images.max() > 1:
        raise ValueError(
            "sources of floating-point type must not be above 1, which is white, got "
            f"{images.max()}; pass threshold, half of what is white in them."
        )
    return 0.5
