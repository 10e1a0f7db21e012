"""Images in any layout and container, checked and flattened to rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import (
    _check_feature_names_in,
    validate_data,
)

from skcaps.estimators._layout import ImageLayout, find_layout
from skcaps.estimators._range import warn_of_unlike_columns

# Of rows that are moved to a device at a time.
_MOVED_BYTES = 64 << 20
_TENSOR_DTYPES = (np.uint8, np.float16, np.float32, np.float64)


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
    layout = find_layout(estimator.image_shape, sample_shape, X.shape[1])
    is_table = sample_shape is None and layout.shape[1] == 1
    if is_table and isinstance(estimator.image_shape, str):
        warn_of_unlike_columns(X)
    return X, y, layout


def check_more_input(estimator, X, y, layout):
    """Check training data of a later call against the first one's layout."""
    X = _rows_of(X, layout)
    return validate_data(
        estimator, X, as_labels(y), dtype="numeric", multi_output=True, reset=False
    )


def check_fit_masks(estimator, X, y):
    """Check training images and masks, and decide the layout.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
    masks : ndarray of shape (n_samples, pixels)
    layout : ImageLayout
    is_flat : bool
        Whether each mask came as a row of pixels.
    """
    masks, mask_shape = flatten_masks(y)
    rows, masks, layout = check_fit_input(estimator, X, masks)
    check_mask_shape(mask_shape, layout)
    return rows, masks, layout, len(mask_shape) == 1


def check_more_masks(estimator, X, y, layout):
    """Check images and masks of a later call against the first one's layout."""
    masks, mask_shape = flatten_masks(y)
    rows, masks = check_more_input(estimator, X, masks, layout)
    check_mask_shape(mask_shape, layout)
    return rows, masks


def flatten_masks(y):
    """Return masks as rows of pixels, and the shape of one.

    Raises
    ------
    ValueError
        If they have another number of axes, or are no labels.
    """
    masks = as_labels(y)
    if masks is None:
        return None, ()
    if sparse.issparse(masks) or masks.ndim not in (2, 3) or not masks.size:
        raise ValueError(
            "y must hold a mask for each image, (n_samples, height, width) or "
            f"(n_samples, pixels), got shape {masks.shape}."
        )
    is_whole = masks.dtype.kind != "f" or (np.isfinite(masks) & (masks % 1 == 0)).all()
    if masks.dtype.kind not in "OUbiuf" or not is_whole:
        raise ValueError(
            "y must hold labels, whole numbers or strings, got continuous values, "
            f"infinite ones or NaN (dtype {masks.dtype})."
        )
    return masks.reshape(len(masks), -1), masks.shape[1:]


def check_mask_shape(mask_shape, layout: ImageLayout):
    """Raise a ValueError unless each pixel of an image has a label."""
    sides = tuple(layout.shape[1:])
    if mask_shape not in (sides, (math.prod(sides),)):
        raise ValueError(
            f"y must hold masks of shape {sides} for images of {sides[0]}x{sides[1]} "
            f"pixels, or rows of {math.prod(sides)}, got {mask_shape}."
        )


def check_input(estimator, X, layout):
    """Check data to predict from and return its rows."""
    return validate_data(estimator, _rows_of(X, layout), dtype="numeric", reset=False)


def _rows_of(X, layout: ImageLayout):
    """Flatten images that have to have a layout."""
    rows, sample_shape = _flatten(X)
    shape = rows.shape if sample_shape is None else (len(rows), *sample_shape)
    is_flat = len(shape) == 1 or shape[1:] == (math.prod(layout.shape),)
    is_image = layout.accepts(shape) and not is_flat
    if is_image and not (sample_shape and layout.accepts(sample_shape)):
        raise ValueError(
            f"X must hold images beside each other, got one image, shape {shape}; pass "
            "X[None]."
        )
    layout.check(sample_shape)
    return rows


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
    if isinstance(X, (torch.utils.data.Dataset, torch.utils.data.DataLoader)):
        raise TypeError(
            f"X must be an array, got a {type(X).__name__}; stack its images into one "
            "array, or stream them through partial_fit."
        )
    if hasattr(X, "columns") or sparse.issparse(X):
        return X, None
    X = _to_array(X)
    _check_kind(X)
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


def _check_kind(X):
    """Raise an error for what is no number, and say how to make numbers of it."""
    first: Any = X.flat[0] if X.size else None
    if isinstance(first, (str, bytes)):
        raise ValueError(
            f"X must hold numbers, got strings such as {first!r}; read the files into "
            "one array, such as np.stack([imread(name) for name in X])."
        )
    if X.dtype.kind in "mM":
        raise ValueError(
            f"X must hold numbers, got {X.dtype}; subtract a start and divide by a "
            "unit of time."
        )
    if X.dtype == object and X.ndim == 1 and np.ndim(first):
        raise ValueError(
            f"X must be one array of numbers, got a row of {type(first).__name__} "
            f"objects, the first of shape {np.shape(first)}; stack them with "
            "np.stack(X)."
        )


def _to_array(X):
    try:
        if isinstance(X, (list, tuple)) and any(
            isinstance(image, torch.Tensor) for image in X
        ):
            X = [to_numpy(image) for image in X]
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X must hold images of one size and one number of channels, got an "
            "inhomogeneous sequence (setting an array element with a sequence.); "
            "resize the images first, and convert them to one mode."
        ) from error
