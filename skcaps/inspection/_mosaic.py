"""Many small images as one picture."""

from __future__ import annotations

import numpy as np
import torch

# Share of an image's longer side that is left free between two images.
_GAP = 0.08
_INCHES_PER_IMAGE = 0.62


def to_channels_last(images):
    """Return images as matplotlib shows them.

    Parameters
    ----------
    images : ndarray of shape (..., channels, height, width)

    Returns
    -------
    images : ndarray of shape (..., height, width) or (..., height, width, 3)
        Neither one channel nor three, as in a stereo pair, become one wide grey image.
    """
    channels = images.shape[-3]
    if channels == 3:
        return np.moveaxis(images, -3, -1)
    return np.concatenate([images[..., c, :, :] for c in range(channels)], axis=-1)


def rows_to_images(rows, layout):
    """Return the estimator's input, in any layout, as `to_channels_last` gives it."""
    flat = torch.from_numpy(np.array(rows, order="C").reshape(len(rows), -1))
    return to_channels_last(layout.to_images(flat).numpy())


def value_range_of(images):
    """Return the values of black and white, where nobody says them."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min()), float(images.max())


def to_text(label) -> str:
    """Name one class, or the several of an indicator's row."""
    if np.ndim(label) == 0:
        return str(label)
    return "+".join(map(str, np.flatnonzero(label))) or "none"


def draw(images, ax, *, value_range, cmap, row_labels, column_labels):
    """Show a grid of images in one picture.

    Parameters
    ----------
    images : ndarray of shape (n_rows, n_columns, height, width) or \
            (n_rows, n_columns, height, width, 3)
    ax : matplotlib Axes or None
        None makes a figure that fits the grid.
    value_range : tuple of float
        Values shown as black and white; those outside are clipped.
    cmap : str or matplotlib Colormap
        Colours of grey images.
    row_labels, column_labels : list of str

    Returns
    -------
    image : matplotlib AxesImage
    """
    import matplotlib.pyplot as plt

    n_rows, n_columns, height, width = images.shape[:4]
    if ax is None:
        _, ax = plt.subplots(
            figsize=_figure_size(n_rows, n_columns, width / height),
            layout="constrained",
        )
    gap = max(1, round(_GAP * max(height, width)))
    image = ax.imshow(
        _tile(_to_unit(images, value_range), gap),
        cmap=cmap,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    ax.set_xticks(_centres(n_columns, width, gap), column_labels)
    ax.set_yticks(_centres(n_rows, height, gap), row_labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _figure_size(n_rows, n_columns, aspect):
    # The constants hold the labels.
    side = _INCHES_PER_IMAGE
    return max(3.0, 1.3 + side * n_columns * aspect), 0.9 + side * n_rows


def _centres(count, side, gap):
    return np.arange(count) * (side + gap) + (side - 1) / 2


def _to_unit(images, value_range):
    low, high = value_range
    return np.clip((images.astype(float) - low) / (high - low or 1.0), 0, 1)


def _tile(images, gap):
    """Join a grid of images; the gaps are transparent."""
    n_rows, n_columns, height, width = images.shape[:4]
    if images.ndim == 5:
        images = np.concatenate([images, np.ones((*images.shape[:4], 1))], axis=-1)
    fill = np.nan if images.ndim == 4 else 0.0
    shape = (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap)
    tiled = np.full((*shape, *images.shape[4:]), fill)
    for row, column in np.ndindex(n_rows, n_columns):
        top, left = row * (height + gap), column * (width + gap)
        tiled[top : top + height, left : left + width] = images[row, column]
    return tiled
