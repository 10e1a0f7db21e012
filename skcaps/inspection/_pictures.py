"""What is drawn of an image: grey, in colour, or a curve."""

from __future__ import annotations

import math

import numpy as np
import torch


def to_pictures(images):
    """Return images as they are drawn.

    Parameters
    ----------
    images : ndarray of shape (..., channels, height, width)

    Returns
    -------
    pictures : ndarray
        ``(..., height, width)`` for one channel and ``(..., height, width, 3)`` for
        three. Other channels lie beside and below each other in one grey picture.
        Images one pixel high are series, ``(..., 1, length)`` for one channel and
        ``(..., 1, length, channels)`` for more.
    """
    channels, height, width = images.shape[-3:]
    if width == 1 and height > 1:
        return to_pictures(np.swapaxes(images, -2, -1))
    if channels == 1:
        return images[..., 0, :, :]
    if channels == 3 or height == 1:
        return np.moveaxis(images, -3, -1)
    return _beside_each_other(images)


def _beside_each_other(images):
    """Lay channels out in rows, as near to a square as their own shape allows."""
    *outer, channels, height, width = images.shape
    n_columns = min(channels, math.ceil(math.sqrt(channels * height / width)))
    n_rows = math.ceil(channels / n_columns)
    missing = n_rows * n_columns - channels
    if missing:
        nothing = np.full((*outer, missing, height, width), np.nan)
        images = np.concatenate([images, nothing], axis=-3)
    rows = images.reshape(*outer, n_rows, n_columns, height, width)
    rows = np.moveaxis(rows, -3, -2)
    return rows.reshape(*outer, n_rows * height, n_columns * width)


def rows_to_pictures(rows, layout):
    """Return the estimator's input, in any layout, as `to_pictures` returns it."""
    return to_pictures(rows_to_images(rows, layout))


def rows_to_images(rows, layout):
    """Return the estimator's input, in any layout, with its channels first."""
    flat = torch.from_numpy(np.array(rows, order="C").reshape(len(rows), -1))
    return layout.to_images(flat).numpy()


def is_series(picture):
    """Return whether one picture is a curve rather than a strip of pixels."""
    return picture.shape[0] == 1 and picture.shape[1] > 1


def value_range_of(images):
    """Return the values of black and white, where nobody says them."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(np.nanmin(images)), float(np.nanmax(images))


def to_unit(images, value_range):
    """Scale to [0, 1]; what lies outside is not clipped."""
    low, high = value_range
    return (np.asarray(images, dtype=float) - low) / (high - low or 1.0)
