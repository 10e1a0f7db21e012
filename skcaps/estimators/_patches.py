"""Images and masks, handed out as patches in whole batches."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from skcaps.estimators._dataset import ImageDataset
from skcaps.estimators._objective import Batch
from skcaps.functional import MASK_AUGMENTATIONS

# With patch_size="auto", patches are not larger.
_AUTO_PATCH = 128


class PatchDataset(ImageDataset):
    """Images with a mask each, of which an epoch sees as many patches as cover them.

    Parameters
    ----------
    *data
        Rows, encoded masks (n_samples, pixels), and None.
    patch_size : int or "auto"
        Longest side of a patch.
    **belonging
        As for `ImageDataset`.
    """

    def __init__(self, *data, patch_size: str | int, **belonging):
        super().__init__(*data, **belonging)
        longest = _AUTO_PATCH if isinstance(patch_size, str) else patch_size
        _, height, width = self.layout.shape
        self.sides = min(longest, height), min(longest, width)
        # How many cover a side.
        self.grid = math.ceil(height / longest), math.ceil(width / longest)
        self.is_random = True

    def __len__(self):
        return len(self.indices) * math.prod(self.grid)

    def split(self, validation_fraction, generator):
        """Hold out some images, in patches at places that stay the same."""
        try:
            train, valid = train_test_split(
                np.arange(len(self.indices)),
                test_size=validation_fraction,
                random_state=generator,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True holds out images, and {len(self.indices)} with "
                f"validation_fraction={validation_fraction} are too few; increase "
                "either, or set early_stopping=False."
            ) from error
        held_out = self.subset(valid)
        held_out.is_random = False
        return self.subset(train), held_out

    def sample(self, n_samples) -> Batch:
        """Draw a batch of at most `n_samples` patches."""
        return self.batch(torch.randperm(len(self))[:n_samples])

    def batch(self, positions) -> Batch:
        """Make a batch of patches; each position is that of an image and a place."""
        n_places = math.prod(self.grid)
        indices = self.indices[positions // n_places]
        there = self._send(indices)
        images = self._to_images(self._take(indices, there))
        masks = self.targets[there].unflatten(1, self.layout.shape[1:])
        if n_places > 1:
            corners = self._corners(positions % n_places)
            images = _cut(images, corners, self.sides)
            masks = _cut(masks, corners, self.sides)
        return Batch(images, masks, None, ())

    def _corners(self, places) -> list[tuple[int, int]]:
        """Return the first row and column of patches: random, or on a grid."""
        free = [
            side - own
            for side, own in zip(self.layout.shape[1:], self.sides, strict=True)
        ]
        if self.is_random:
            shares = torch.rand(len(places), 2)
            drawn = (shares * torch.tensor([n + 1 for n in free])).long()
            return [(row, column) for row, column in drawn.tolist()]
        pairs = zip(free, self.grid, strict=True)
        down, right = (n / max(count - 1, 1) for n, count in pairs)
        columns = self.grid[1]
        return [
            (round(place // columns * down), round(place % columns * right))
            for place in places.tolist()
        ]

    def augment(self, batch: Batch, augmentation) -> Batch:
        """Change images and masks together."""
        changed = augmentation(batch.images, batch.targets)
        is_pair = isinstance(changed, (tuple, list)) and len(changed) == 2
        wanted = [tuple(batch.images.shape), tuple(batch.targets.shape)]
        found = [getattr(part, "shape", None) for part in changed] if is_pair else []
        if found != wanted:
            got = f"the shapes {found}" if is_pair else type(changed).__name__
            raise ValueError(
                "augmentation must map images and masks to two tensors of the same "
                f"shapes, {wanted[0]} and {wanted[1]}, got {got}."
            )
        images, masks = changed
        if augmentation not in MASK_AUGMENTATIONS.values():
            _check_augmented(images, masks, self.labels.n_capsules)
        return batch._replace(
            images=images.to(batch.images), targets=masks.to(batch.targets)
        )


def _check_augmented(images, masks, n_capsules):
    if not torch.isfinite(images).all():
        raise ValueError(
            "augmentation must return finite images, got some that are infinite or NaN."
        )
    low, high = int(masks.min()), int(masks.max())
    if low < -1 or high > n_capsules:
        raise ValueError(
            f"augmentation must return masks with numbers from -1 to {n_capsules}, got "
            f"some from {low} to {high}."
        )


def _cut(maps, corners, sides):
    height, width = sides
    parts = [
        one[..., row : row + height, column : column + width]
        for one, (row, column) in zip(maps, corners, strict=True)
    ]
    return torch.stack(parts)
