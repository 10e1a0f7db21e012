"""Images under random affine maps, with the ranges of affNIST."""

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
from skcaps.datasets._warp import affine_matrices, ink_extents, warp

# Images at a time, so that what is computed for each pixel stays in the cache.
BLOCK = 128

DESCRIPTION = (
    "Images under random affine maps in the manner of affNIST, and not the published "
    "affNIST: other images, other random numbers and another interpolation."
)


def make_affnist_like(
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_versions: int = 1,
    pad: int = 6,
    max_rotation: float = 20.0,
    max_shear: float = 0.2,
    scale: tuple[float, float] = (0.8, 1.2),
    max_shift: float = 8.0,
    random_state: RandomState = None,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Put each image through random affine maps, with the ranges of affNIST.

    This is not the official affNIST, which :func:`load_affnist` loads, and numbers
    measured on it cannot be compared with published ones. It makes a test of the
    same kind from any images.

    An image is rotated, sheared, scaled vertically and horizontally, each by a
    number that is equally likely anywhere in its range, and then shifted. Each shift
    is equally likely among those within `max_shift` that keep all ink, which is
    everything above 0, inside the result. Ink is cut only where no such shift exists,
    and then the image is left as near to the middle as `max_shift` allows.

    Parameters
    ----------
    X : array-like of shape (n_images, height, width) or (n_images, side * side)
        Grey images, uint8, float32 or float64, none below 0, which is the background.
    y : array-like of shape (n_images,)
        Their labels.
    n_versions : int, default=1
        How many maps each image is put through. affNIST has 32.
    pad : int, default=6
        How many rows and columns the result is larger on each side.
    max_rotation : float, default=20.0
        The largest angle in degrees, in both directions.
    max_shear : float, default=0.2
        By how many columns the rows move at most for each row of distance.
    scale : tuple of two float, default=(0.8, 1.2)
        The smallest and the largest factor, drawn for the height and for the width
        on its own.
    max_shift : float, default=8.0
        The largest shift in pixels, up, down, left and right; not only whole ones.
    random_state : int, RandomState, Generator or None, default=None
        Where the maps come from. A number gives the same images every time.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, height + 2 * pad, width + 2 * pad)
            One version of all images after another, of the type of `X`. There are
            ``n_images * n_versions`` samples.
        data : ndarray of shape (n_samples, n_pixels)
            The same images flattened, a view of ``images``.
        target : ndarray of shape (n_samples,)
            The label of each image.
        source_indices : ndarray of shape (n_samples,), dtype int64
            Which image of `X` it is made of.
        matrices : ndarray of shape (n_samples, 2, 2)
            The map of (row, column), counted from the middle, without the shift.
        shifts : ndarray of shape (n_samples, 2)
            By how many pixels the image went down and right after that.
        DESCR : str
            What the data set is.
    (data, target) : tuple if `return_X_y` is True
        The flat images and their labels.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    See Also
    --------
    load_affnist : The official set.
    pad_and_shift : Images to train on for this test.

    References
    ----------
    Tieleman (2013), affNIST, University of Toronto.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets import make_affnist_like
    >>> X = np.zeros((5, 28, 28), dtype=np.uint8)
    >>> X[:, 8:20, 12:16] = 255
    >>> test = make_affnist_like(X, np.arange(5), n_versions=2, random_state=0)
    >>> test.images.shape
    (10, 40, 40)
    >>> test.target.tolist()
    [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    """
    images = as_images(X)
    labels = as_labels(y, len(images))
    n_versions = check_count("n_versions", n_versions, minimum=1)
    pad = check_count("pad", pad)
    ranges = _Ranges(max_rotation, max_shear, tuple(scale), max_shift)
    source_indices = np.tile(np.arange(len(images)), n_versions)
    rng = as_generator(random_state)
    size = (images.shape[1] + 2 * pad, images.shape[2] + 2 * pad)
    matrices = ranges.draw_matrices(len(source_indices), rng)
    # Where in its interval each shift lies: drawn for all, so that no block counts.
    parts = rng.random((len(source_indices), 2))
    made = np.empty((len(parts), *size), dtype=images.dtype)
    shifts = np.empty_like(parts)
    for start in range(0, len(parts), BLOCK):
        block = slice(start, start + BLOCK)
        sources = images[source_indices[block]]
        ends = ranges.shift_ends(ink_extents(sources, matrices[block]), size)
        shifts[block] = ends[0] + parts[block] * (ends[1] - ends[0])
        warped = warp(sources, matrices[block], shifts[block], size)
        made[block] = np.rint(warped) if made.dtype == np.uint8 else warped
    data, target = made.reshape(len(made), -1), labels[source_indices]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=made,
        target=target,
        source_indices=source_indices,
        matrices=matrices,
        shifts=shifts,
        DESCR=DESCRIPTION,
    )


@dataclass(frozen=True)
class _Ranges:
    """How far the maps go."""

    max_rotation: float
    max_shear: float
    scale: tuple[float, ...]
    max_shift: float

    def __post_init__(self) -> None:
        for name in ("max_rotation", "max_shear", "max_shift"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be finite and not below 0, got {value}.")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise ValueError(
                "scale must be two finite numbers above 0, the smaller one first, got "
                f"{self.scale}."
            )

    def draw_matrices(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        return affine_matrices(
            rng.uniform(-self.max_rotation, self.max_rotation, n_samples),
            rng.uniform(-self.max_shear, self.max_shear, n_samples),
            rng.uniform(self.scale[0], self.scale[1], (n_samples, 2)),
        )

    def shift_ends(self, extents: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Find the smallest and the largest shift, both of shape (n_samples, 2)."""
        # The ink ends before these places, a pixel outside the result.
        edges = (np.array(size) + 1) / 2
        lowest = -edges - extents[..., 0]
        highest = edges - extents[..., 1]
        # Where the ink is too large for the result, it loses as much on both sides.
        middle = (lowest + highest) / 2
        ends = np.stack([np.minimum(lowest, middle), np.maximum(highest, middle)])
        clipped: np.ndarray = np.clip(ends, -self.max_shift, self.max_shift)
        return clipped
