"""Which pixels the primary capsules of a place read."""

from __future__ import annotations

import numpy as np
from torch import nn

from skcaps.nn import CapsNetStem


def spread_over_image(weights, network, image_shape):
    """Spread a number for each place of the grid over the pixels that it reads.

    A pixel gets the mean of the places that read it, each weighted by the number of
    ways from the pixel to the place through the convolutions.

    Parameters
    ----------
    weights : ndarray of shape (..., rows, columns)
        A number for each place of the grid of primary capsules.
    network : CapsuleNetwork
        With primary capsules that are made by one convolution.
    image_shape : tuple of int
        Channels, height and width.

    Returns
    -------
    maps : ndarray of shape (..., height, width)
        NaN where no place reads a pixel.
    """
    vertical, horizontal = (
        _ways(network, axis, size) for axis, size in enumerate(image_shape[1:])
    )
    ways = vertical.sum(axis=0)[:, None] * horizontal.sum(axis=0)
    total = vertical.T @ weights @ horizontal
    return np.divide(total, ways, out=np.full_like(total, np.nan), where=ways > 0)


def _ways(network, axis, size):
    """Return the number of ways from each pixel of an axis to each place of the grid.

    Returns
    -------
    ways : ndarray of shape (n_places, size)
    """
    if isinstance(network.stem, CapsNetStem):
        below = _reads(network.stem.conv, axis, size)
    else:
        n_features = network.stem.out_shape[1 + axis]
        below = _reads_evenly(n_features, size)
    return _reads(network.primary.conv, axis, len(below)) @ below


def _reads(conv: nn.Conv2d, axis, size):
    """Return which inputs each output of a convolution without padding reads."""
    kernel, stride = conv.kernel_size[axis], conv.stride[axis]
    starts = stride * np.arange((size - kernel) // stride + 1)[:, None]
    places = np.arange(size)
    return ((places >= starts) & (places < starts + kernel)).astype(float)


def _reads_evenly(n_outputs, size):
    """Take it that a stem of the user's own cuts the image into equal parts."""
    edges = np.arange(n_outputs + 1) * size / n_outputs
    places = np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(
        edges[:-1, None], places
    )
    return np.maximum(overlap, 0)
