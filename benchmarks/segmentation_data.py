"""The images and masks that segmenters are compared on.

Held-out images are training images that no network is trained on. The test images come
from functions of their own, which are called after training.
"""

from typing import NamedTuple

import numpy as np

from skcaps.datasets import (
    label_pixels,
    load_isbi2012,
    load_mnist,
    make_multimnist,
    masks_from_sources,
)

# Every pair is of a 0 and a 1: a few hundred steps do not tell more digits apart.
N_DIGITS = 2
# No digit.
PAPER = 10
N_PAIRS = {"train": 240, "held out": 60, "test": 200}
# Digits of the training set, from this one on, that only held-out pairs are made of.
FIRST_HELD_OUT = 55_000
# Pairs are the same for every seed of the training.
PAIR_SEEDS = {"train": 0, "held out": 1, "test": 2017}

# Neighbouring slices show the same cells.
TRAIN_SLICES = (0, 8)
HELD_OUT_SLICES = (17, 18, 19)
# Slices are cut to squares of this size, of held-out and test slices the middle one.
SIDE = 256


class Masked(NamedTuple):
    """Images, a label for each of their pixels, and the objects on them.

    Attributes
    ----------
    X : ndarray of shape (n, height, width)
    y : ndarray of shape (n, height, width)
        -1 where two objects are.
    objects : ndarray of shape (n, 2, height, width) or None
        The pixels of each object, where objects overlap.
    labels : ndarray of shape (n, 2) or None
        What these objects are.
    """

    X: np.ndarray
    y: np.ndarray
    objects: np.ndarray | None = None
    labels: np.ndarray | None = None


def load_digit_pairs():
    """Return pairs of digits to train on, and held-out ones."""
    images, labels = load_mnist(return_X_y=True)
    before, after = slice(FIRST_HELD_OUT), slice(FIRST_HELD_OUT, None)
    return (
        _pair(images[before], labels[before], "train"),
        _pair(images[after], labels[after], "held out"),
    )


def load_test_pairs():
    """Return pairs of the digits of the test set."""
    return _pair(*load_mnist(subset="test", return_X_y=True), "test")


def _pair(images, labels, part):
    chosen = labels < N_DIGITS
    pairs = make_multimnist(
        images[chosen].reshape(-1, 28, 28),
        labels[chosen],
        n_samples=N_PAIRS[part],
        random_state=PAIR_SEEDS[part],
    )
    objects = masks_from_sources(pairs.sources).objects
    y = label_pixels(objects, pairs.source_target, background=PAPER)
    return Masked(pairs.images, y, objects, pairs.source_target)


def load_membranes():
    """Return all squares of the slices to train on, and the middle of held-out ones."""
    X, y = load_isbi2012(return_X_y=True)
    train, held_out = list(TRAIN_SLICES), list(HELD_OUT_SLICES)
    return (
        Masked(_cut_all(X[train]), _cut_all(y[train])),
        Masked(_cut_middle(X[held_out]), _cut_middle(y[held_out])),
    )


def load_test_membranes():
    """Return the middle of the test slices."""
    X, y = load_isbi2012(subset="test", return_X_y=True)
    return Masked(_cut_middle(X), _cut_middle(y))


def _cut_all(slices):
    rows, columns = (range(0, side, SIDE) for side in slices.shape[1:])
    return np.concatenate(
        [slices[:, i : i + SIDE, j : j + SIDE] for i in rows for j in columns]
    )


def _cut_middle(slices):
    i, j = ((side - SIDE) // 2 for side in slices.shape[1:])
    return slices[:, i : i + SIDE, j : j + SIDE]
