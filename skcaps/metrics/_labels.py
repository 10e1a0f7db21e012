"""From masks of labels of any type to the numbers of their classes."""

import itertools
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

Label: TypeAlias = int | float | str

# Labels that are read together, unless one image has more.
BLOCK = 1 << 20


def blocks(mask: np.ndarray) -> Iterator[slice]:
    """Cut a mask along its first axis, so that little of it is copied at a time.

    Parameters
    ----------
    mask : ndarray of shape (n_samples, ...)
        The labels of all images.

    Yields
    ------
    block : slice
        A few images, in order.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics._labels import blocks
    >>> list(blocks(np.zeros((3, 1024, 1024), dtype=np.uint8)))
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    length = max(1, BLOCK // mask[0].size)
    for start in range(0, len(mask), length):
        yield slice(start, min(start + length, len(mask)))


def find_labels(
    name: str, mask: np.ndarray, is_counted: Callable[[slice], np.ndarray] | None = None
) -> set[Label]:
    """Find which labels a mask holds.

    Parameters
    ----------
    name : str
        What the mask is called.
    mask : ndarray of shape (n_samples, ...)
        The labels, whole numbers of any type or strings.
    is_counted : callable, default=None
        Called with a slice of images, returns which of their pixels are looked at.
        ``None`` looks at all.

    Returns
    -------
    labels : set
        The labels as Python's own numbers and strings.

    Raises
    ------
    ValueError
        If a value is neither a whole number nor a string.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics._labels import find_labels
    >>> sorted(find_labels("y_true", np.array([[3, 7], [7, 7]])))
    [3, 7]
    """
    found: set[Label] = set()
    for block in blocks(mask):
        part = mask[block].reshape(-1)
        if is_counted is not None:
            part = part[is_counted(block)]
        values, _ = _runs(part)
        found |= check_labels(name, values)
    return found


def check_labels(name: str, values: Iterable[Label]) -> set[Label]:
    """Check that values are whole numbers or strings, and leave out repetitions.

    Parameters
    ----------
    name : str
        Where they are.
    values : iterable of label
        The values.

    Returns
    -------
    labels : set
        The values.

    Raises
    ------
    ValueError
        If one is something else.

    Examples
    --------
    >>> from skcaps.metrics._labels import check_labels
    >>> check_labels("labels", [0, 0.5])
    Traceback (most recent call last):
    ValueError: labels must hold whole numbers or strings, got 0.5; ...
    """
    try:
        labels = set(values)
    except TypeError as error:
        raise ValueError(
            f"{name} must hold whole numbers or strings, got other objects: {error}."
        ) from error
    for wrong in itertools.filterfalse(_is_label, labels):
        raise ValueError(
            f"{name} must hold whole numbers or strings, got {wrong!r}; a score "
            "compares the labels that `predict` returns, not probabilities."
        )
    return labels


def sort_labels(labels: set[Label]) -> list[Label]:
    """Sort labels of one kind.

    Parameters
    ----------
    labels : set
        Numbers or strings.

    Returns
    -------
    labels : list
        The labels in ascending order.

    Raises
    ------
    ValueError
        If there are numbers and strings.

    Examples
    --------
    >>> from skcaps.metrics._labels import sort_labels
    >>> sort_labels({"cell", "background"})
    ['background', 'cell']
    """
    names = {label for label in labels if isinstance(label, str)}
    if names and names != labels:
        raise ValueError(
            "All labels must be numbers, or all strings, got "
            f"{min(names)!r} and {next(iter(labels - names))!r}; convert one of y_true "
            "and y_pred."
        )
    return sorted(labels)


def encode(mask: np.ndarray, codes: Mapping[Label, int], other: int) -> np.ndarray:
    """Return the number of the class of each label.

    Parameters
    ----------
    mask : ndarray
        The labels.
    codes : mapping from label to int
        The number of each class.
    other : int
        The number for all other labels.

    Returns
    -------
    numbers : ndarray of shape (mask.size,), dtype intp
        The numbers in the order of the labels.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.metrics._labels import encode
    >>> encode(np.array([["cell", "?"]]), {"cell": 0}, other=1).tolist()
    [0, 1]
    """
    values, lengths = _runs(mask.reshape(-1))
    of_runs = np.fromiter((codes.get(value, other) for value in values), np.intp)
    return np.repeat(of_runs, lengths)


def _runs(flat: np.ndarray) -> tuple[list[Label], np.ndarray]:
    """Return the value and the length of each run of equal labels.

    Most pixels have the label of their neighbour, and a dictionary is asked once for
    all of them.
    """
    is_first = np.ones(len(flat), dtype=bool)
    is_first[1:] = flat[1:] != flat[:-1]
    starts = np.flatnonzero(is_first)
    return flat[starts].tolist(), np.diff(starts, append=len(flat))


def _is_label(value: object) -> bool:
    if isinstance(value, numbers.Real):
        return float(value).is_integer()
    return isinstance(value, str)
