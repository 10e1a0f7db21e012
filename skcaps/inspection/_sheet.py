"""Pictures and texts on one axes, whose unit is an inch at the figure's own size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skcaps.inspection._drawing import (
    MISTAKE_COLOUR,
    Box,
    aspect_of,
    draw_frame,
    draw_picture,
)

# Everything below is in inches, but for the font's size in points.
_FONT = 7.5
_LINE = 0.145
_GAP = 0.06
_WIDEST = 12.5
_LARGEST_SIDE, _SMALLEST_SIDE = 1.8, 0.56
_SWEEP_SIDE, _SMALLEST_SWEEP_SIDE = 0.62, 0.3
COLORBAR = 0.8
# The mean width of a letter over the size of its font.
_LETTER = 0.6


class PictureRow(NamedTuple):
    """One row of pictures: its name, their width over their height, how one is drawn.

    `draw` is called with the axes, the number of the picture and its `Box`, and returns
    its artist.
    """

    name: str
    aspect: float
    draw: Callable[[Any, int, Box], Any]


class TextRow(NamedTuple):
    """One row of texts under the pictures, in the colour of mistakes where one is."""

    name: str
    texts: Sequence[str]
    is_marked: bool = True


def row_of_pictures(name, pictures, *, value_range, cmap):
    """Return the row of images or series."""

    def draw(ax, i, box):
        return draw_picture(ax, pictures[i], box, value_range=value_range, cmap=cmap)

    return PictureRow(name, aspect_of(pictures[0]), draw)


class _Bands(NamedTuple):
    """Where pictures and texts lie that are wrapped into bands of some columns."""

    n_columns: int
    n_bands: int
    width: float
    heights: tuple[float, ...]
    n_lines: int

    @classmethod
    def of(cls, n_pictures, aspects, n_lines):
        side = min(max(3 / math.sqrt(n_pictures), _SMALLEST_SIDE), _LARGEST_SIDE)
        width = max(side * math.sqrt(aspects[0]), _SMALLEST_SIDE)
        n_columns = _count_columns(n_pictures, width + _GAP)
        return cls(
            n_columns,
            math.ceil(n_pictures / n_columns),
            width,
            tuple(width / aspect for aspect in aspects),
            n_lines,
        )

    @property
    def size(self):
        """Width and height of all."""
        width = self.n_columns * (self.width + _GAP) - _GAP
        return width, self.n_bands * self._band - 2 * _GAP

    @property
    def _band(self):
        pictures = sum(self.heights) + _GAP * len(self.heights)
        return pictures + _LINE * self.n_lines + 2 * _GAP

    def box(self, row, i):
        """Return where a picture lies."""
        band, column = divmod(i, self.n_columns)
        left = column * (self.width + _GAP)
        top = band * self._band + sum(self.heights[:row]) + _GAP * row
        return Box(left, top, left + self.width, top + self.heights[row])

    def text_place(self, line, i):
        """Return the middle of a text."""
        below = self.box(-1 % len(self.heights), i)
        x = (below.left + below.right) / 2
        return x, below.bottom + _GAP + (line + 0.5) * _LINE

    def name_places(self, band):
        """Return the heights of the names of all rows of a band."""
        first = band * self.n_columns
        boxes = [self.box(row, first) for row in range(len(self.heights))]
        lines = [self.text_place(line, first)[1] for line in range(self.n_lines)]
        return [(box.top + box.bottom) / 2 for box in boxes] + lines


def draw_bands(ax, n_pictures, picture_rows, text_rows, *, mistakes=None, beside=0.0):
    """Draw columns of pictures and texts, as many below each other as they need.

    Parameters
    ----------
    ax : matplotlib Axes or None
        None makes a figure that fits.
    n_pictures : int
        The number of columns in all.
    picture_rows : list of PictureRow
    text_rows : list of TextRow
    mistakes : array-like of bool of shape (n_pictures,), optional
        Those that are marked.
    beside : float, default=0.0
        Inches that are left free at the right.

    Returns
    -------
    ax : matplotlib Axes
    pictures : ndarray of object of shape (n_picture_rows, n_pictures)
        What `PictureRow.draw` has returned.
    """
    if mistakes is None:
        mistakes = np.zeros(n_pictures, dtype=bool)
    aspects = [row.aspect for row in picture_rows]
    bands = _Bands.of(n_pictures, aspects, len(text_rows))
    names = [row.name for row in [*picture_rows, *text_rows]]
    ax, font = _prepare(ax, *bands.size, left=_text_width(names) + _GAP, right=beside)
    pictures = np.empty((len(picture_rows), n_pictures), dtype=object)
    for r, i in np.ndindex(pictures.shape):
        pictures[r, i] = picture_rows[r].draw(ax, i, bands.box(r, i))
    for i in np.flatnonzero(mistakes):
        draw_frame(ax, bands.box(0, i), MISTAKE_COLOUR)
    marks = [{}, {"color": MISTAKE_COLOUR, "weight": "bold"}]
    for (line, row), i in itertools.product(enumerate(text_rows), range(n_pictures)):
        text = _shorten(row.texts[i], bands.width)
        mark = marks[int(mistakes[i] and row.is_marked)]
        _write(ax, bands.text_place(line, i), text, **font, **mark)
    for band in range(bands.n_bands):
        for name, y in zip(names, bands.name_places(band), strict=True):
            _write(ax, (-_GAP, y), name, ha="right", **font)
    return ax, pictures


class _Blocks(NamedTuple):
    """Where rows of pictures lie, the later rows beside the first ones."""

    n_rows: int
    n_columns: int
    per_block: int
    width: float
    height: float
    label: float

    @classmethod
    def of(cls, n_rows, n_columns, aspect, label):
        side = max(_SWEEP_SIDE * min(1, math.sqrt(16 / n_rows)), _SMALLEST_SWEEP_SIDE)
        width, height = side * math.sqrt(aspect), side / math.sqrt(aspect)
        block = n_columns * (width + _GAP) + label
        n_blocks = _count_blocks(n_rows, block, height + _GAP)
        per_block = math.ceil(n_rows / n_blocks)
        return cls(n_rows, n_columns, per_block, width, height, label + 2 * _GAP)

    @property
    def starts(self):
        """Return the left sides of the blocks."""
        block = self.n_columns * (self.width + _GAP) + self.label
        return block * np.arange(math.ceil(self.n_rows / self.per_block))

    @property
    def size(self):
        """Width and height of all."""
        width = self.starts[-1] + self.n_columns * (self.width + _GAP) - _GAP
        return width, self.per_block * (self.height + _GAP) - _GAP

    def box(self, row, column):
        """Return where a picture lies."""
        block, row = divmod(row, self.per_block)
        left = self.starts[block] + column * (self.width + _GAP)
        top = row * (self.height + _GAP)
        return Box(left, top, left + self.width, top + self.height)


def draw_blocks(ax, pictures, row_labels, column_labels, *, value_range, cmap):
    """Draw rows of pictures, with the later rows beside the first ones if many.

    Parameters
    ----------
    ax : matplotlib Axes or None
        None makes a figure that fits.
    pictures : ndarray of shape (n_rows, n_columns, height, width, ...)
    row_labels, column_labels : list of str
    value_range : tuple of float
    cmap : str or matplotlib Colormap

    Returns
    -------
    ax : matplotlib Axes
    artists : ndarray of object of shape (n_rows, n_columns)
    """
    n_rows, n_columns = pictures.shape[:2]
    label = _text_width(row_labels) + _GAP
    blocks = _Blocks.of(n_rows, n_columns, aspect_of(pictures[0, 0]), label)
    ax, font = _prepare(ax, *blocks.size, left=label, below=0.3)
    artists = np.empty((n_rows, n_columns), dtype=object)
    style = {"value_range": value_range, "cmap": cmap}
    for r, c in np.ndindex(n_rows, n_columns):
        artists[r, c] = draw_picture(ax, pictures[r, c], blocks.box(r, c), **style)
    for r, text in enumerate(row_labels):
        left, top, _, bottom = blocks.box(r, 0)
        place = left - _GAP, (top + bottom) / 2
        _write(ax, place, text, ha="right", **font)
    chosen = _spread(column_labels, blocks.width)
    middles = chosen * (blocks.width + _GAP) + blocks.width / 2
    places = (blocks.starts[:, None] + middles).ravel()
    texts = [column_labels[c] for c in chosen] * len(blocks.starts)
    ax.set_xticks(places, texts, **font)
    return ax, artists


def draw_colorbar(ax, mappable, label):
    """Draw what colours mean, in the `COLORBAR` inches that are free at the right."""
    right, height = ax.get_xlim()[1], ax.get_ylim()[0]
    place = (right - COLORBAR + 0.12, 0, 0.12, min(height, 2.5))
    inset = ax.inset_axes(place, transform=ax.transData)
    size = ax.texts[0].get_fontsize()
    bar = ax.figure.colorbar(mappable, cax=inset)
    bar.set_label(label, fontsize=size)
    bar.outline.set_visible(False)
    inset.tick_params(labelsize=size)
    return bar


def _prepare(ax, width, height, *, left, right=0.0, below=0.0):
    """Return bare axes whose unit is an inch, and the size of their font.

    A new figure has room for a title. In axes that are smaller the font is smaller too.
    """
    import matplotlib.pyplot as plt

    scale = 1.0
    whole = left + width + right
    if ax is None:
        size = (max(2.5, whole + 0.15), height + 0.45 + below)
        _, ax = plt.subplots(figsize=size, layout="constrained")
    else:
        box = ax.get_window_extent()
        dpi = ax.figure.dpi
        scale = min(1.0, box.width / dpi / whole, box.height / dpi / height)
    ax.set(xlim=(-left, width + right), ylim=(height, 0), aspect="equal")
    ax.set(xticks=[], yticks=[])
    ax.autoscale(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax, {"fontsize": _FONT * max(scale, 0.5)}


def _write(ax, place, text, *, ha="center", **font):
    # All texts lie inside the axes: the layout need not measure them.
    ax.text(*place, text, ha=ha, va="center", **font).set_in_layout(False)


def _text_width(texts):
    longest = max((len(text) for text in texts), default=0)
    return longest * _LETTER * _FONT / 72


def _shorten(text, width):
    most = max(int(width * 72 / (_LETTER * _FONT)), 2)
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _count_columns(n_pictures, width):
    """Fill bands alike, with twice as many columns as bands, in the widest figure."""
    most = max(10, math.ceil(2 * math.sqrt(n_pictures)))
    most = max(1, min(n_pictures, most, int(_WIDEST / width)))
    return math.ceil(n_pictures / math.ceil(n_pictures / most))


def _count_blocks(n_rows, block, row):
    """Return the least number of blocks that makes a sheet no higher than wide."""
    return next(
        n
        for n in itertools.count(1)
        if math.ceil(n_rows / n) * row <= max(n * block, _WIDEST / 2)
    )


def _spread(labels, width):
    """Return which columns have room for their labels, the middle one among them."""
    needed = math.ceil((_text_width(labels) + 0.04) / (width + _GAP))
    half = max((len(labels) - 1) // 2, 1)
    step = next((s for s in range(needed, half + 1) if half % s == 0), half)
    return np.arange(0, len(labels), step)
