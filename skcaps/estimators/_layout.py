"""How a row of numbers is an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

_AXES = ("channels", "height", "width")
_LAST = ("height", "width", "channels")
# A longer axis is an image's side, not its channels.
_MOST_CHANNELS = 4


class ImageLayout(NamedTuple):
    """How a row of numbers is an image.

    Attributes
    ----------
    shape : tuple of int
        ``(channels, height, width)``.
    axes : tuple of str
        The names of the same in the order in which a row holds them.
    """

    shape: tuple[int, int, int]
    axes: tuple[str, ...] = _AXES

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Sizes in the order in which a row holds them."""
        return tuple(self.shape[_AXES.index(name)] for name in self.axes)

    def to_images(self, rows: torch.Tensor) -> torch.Tensor:
        """Turn ``(batch, features)`` into ``(batch, channels, height, width)``."""
        order = [1 + self.axes.index(name) for name in _AXES]
        return rows.unflatten(1, self.row_shape).permute(0, *order)

    def to_rows(self, images: torch.Tensor) -> torch.Tensor:
        """Turn ``(batch, channels, height, width)`` into ``(batch, features)``."""
        order = [1 + _AXES.index(name) for name in self.axes]
        return images.permute(0, *order).flatten(1)

    def accepts(self, sample_shape: tuple[int, ...]) -> bool:
        """Return whether samples of this shape are flattened in the row's order."""
        return _without_ones(sample_shape) == _without_ones(self.row_shape)

    def check(self, sample_shape: tuple[int, ...] | None) -> None:
        """Raise a ValueError for samples that are other images."""
        if sample_shape is None or self.accepts(sample_shape):
            return
        raise ValueError(
            f"X must hold images of shape {self.row_shape} or flat rows of "
            f"{math.prod(self.shape)} features, got images of shape {sample_shape}"
            f"{self._hint(sample_shape)}."
        )

    def _hint(self, sample_shape: tuple[int, ...]) -> str:
        for axes in (_LAST, _AXES):
            if ImageLayout(self.shape, axes).row_shape == sample_shape:
                return f"; image_shape={_spell(sample_shape, axes)} would say so"
        return ""


def find_layout(image_shape, sample_shape, n_features: int) -> ImageLayout:
    """Return the layout that `image_shape` states, or that samples suggest.

    Parameters
    ----------
    image_shape : "auto", tuple of int or dict
    sample_shape : tuple of int or None
        Axes of a sample of `X` after the first; None for flat rows.
    n_features : int

    Raises
    ------
    ValueError
        If the shape is none, does not fit `X`, or has to be asked for.
    """
    if isinstance(image_shape, str):
        return _guess(sample_shape, n_features)
    layout = _read(image_shape)
    if math.prod(layout.shape) != n_features:
        channels, height, width = layout.shape
        raise ValueError(
            f"X has {n_features} features, which is no image of {channels} channel(s), "
            f"{height}x{width} pixels, as image_shape={image_shape!r} says; pass "
            "image_shape=(channels, height, width)."
        )
    layout.check(sample_shape)
    return layout


def _read(image_shape) -> ImageLayout:
    named = isinstance(image_shape, Mapping)
    sizes = tuple(image_shape.values()) if named else tuple(image_shape)
    axes = tuple(image_shape) if named else _AXES
    is_whole = all(_is_size(size) for size in sizes)
    if not is_whole or len(sizes) not in (2, 3) or (named and set(axes) != set(_AXES)):
        raise ValueError(
            'image_shape must be "auto", (height, width), (channels, height, width), '
            '(height, width, channels) or a dict of "channels", "height" and "width" '
            f"in the order of the axes, got {image_shape!r}."
        )
    sizes = tuple(int(size) for size in sizes)
    if len(sizes) == 2:
        sizes = (1, *sizes)
    if not named and _has_channels_last(sizes):
        axes = _LAST
    by_name = dict(zip(axes, sizes, strict=True))
    channels, height, width = (by_name[name] for name in _AXES)
    return ImageLayout((channels, height, width), axes)


def _is_size(value) -> bool:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and value > 0


def _has_channels_last(sizes: tuple[int, ...]) -> bool:
    """Return what three numbers mean: the same for everybody's images."""
    first, second, third = sizes
    return third <= _MOST_CHANNELS < first and second > 2 * third


def _guess(sample_shape, n_features: int) -> ImageLayout:
    if sample_shape is None:
        side = math.isqrt(n_features)
        square = side * side == n_features
        return ImageLayout((1, side, side) if square else (1, 1, n_features))
    if len(sample_shape) == 2:
        return ImageLayout((1, *sample_shape))
    first, second, third = sample_shape
    if first > 1 and third <= _MOST_CHANNELS and second > 2 * third:
        last, first_ones = _spell(sample_shape, _LAST), _spell(sample_shape, _AXES)
        raise ValueError(
            "X seems to hold its channels last, in images of shape "
            f"{tuple(sample_shape)}; pass image_shape={last} to confirm it, or "
            f"image_shape={first_ones} if the channels come first."
        )
    return ImageLayout(tuple(sample_shape))


def _spell(sizes, axes) -> str:
    """Return what to pass as `image_shape` for this order: a tuple where it says it."""
    sizes = tuple(int(size) for size in sizes)
    if axes == (_LAST if _has_channels_last(sizes) else _AXES):
        return repr(sizes)
    return repr(dict(zip(axes, sizes, strict=True)))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    # An axis of one does not change the order of the numbers.
    return tuple(size for size in shape if size != 1)
