"""The images that were laid over each other, for the decoder to aim at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skcaps.estimators._inputs import to_numpy
from skcaps.estimators._labels import Labels, MultiLabel
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._range import extremes, warn_of_drift


class Sources(NamedTuple):
    """The sources of all samples.

    Attributes
    ----------
    images : ndarray of shape (n_samples, n_sources, n_features)
        A view of what was given where that is possible, on disk too.
    order : ndarray of shape (n_samples, n_sources)
        Where the sources of a sample are, sorted by their classes.
    """

    images: np.ndarray
    order: np.ndarray

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Return the sorted sources of some samples, one below the other."""
        return self.images[indices[:, None], self.order[indices]].reshape(
            -1, self.images.shape[2]
        )


def find_sources(
    given, encoded, *, layout: ImageLayout, input_range, labels: Labels
) -> Sources | None:
    """Check the sources of images.

    Parameters
    ----------
    given : tuple
        The sources, array-like of shape (n_samples, n_sources, ...), each in the layout
        of an image of `X`, and their classes (n_samples, n_sources); None for both
        where there are none.
    encoded : ndarray of shape (n_samples, n_classes)
        The indicator.
    layout : ImageLayout
        Of `X`.
    input_range : tuple of float
        Of the training images.
    labels : Labels

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
    if numbers.ndim != 2 or len(numbers) != len(encoded):
        raise ValueError(
            "source_target must have the shape (n_samples, n_sources), got "
            f"{numbers.shape} for {len(encoded)} images."
        )
    images = _flatten(images, numbers.shape, layout)
    _check_classes(numbers, encoded)
    if not np.isfinite(extremes(images)).all():
        raise ValueError("sources must be finite, got infinity or NaN.")
    warn_of_drift(images, input_range, "sources")
    return Sources(images, np.argsort(numbers, axis=1))


def _flatten(images, shape, layout: ImageLayout):
    n_features = int(np.prod(layout.shape))
    sample = images.shape[2:]
    is_image = sample == (n_features,) or (len(sample) > 1 and layout.accepts(sample))
    if images.shape[:2] != shape or not is_image:
        raise ValueError(
            "sources must have the shape (n_samples, n_sources, ...) of images like "
            f"those of X, {layout.row_shape} or flat, got {images.shape} for a "
            f"source_target of shape {shape}."
        )
    return images.reshape(*shape, n_features)


def _find_columns(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(
            f"source_target has the classes {unknown.tolist()}, which are no columns "
            f"of y: {classes.tolist()}."
        )
    return np.searchsorted(classes, labels)


def _check_classes(numbers, encoded):
    named = np.zeros_like(encoded)
    np.put_along_axis(named, numbers, 1, axis=1)
    # One that is named twice would leave another out.
    if (named != encoded).any() or (named.sum(axis=1) != numbers.shape[1]).any():
        raise ValueError(
            "source_target must name all the classes that y has for an image, each "
            "once."
        )
