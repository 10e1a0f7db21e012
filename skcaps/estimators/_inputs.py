"""Images in any layout and container, checked and flattened to rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import (
    _check_feature_names_in,
    validate_data,
)

from skcaps.estimators._range import warn_of_unlike_columns

# A longer axis is an image's side, not its channels.
_MOST_CHANNELS = 4
# Of rows that are moved to a device at a time.
_MOVED_BYTES = 64 << 20
_TENSOR_DTYPES = (np.uint8, np.float16, np.float32, np.float64)


class ImageLayout(NamedTuple):
    """How a row of numbers is an image.

    Attributes
    ----------
    shape : tuple of int
        ``(channels, height, width)``.
    channels_last : bool
        Whether rows hold ``(height, width, channels)``.
    """

    shape: tuple[int, int, int]
    channels_last: bool

    @property
    def row_shape(self) -> tuple[int, int, int]:
        """Axes in the order in which a row holds them."""
        channels, height, width = self.shape
        return (height, width, channels) if self.channels_last else self.shape

    def to_images(self, rows: torch.Tensor) -> torch.Tensor:
        """Turn ``(batch, features)`` into ``(batch, channels, height, width)``."""
        images = rows.unflatten(1, self.row_shape)
        return images.permute(0, 3, 1, 2) if self.channels_last else images

    def to_rows(self, images: torch.Tensor) -> torch.Tensor:
        """Turn ``(batch, channels, height, width)`` into ``(batch, features)``."""
        if self.channels_last:
            images = images.permute(0, 2, 3, 1)
        return images.flatten(1)

    def accepts(self, sample_shape: tuple[int, ...]) -> bool:
        """Return whether samples of this shape are flattened in the row's order."""
        channels, *sides = self.shape
        same = sample_shape == self.row_shape
        grey = channels == 1 and _squeeze_channel(sample_shape) == tuple(sides)
        return same or grey


def check_fit_input(estimator, X, y):
    """Check training data and decide the layout.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        A view of `X` where that is possible.
    y : ndarray
        Labels as scikit-learn checked them.
    layout : ImageLayout
    """
    X, sample_shape = _flatten(X)
    X, y = validate_data(estimator, X, as_labels(y), dtype="numeric", multi_output=True)
    layout = _resolve_layout(estimator.image_shape, sample_shape, X.shape[1])
    is_table = sample_shape is None and layout.shape[1] == 1
    if is_table and isinstance(estimator.image_shape, str):
        warn_of_unlike_columns(X)
    return X, y, layout


def check_more_input(estimator, X, y, layout):
    """Check training data of a later call against the first one's layout."""
    X, sample_shape = _flatten(X)
    _check_sample_shape(sample_shape, layout)
    return validate_data(
        estimator, X, as_labels(y), dtype="numeric", multi_output=True, reset=False
    )


def check_input(estimator, X, layout):
    """Check data to predict from and give its rows."""
    X, sample_shape = _flatten(X)
    _check_sample_shape(sample_shape, layout)
    return validate_data(estimator, X, dtype="numeric", reset=False)


def check_feature_names(estimator, input_features):
    """Check names passed to `get_feature_names_out`."""
    _check_feature_names_in(estimator, input_features, generate_names=False)


def sample_shape(X) -> tuple[int, ...]:
    """Return the shape of a sample, in the layout of `X`."""
    X = to_numpy(X)
    return tuple((X if hasattr(X, "columns") else _to_array(X)).shape[1:])


def as_tensor(rows) -> torch.Tensor:
    """Copy rows into a tensor; other dtypes become one that holds their values."""
    if rows.dtype not in _TENSOR_DTYPES:
        rows = rows.astype(np.float32 if rows.dtype.itemsize <= 2 else np.float64)
    return torch.from_numpy(np.array(rows, order="C"))


