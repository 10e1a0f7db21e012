"""MultiMNIST: two images of different classes over each other."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from skcaps.datasets._arguments import (
    RandomState,
    as_generator,
    as_images,
    as_labels,
    check_count,
)
from skcaps.datasets._shift import BLOCK, shift

DESCRIPTION = (
    "Pairs of images of different classes, each shifted at random and laid over each "
    "other, in the manner of MultiMNIST. Sabour, Frosst, Hinton (2017), Dynamic "
    "routing between capsules, arXiv:1710.09829."
)


def make_multimnist(
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_samples: int | None = None,
    pad: int = 4,
    max_shift: int = 4,
    random_state: RandomState = None,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Lay images of different classes over each other, as MultiMNIST does.

    Each image of `X` is taken in random order, and none a second time before all
    have had their turn. Another one, equally likely any of another class, comes over
    it. Both are shifted on their own by whole pixels, and their sum is clipped at
    255, or at the largest value of `X` where that is of a floating-point type.

    The paper shifts by up to 4 pixels, so that the two 28x28 boxes overlap by 80% on
    average and no image is cut. Its published code shifts by up to 6, which makes
    72% and can cut what lies within two pixels of an image's edge.

    Parameters
    ----------
    X : array-like of shape (n_samples, height, width) or (n_samples, side * side)
        Grey images, uint8, float32 or float64, none below 0, which is the background.
    y : array-like of shape (n_samples,)
        Their labels, of two classes or more.
    n_samples : int, default=None
        How many pairs to make. ``None`` makes as many as there are images. The paper
        makes 1,000 for each image, which :func:`iter_multimnist` gives in batches.
    pad : int, default=4
        How many rows and columns of background come on each side.
    max_shift : int, default=4
        By how many pixels an image leaves the middle at most, up, down, left and
        right. Where it is above `pad`, images can be cut.
    random_state : int, RandomState, Generator or None, default=None
        Where the pairs and the shifts come from. A number gives the same images
        every time.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, height + 2 * pad, width + 2 * pad)
            The overlaid images, of the type of `X`.
        data : ndarray of shape (n_samples, n_pixels)
            The same images flattened, a view of ``images``.
        target : ndarray of shape (n_samples, n_classes), dtype uint8
            1 for the two classes in each image, 0 for the others.
        classes : ndarray of shape (n_classes,)
            The label of each column of ``target``, in ascending order.
        sources : ndarray of shape (n_samples, 2, height + 2 * pad, width + 2 * pad)
            The two images before they were added, each in its place.
        source_target : ndarray of shape (n_samples, 2)
            Their labels.
        source_indices : ndarray of shape (n_samples, 2), dtype int64
            Which images of `X` they are.
        overlap : float
            Which part of its box, the whole of its rows and columns, an image shares
            with the other one's, on average over the pairs.
        DESCR : str
            What the data set is and where it comes from.
    (data, target) : tuple if `return_X_y` is True
        The flat images and the indicators of their classes.

    Raises
    ------
    ValueError
        If there is one class only, or an argument is out of its range.

    See Also
    --------
    iter_multimnist : The same pairs in batches, without end.
    masks_from_sources : The pixels that each of the two covers.

    References
    ----------
    Sabour, Frosst, Hinton (2017), Dynamic routing between capsules, NeurIPS,
    section 6.1, arXiv:1710.09829.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import make_multimnist
    >>> X = np.full((30, 28, 28), 200, dtype=np.uint8)
    >>> y = np.arange(30) % 10
    >>> pairs = make_multimnist(X, y, n_samples=6000, random_state=0)
    >>> pairs.images.shape
    (6000, 36, 36)
    >>> np.unique(pairs.target.sum(axis=1)).tolist()
    [2]
    >>> round(pairs.overlap, 2)
    0.8
    """
    overlay = _check_overlay(X, y, pad, max_shift)
    if n_samples is None:
        n_samples = len(overlay.images)
    n_samples = check_count("n_samples", n_samples, minimum=1)
    plan = next(overlay.plans(n_samples, n_samples, as_generator(random_state)))
    images = np.empty((n_samples, *overlay.size), dtype=overlay.images.dtype)
    sources = np.empty((n_samples, 2, *overlay.size), dtype=overlay.images.dtype)
    for start in range(0, n_samples, BLOCK):
        block = slice(start, start + BLOCK)
        sources[block] = overlay.draw(plan[block])
        images[block] = overlay.add(sources[block])
    bunch = overlay.bunch(plan, images, sources)
    return (bunch.data, bunch.target) if return_X_y else bunch


