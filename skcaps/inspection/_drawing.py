"""Images, series and maps, each drawn into a box."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from skcaps.inspection._pictures import is_series, to_unit

# Okabe and Ito (2008), "Color universal design": told apart with any kind of colour
# vision.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
)
MISTAKE_COLOUR = "#D55E00"
MISTAKE_SIGN = "\N{BALLOT X}"

# Images that are wider or higher are stretched.
_WIDEST_ASPECT, _HIGHEST_ASPECT = 3.0, 0.5
_SERIES_ASPECT = 2.2


class Box(NamedTuple):
    """A rectangle; `top` is smaller than `bottom`."""

    left: float
    top: float
    right: float
    bottom: float


def aspect_of(picture):
    """Return the width over the height at which a picture is drawn."""
    if is_series(picture):
        return _SERIES_ASPECT
    aspect = picture.shape[1] / picture.shape[0]
    return min(max(aspect, _HIGHEST_ASPECT), _WIDEST_ASPECT)


def draw_picture(ax, picture, box, *, value_range, cmap):
    """Draw an image, or the curves of a series.

    Returns
    -------
    artist : matplotlib AxesImage or list of matplotlib Line2D
    """
    unit = np.clip(to_unit(picture, value_range), 0, 1)
    if is_series(picture):
        return draw_series(ax, unit, box)
    return draw_map(ax, unit, box, limits=(0, 1), cmap=cmap)


def draw_series(ax, unit, box, *, color=None):
    """Draw the curves of a series with values in [0, 1], one for each channel.

    Parameters
    ----------
    ax : matplotlib Axes
    unit : ndarray of shape (1, length) or (1, length, channels)
    box : Box
    color : str, optional
        Of all curves; by default each has its own, before a light ground.

    Returns
    -------
    lines : list of matplotlib Line2D
    """
    curves = unit.reshape(unit.shape[1], -1).T
    if color is None:
        left, top, right, bottom = box
        ax.fill([left, right, right, left], [top, top, bottom, bottom], color="0.94")
    colours = itertools.cycle(COLOURS if color is None else [color])
    margin = 0.05 * (box.bottom - box.top)
    height = box.bottom - box.top - 2 * margin
    x = np.linspace(box.left, box.right, curves.shape[1])
    return [
        ax.plot(x, box.bottom - margin - height * curve, color=colour, linewidth=0.9)[0]
        for curve, colour in zip(curves, colours, strict=False)
    ]


def draw_map(ax, values, box, *, limits, cmap):
    """Draw values between two limits as colours."""
    low, high = limits
    image = ax.imshow(
        values,
        cmap=cmap,
        vmin=low,
        vmax=high,
        extent=(box.left, box.right, box.bottom, box.top),
        interpolation="nearest",
    )
    image.set_in_layout(False)
    return image


def draw_outline(ax, unit, box):
    """Draw the edge of what is bright in an image, or the curves of a series."""
    if is_series(unit):
        draw_series(ax, unit, box, color="white")
    elif min(unit.shape) > 1 and unit.min() < 0.5 < unit.max():
        height, width = unit.shape
        x = box.left + (np.arange(width) + 0.5) * (box.right - box.left) / width
        y = box.top + (np.arange(height) + 0.5) * (box.bottom - box.top) / height
        ax.contour(x, y, unit, levels=[0.5], colors="white", linewidths=0.8)


def draw_frame(ax, box, color):
    """Draw a frame around a picture."""
    left, top, right, bottom = box
    x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
    style = {"linewidth": 2, "solid_joinstyle": "miter", "clip_on": False}
    return ax.plot(x, y, color=color, **style)[0]