def move(rows, device: torch.device) -> torch.Tensor:
    """Copy rows to a device in parts, since those on disk may not fit into memory."""
    dtype = as_tensor(rows[:0]).dtype
    moved = torch.empty(rows.shape, dtype=dtype, device=device)
    step = max(1, _MOVED_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        moved[part] = as_tensor(rows[part])
    return moved


def to_numpy(array):
    """Return a torch tensor as a NumPy array, and anything else as it is."""
    if not isinstance(array, torch.Tensor):
        return array
    array = array.detach().cpu()
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()


def as_labels(y, name="y"):
    """Return labels that Python objects hold as an array of their own type.

    Raises
    ------
    ValueError
        If a label is missing, or strings, booleans and numbers are mixed.
    """
    y = to_numpy(y)
    if y is None or sparse.issparse(y):
        return y
    labels = np.asarray(y)
    if labels.dtype != object:
        return labels
    objects = labels.ravel().tolist()
    if any(map(_is_missing, objects)):
        raise ValueError(
            f"{name} must not have missing labels (Input {name} contains NaN or None); "
            "drop these samples, or give them a label of their own."
        )
    kinds = {_kind(label) for label in objects}
    if len(kinds) > 1:
        raise ValueError(
            f"{name} must hold labels of one kind, got {' and '.join(sorted(kinds))}; "
            f"convert them with {name}.astype(str)."
        )
    if kinds <= {"booleans", "numbers"}:
        return np.array(objects).reshape(labels.shape)
    return labels


def _is_missing(label) -> bool:
    # pandas' NA and NaT without pandas; what is not itself is NaN.
    is_named_so = type(label).__name__ in ("NAType", "NaTType", "NoneType")
    return is_named_so or (isinstance(label, float) and label != label)


def _kind(label) -> str:
    if isinstance(label, str):
        return "strings"
    if isinstance(label, (bool, np.bool_)):
        return "booleans"
    if isinstance(label, (int, float, np.number)):
        return "numbers"
    return "other objects"


def _flatten(X):
    """Return rows and, for more than two axes, the shape of one sample."""
    X = to_numpy(X)
    if isinstance(X, torch.utils.data.Dataset):
        raise TypeError(
            "X must be an array, got a torch Dataset; stack its images into one array, "
            "or stream them through partial_fit."
        )
    if hasattr(X, "columns") or sparse.issparse(X):
        return X, None
    X = _to_array(X)
    if X.ndim <= 2:
        return X, None
    if X.ndim > 4:
        raise ValueError(
            "X must have 2 axes (n_samples, n_features), 3 (n_samples, height, width) "
            f"or 4 (n_samples, channels, height, width), got shape {X.shape}."
        )
    if not X.size:
        raise ValueError(
            f"X must hold at least one image of at least one pixel, got shape "
            f"{X.shape}: found array with 0 sample(s) or 0 feature(s)."
        )
    return X.reshape(len(X), -1), X.shape[1:]


def _to_array(X):
    try:
        if isinstance(X, (list, tuple)) and any(
            isinstance(image, torch.Tensor) for image in X
        ):
            X = [to_numpy(image) for image in X]
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X must hold images of one size, got an inhomogeneous sequence (setting an "
            "array element with a sequence.); resize the images first."
        ) from error


def _resolve_layout(image_shape, sample_shape, n_features) -> ImageLayout:
    if isinstance(image_shape, str):
        return _guess_layout(sample_shape, n_features)
    layout = _stated_layout(image_shape)
    if math.prod(layout.shape) != n_features:
        channels, height, width = layout.shape
        raise ValueError(
            f"X has {n_features} features, which is no image of {channels} "
            f"channel(s), {height}x{width} pixels; pass "
            "image_shape=(channels, height, width)."
        )
    swapped = layout._replace(channels_last=True)
    if (
        sample_shape
        and not layout.accepts(sample_shape)
        and swapped.accepts(sample_shape)
    ):
        return swapped
    _check_sample_shape(sample_shape, layout)
    return layout


def _stated_layout(image_shape) -> ImageLayout:
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(
        isinstance(side, (int, np.integer)) and side > 0 for side in shape
    ):
        raise ValueError(
            'image_shape must be "auto", (height, width), (channels, height, width) or '
            f"(height, width, channels), got {image_shape!r}."
        )
    shape = tuple(int(side) for side in shape)
    if len(shape) == 2:
        return ImageLayout((1, *shape), channels_last=False)
    first, second, third = shape
    if third <= _MOST_CHANNELS < first:
        return ImageLayout((third, first, second), channels_last=True)
    return ImageLayout(shape, channels_last=False)


def _guess_layout(sample_shape, n_features) -> ImageLayout:
    if sample_shape is None:
        side = math.isqrt(n_features)
        square = side * side == n_features
        shape = (1, side, side) if square else (1, 1, n_features)
        return ImageLayout(shape, channels_last=False)
    if len(sample_shape) == 2:
        return ImageLayout((1, *sample_shape), channels_last=False)
    if sample_shape[2] <= _MOST_CHANNELS < sample_shape[0]:
        raise ValueError(
            "X seems to hold its channels last, in images of shape "
            f"{tuple(sample_shape)}; pass image_shape={tuple(sample_shape)} to confirm "
            "it, or move the channels first."
        )
    return ImageLayout(tuple(sample_shape), channels_last=False)


def _check_sample_shape(sample_shape, layout: ImageLayout) -> None:
    if sample_shape is None or layout.accepts(tuple(sample_shape)):
        return
    raise ValueError(
        f"X must hold images of shape {layout.row_shape} or flat rows of "
        f"{math.prod(layout.shape)} features, got images of shape "
        f"{tuple(sample_shape)}."
    )


def _squeeze_channel(sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(sample_shape) == 3 and sample_shape[0] == 1:
        return sample_shape[1:]
    if len(sample_shape) == 3 and sample_shape[2] == 1:
        return sample_shape[:2]
    return sample_shape
