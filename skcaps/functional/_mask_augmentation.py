"""Random changes that move images and their masks together."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from skcaps.functional._checks import check_images, check_shape

# What a mask holds where it is not known.
_UNKNOWN = -1


def random_flip(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image over, left to right, at random.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    masks : Tensor of shape (batch, height, width)
        Whole numbers.

    Returns
    -------
    images : Tensor of shape (batch, channels, height, width)
        Half of them turned over.
    masks : Tensor of shape (batch, height, width)
        The same of them turned over.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    TypeError
        If the images are not of floating point.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import random_flip
    >>> images, masks = torch.rand(4, 1, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    >>> [tuple(part.shape) for part in random_flip(images, masks)]
    [(4, 1, 8, 8), (4, 8, 8)]
    """
    _check(images, masks)
    chosen = _toss(images)
    return _where(chosen, images.flip(-1), images), _where(
        chosen, masks.flip(-1), masks
    )


def random_turn(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Flip each image along rows, columns and, if it is square, its diagonal.

    These are the eight symmetries of a square, for images without an upside: cells,
    views from above.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    masks : Tensor of shape (batch, height, width)
        Whole numbers.

    Returns
    -------
    images : Tensor of shape (batch, channels, height, width)
        Each in one of its positions.
    masks : Tensor of shape (batch, height, width)
        In the same.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    TypeError
        If the images are not of floating point.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import random_turn
    >>> images, masks = torch.rand(4, 1, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    >>> [tuple(part.shape) for part in random_turn(images, masks)]
    [(4, 1, 8, 8), (4, 8, 8)]
    """
    _check(images, masks)
    for axis in (-1, -2):
        chosen = _toss(images)
        images = _where(chosen, images.flip(axis), images)
        masks = _where(chosen, masks.flip(axis), masks)
    if images.shape[-1] == images.shape[-2]:
        chosen = _toss(images)
        images = _where(chosen, images.mT, images)
        masks = _where(chosen, masks.mT, masks)
    return images, masks


def random_affine(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by up to 15 degrees, scale it by up to a tenth, and shift it.

    By up to a tenth of its side. What comes in from outside is the nearest pixel of the
    image, and -1, not known, in the mask, where each pixel takes the nearest label.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    masks : Tensor of shape (batch, height, width)
        Whole numbers.

    Returns
    -------
    images : Tensor of shape (batch, channels, height, width)
        Moved.
    masks : Tensor of shape (batch, height, width)
        Moved alike.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    TypeError
        If the images are not of floating point.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import random_affine
    >>> images, masks = torch.rand(4, 1, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    >>> [tuple(part.shape) for part in random_affine(images, masks)]
    [(4, 1, 8, 8), (4, 8, 8)]
    """
    _check(images, masks)
    maps = _draw_maps(images)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
    # So that zeros from outside are told from labels.
    shifted = (masks - _UNKNOWN).unsqueeze(1).to(images.dtype)
    labels = functional.grid_sample(shifted, grid, mode="nearest", align_corners=False)
    return moved, labels.squeeze(1).round().to(masks.dtype) + _UNKNOWN


MASK_AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "flip": random_flip,
    "turn": random_turn,
    "affine": random_affine,
}


def _draw_maps(images: Tensor) -> Tensor:
    """Return a map from places in the result to places in the image, for each image."""
    batch, _, height, width = images.shape
    angle, scale, down, right = (2 * torch.rand(4, batch) - 1).unbind()
    angle = angle * math.pi / 12
    cos, sin = angle.cos() * (1 + scale / 10), angle.sin() * (1 + scale / 10)
    # Places are from -1 to 1 on both axes, so a turn knows the sides.
    rows = [
        torch.stack([cos, -sin * height / width, right / 5], dim=1),
        torch.stack([sin * width / height, cos, down / 5], dim=1),
    ]
    return torch.stack(rows, dim=1).to(images)


def _toss(images: Tensor) -> Tensor:
    # Drawn on the CPU, so that every device sees the same.
    return (torch.rand(len(images)) < 0.5).to(images.device)


def _where(chosen: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (second.ndim - 1)), first, second)


def _check(images: Tensor, masks: Tensor) -> None:
    check_images(images)
    check_shape("masks", masks, (len(images), *images.shape[2:]))
