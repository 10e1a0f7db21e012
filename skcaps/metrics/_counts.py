"""How many pixels of each class two masks hold, and share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skcaps.metrics._labels import Label, blocks, encode


class Counts(NamedTuple):
    """How many pixels of each class there are.

    Attributes
    ----------
    shared : ndarray of shape (..., n_classes)
        Pixels of the class in both masks.
    true : ndarray of shape (..., n_classes)
        Pixels of the class in the true mask.
    predicted : ndarray of shape (..., n_classes)
        Pixels of the class in the predicted mask.
    """

    shared: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    def sum(self) -> "Counts":
        """Take all classes together.

        Returns
        -------
        counts : Counts
            Of one class.
        """
        return Counts(*(count.sum(axis=-1, keepdims=True) for count in self))


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Two masks of the same images.

    Attributes
    ----------
    true, predicted : ndarray of shape (n_samples, ...)
    codes : mapping from label to int
        The number of each class, and -1 for true labels that are not counted.
    sample_weight : ndarray of shape (n_samples,) or None
        How much each image counts.
    """

    true: np.ndarray
    predicted: np.ndarray
    codes: Mapping[Label, int]
    sample_weight: np.ndarray | None

    def count_all(self) -> Counts:
        """Count the pixels of all images together.

        Returns
        -------
        counts : Counts
            Of arrays of the shape (n_classes,).
        """
        total: np.ndarray | int = 0
        for block in blocks(self.true):
            weights = None
            if self.sample_weight is not None:
                weights = np.repeat(self.sample_weight[block], self.true[0].size)
            total = total + self._count(block, 1, weights)
        return Counts(*np.asarray(total)[:, 0])

    def count_each(self) -> Counts:
        """Count the pixels of each image by itself.

        Returns
        -------
        counts : Counts
            Of arrays of the shape (n_samples, n_classes).
        """
        parts = [
            self._count(block, block.stop - block.start) for block in blocks(self.true)
        ]
        return Counts(*np.concatenate(parts, axis=1))

    def _count(
        self, block: slice, n_rows: int, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the three counts, shape (3, n_rows, n_classes)."""
        n_classes = max(self.codes.values()) + 1
        true, predicted = (
            encode(mask[block], self.codes, n_classes)
            for mask in (self.true, self.predicted)
        )
        # The last column takes what belongs to no class.
        predicted[true < 0] = n_classes
        true[true < 0] = n_classes
        shared = np.where(true == predicted, true, n_classes)
        width = n_classes + 1
        row = np.repeat(np.arange(n_rows) * width, true.size // n_rows)
        found = [
            np.bincount(row + numbers, weights, n_rows * width)
            for numbers in (shared, true, predicted)
        ]
        return np.stack(found).reshape(3, n_rows, width)[:, :, :-1]