def iter_multimnist(
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int = 128,
    n_samples: int | None = None,
    pad: int = 4,
    max_shift: int = 4,
    random_state: RandomState = None,
) -> Iterator[Bunch]:
    """Return the pairs of :func:`make_multimnist` in batches, made one at a time.

    The images are those that :func:`make_multimnist` makes with the same
    `random_state`, a number, whatever the size of the batches.

    Parameters
    ----------
    X : array-like of shape (n_samples, height, width) or (n_samples, side * side)
        Grey images, uint8, float32 or float64, none below 0, which is the background.
    y : array-like of shape (n_samples,)
        Their labels, of two classes or more.
    batch_size : int, default=128
        How many pairs there are in each batch; fewer in the last one, where
        `n_samples` is no multiple.
    n_samples : int, default=None
        How many pairs there are in all. ``None`` goes on without end.
    pad : int, default=4
        How many rows and columns of background come on each side.
    max_shift : int, default=4
        By how many pixels an image leaves the middle at most.
    random_state : int, RandomState, Generator or None, default=None
        Where the pairs and the shifts come from.

    Returns
    -------
    batches : iterator of :class:`~sklearn.utils.Bunch`
        Each with the attributes that :func:`make_multimnist` gives.

    Raises
    ------
    ValueError
        If there is one class only, or an argument is out of its range.

    See Also
    --------
    make_multimnist : All pairs at once.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import iter_multimnist
    >>> X, y = np.full((30, 28, 28), 200, dtype=np.uint8), np.arange(30) % 10
    >>> batches = iter_multimnist(X, y, batch_size=50, n_samples=120, random_state=0)
    >>> [batch.images.shape for batch in batches]
    [(50, 36, 36), (50, 36, 36), (20, 36, 36)]
    """
    overlay = _check_overlay(X, y, pad, max_shift)
    batch_size = check_count("batch_size", batch_size, minimum=1)
    if n_samples is not None:
        n_samples = check_count("n_samples", n_samples, minimum=1)
    plans = overlay.plans(batch_size, n_samples, as_generator(random_state))
    # An expression and not `yield`, so that wrong arguments are named at once.
    return (overlay.batch(plan) for plan in plans)


def _check_overlay(X: ArrayLike, y: ArrayLike, pad: int, max_shift: int) -> "_Overlay":
    images = as_images(X)
    classes, codes = np.unique(as_labels(y, len(images)), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "y must have two classes or more, so that each image finds another one of "
            f"a different class, got only {classes[0]!r}."
        )
    pad = check_count("pad", pad)
    max_shift = check_count("max_shift", max_shift)
    return _Overlay(images, images.max(), classes, codes, pad, max_shift)


@dataclass(frozen=True)
class _Overlay:
    """What all pairs have in common.

    A plan has one row for a pair: the indices of the two images, then how far the
    first goes down and right, then the second.
    """

    images: np.ndarray
    highest: np.generic
    classes: np.ndarray
    codes: np.ndarray
    pad: int
    max_shift: int

    @property
    def size(self) -> tuple[int, int]:
        _, height, width = self.images.shape
        return height + 2 * self.pad, width + 2 * self.pad

    def plans(
        self, batch_size: int, n_samples: int | None, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        """Cut the passes over all images into batches."""
        left = self.plan_pass(rng)
        n_given = 0
        while n_samples is None or n_given < n_samples:
            n_rows = batch_size
            if n_samples is not None:
                n_rows = min(n_rows, n_samples - n_given)
            parts = [left]
            while sum(map(len, parts)) < n_rows:
                parts.append(self.plan_pass(rng))
            plan = np.concatenate(parts)
            yield plan[:n_rows]
            left = plan[n_rows:]
            n_given += n_rows

    def plan_pass(self, rng: np.random.Generator) -> np.ndarray:
        """Plan a pair for each image, in random order."""
        first = rng.permutation(len(self.codes))
        code = self.codes[first]
        counts = np.bincount(self.codes)
        starts = np.cumsum(counts) - counts
        by_class = np.argsort(self.codes, kind="stable")
        # A place among the images of all other classes, which jumps over its own.
        place = rng.integers(0, len(first) - counts[code])
        place += np.where(place >= starts[code], counts[code], 0)
        shifts = rng.integers(-self.max_shift, self.max_shift + 1, (len(first), 4))
        return np.column_stack([first, by_class[place], shifts])

    def draw(self, plan: np.ndarray) -> np.ndarray:
        """Put both images of each pair in their places."""
        pairs = [
            shift(self.images[plan[:, image]], shifts, self.pad, self.max_shift)
            for image, shifts in enumerate([plan[:, 2:4], plan[:, 4:6]])
        ]
        return np.stack(pairs, axis=1)

    def add(self, sources: np.ndarray) -> np.ndarray:
        """Add both images of each pair, up to the largest value there is."""
        first, second = sources[:, 0], sources[:, 1]
        if sources.dtype != np.uint8:
            return np.asarray(np.minimum(first + second, self.highest))
        # No sum leaves the type this way.
        return np.asarray(first + np.minimum(second, 255 - first))

    def overlap(self, plan: np.ndarray) -> float:
        """Measure the shared part of the boxes, on average."""
        distance = np.abs(plan[:, 2:4] - plan[:, 4:6])
        shared = np.clip(1 - distance / self.images.shape[1:], 0, None)
        return float(shared.prod(axis=1).mean())

    def batch(self, plan: np.ndarray) -> Bunch:
        sources = self.draw(plan)
        return self.bunch(plan, self.add(sources), sources)

    def bunch(self, plan: np.ndarray, images: np.ndarray, sources: np.ndarray) -> Bunch:
        codes = self.codes[plan[:, :2]]
        target = np.zeros((len(plan), len(self.classes)), dtype=np.uint8)
        np.put_along_axis(target, codes, 1, axis=1)
        return Bunch(
            data=images.reshape(len(images), -1),
            images=images,
            target=target,
            classes=self.classes.copy(),
            sources=sources,
            source_target=self.classes[codes],
            source_indices=plan[:, :2].copy(),
            overlap=self.overlap(plan),
            DESCR=DESCRIPTION,
        )
