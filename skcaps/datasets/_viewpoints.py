"""Splits of smallNORB by the viewpoint, to test on viewpoints never trained on."""

import numpy as np
from numpy.typing import ArrayLike

# The column of `info`, and the values that are trained on.
FAMILIAR = {
    "elevation": (1, (0, 1, 2)),
    "azimuth": (2, (30, 32, 34, 0, 2, 4)),
}


def novel_viewpoint_split(
    info: ArrayLike, *, by: str = "azimuth"
) -> tuple[np.ndarray, np.ndarray]:
    """Split smallNORB into the viewpoints to train on and the novel ones.

    A third of the viewpoints is familiar: for the azimuth, the six within 60 degrees
    of the front, 300, 320, 340, 0, 20 and 40 degrees; for the elevation, the three
    lowest, 30, 35 and 40 degrees. The others are novel.

    The protocol of the paper trains on the familiar part of the training set, stops
    where the error on the familiar part of the test set is that of the network it is
    compared with, and reports the error on the novel part of the test set.

    Parameters
    ----------
    info : array-like of shape (n_samples, 4)
        How each pair of images was taken, as :func:`load_smallnorb` gives it:
        instance, elevation, azimuth, lighting.
    by : {"azimuth", "elevation"}, default="azimuth"
        What tells the viewpoints apart.

    Returns
    -------
    familiar : ndarray of shape (n_familiar,), dtype int64
        The indices of the samples to train on, in ascending order.
    novel : ndarray of shape (n_samples - n_familiar,), dtype int64
        The indices of all other samples, in ascending order.

    Raises
    ------
    ValueError
        If `by` or the shape of `info` is another one.

    See Also
    --------
    load_smallnorb : The data set that this splits.

    References
    ----------
    Hinton, Sabour, Frosst (2018), Matrix capsules with EM routing, ICLR, section 5.1.

    Examples
    --------
    >>> from skcaps.datasets import novel_viewpoint_split
    >>> info = [[4, 0, 0, 1], [4, 5, 34, 1], [6, 2, 18, 0]]
    >>> novel_viewpoint_split(info)
    (array([0, 1]), array([2]))
    >>> novel_viewpoint_split(info, by="elevation")
    (array([0, 2]), array([1]))
    """
    if by not in FAMILIAR:
        raise ValueError(f"by must be one of {sorted(FAMILIAR)}, got {by!r}.")
    info = np.asarray(info)
    if info.ndim != 2 or info.shape[1] != 4:
        raise ValueError(
            "info must have the shape (n_samples, 4), for instance, elevation, azimuth "
            f"and lighting, got {info.shape}; take it from load_smallnorb."
        )
    column, familiar_values = FAMILIAR[by]
    is_familiar = np.isin(info[:, column], familiar_values)
    return np.flatnonzero(is_familiar), np.flatnonzero(~is_familiar)
