"""The images that were laid over each other, for the decoder to aim at."""

from __future__ import annotations

import numpy as np

from skcaps.estimators._inputs import to_numpy
from skcaps.estimators._labels import Labels, MultiLabel


def find_sources(given, rows, encoded, labels: Labels):
    """Check the sources of images and sort those of each image by class.

    Parameters
    ----------
    given : tuple
        The sources, array-like of shape (n_samples, n_sources, ...), each in the layout
        of an image of `X`, and their classes (n_samples, n_sources); None for both
        where there are none.
    rows : ndarray of shape (n_samples, n_features)
        Checked `X`.
    encoded : ndarray of shape (n_samples, n_classes)
        The indicator.
    labels : Labels

    Returns
    -------
    sources : ndarray of shape (n_samples, n_sources, n_features) or None

    Raises
    ------
    ValueError
        If one comes without the other, `y` is no indicator, a shape does not fit, the
        classes are not those that `y` has, or a value is not finite.
    """
    sources, source_target = given
    if sources is None and source_target is None:
        return None
    if sources is None or source_target is None:
        raise ValueError("sources and source_target must be passed together.")
    if not isinstance(labels, MultiLabel):
        raise ValueError(
            "sources need an indicator y of several classes in an image, got "
            f"{labels.kind}."
        )
    images = np.asarray(to_numpy(sources))
    numbers = _find_columns(np.asarray(to_numpy(source_target)), labels.classes)
    wanted = (len(rows), numbers.shape[-1], rows.shape[1])
    if numbers.ndim != 2 or len(numbers) != len(rows) or images.size != np.prod(wanted):
        raise ValueError(
            "sources must have the shape (n_samples, n_sources, ...) of images like "
            "those of X, and source_target (n_samples, n_sources), got "
            f"{images.shape} and {numbers.shape} for {len(rows)} images of "
            f"{rows.shape[1]} numbers."
        )
    marked = np.take_along_axis(encoded, numbers, axis=1)
    if not marked.all() or (encoded.sum(axis=1) != numbers.shape[1]).any():
        raise ValueError(
            "source_target must name all the classes that y has for an image, each "
            "once."
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError("sources must be finite, got infinity or NaN.")
    order = np.argsort(numbers, axis=1)
    return np.take_along_axis(images.reshape(wanted), order[..., None], axis=1)


def _find_columns(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(
            f"source_target has the classes {unknown.tolist()}, which are no columns "
            f"of y: {classes.tolist()}."
        )
    return np.searchsorted(classes, labels)
