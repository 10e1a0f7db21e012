"""Affine maps of images, interpolated between pixels, each image by its own map."""

import numpy as np


def affine_matrices(
    rotation: np.ndarray, shear: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Make the matrices that rotate, then shear, then scale.

    Parameters
    ----------
    rotation : ndarray of shape (n_samples,)
        Angles in degrees, clockwise on the screen, where rows go down.
    shear : ndarray of shape (n_samples,)
        By how many columns a point goes right for each row that it lies lower.
    scale : ndarray of shape (n_samples, 2)
        By what factor each image grows vertically and horizontally.

    Returns
    -------
    matrices : ndarray of shape (n_samples, 2, 2)
        They map (row, column), counted from the middle.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets._warp import affine_matrices
    >>> affine_matrices(np.zeros(1), np.array([0.5]), np.array([[1.0, 2.0]]))
    array([[[1., 0.],
            [1., 2.]]])
    """
    cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    rotated = np.stack([cos, sin, -sin, cos], axis=-1).reshape(-1, 2, 2)
    sheared = rotated.copy()
    sheared[:, 1] += shear[:, None] * rotated[:, 0]
    scaled: np.ndarray = scale[:, :, None] * sheared
    return scaled


def ink_extents(images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Find between which rows and columns the ink lies after a map.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width)
        The images; everything above 0 is ink.
    matrices : ndarray of shape (n_samples, 2, 2)
        Their maps, counted from the middle.

    Returns
    -------
    extents : ndarray of shape (n_samples, 2, 2)
        For rows and for columns the lower and the upper end, counted from the
        middle. All that :func:`warp` makes of the ink lies between, and not on, the
        ends. They are 0 for an image without ink.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets._warp import ink_extents
    >>> image = np.zeros((1, 3, 3))
    >>> image[0, 1, 2] = 1
    >>> ink_extents(image, np.eye(2)[None])
    array([[[-1.,  1.],
            [ 0.,  2.]]])
    """
    height, width = images.shape[1:]
    ink: np.ndarray = np.greater(images, 0)
    # The corners of the ink's convex hull are among the ends of its rows.
    ends = np.stack([ink.argmax(2), width - 1 - ink[:, :, ::-1].argmax(2)], axis=2)
    rows = (np.arange(height) - (height - 1) / 2)[:, None]
    columns = ends - (width - 1) / 2
    has_ink = np.asarray(ink.any(axis=2))[:, None, :, None]
    row_weights, column_weights = np.moveaxis(matrices, 2, 0)[..., None, None]
    places = row_weights * rows + column_weights * columns[:, None]
    lowest = np.where(has_ink, places, np.inf).min((2, 3))
    highest = np.where(has_ink, places, -np.inf).max((2, 3))
    # Interpolation spreads a pixel by less than one pixel in each direction.
    reach = np.abs(matrices).sum(2)
    extents = np.stack([lowest - reach, highest + reach], axis=2)
    return np.where(np.isfinite(extents), extents, 0.0)


def warp(
    images: np.ndarray, matrices: np.ndarray, shifts: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Map each image, with bilinear interpolation and a background of 0.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width)
        The images.
    matrices : ndarray of shape (n_samples, 2, 2)
        Map (row, column), counted from the middle of an image, to the place in the
        result, counted from its middle.
    shifts : ndarray of shape (n_samples, 2)
        Come on top, in pixels down and right.
    size : tuple of int
        Height and width of the result.

    Returns
    -------
    warped : ndarray of shape (n_samples, *size)
        The mapped images, float64 where the images are, else float32.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.datasets._warp import warp
    >>> warp(np.ones((1, 1, 1)), np.eye(2)[None], np.array([[0.0, 0.5]]), (1, 3))
    array([[[0. , 0.5, 0.5]]])
    """
    n_samples, height, width = images.shape
    dtype = np.float64 if images.dtype == np.float64 else np.float32
    # One more row and column of background than the clipped places reach, as each
    # value is read together with its neighbours below and to the right.
    padded = np.zeros((n_samples, height + 3, width + 3), dtype=dtype)
    padded[:, 1:-2, 1:-2] = images
    places = _source_places(matrices, shifts, size, (height, width)).astype(dtype)
    row = np.clip(places[0], -1, height) + 1
    column = np.clip(places[1], -1, width) + 1
    whole_row, whole_column = row.astype(np.intp), column.astype(np.intp)
    row -= whole_row
    column -= whole_column
    stride = width + 3
    first = np.arange(n_samples)[:, None, None] * padded[0].size
    index = first + whole_row * stride + whole_column
    values = padded.ravel()
    upper = _between(values.take(index), values.take(index + 1), column)
    index += stride
    lower = _between(values.take(index), values.take(index + 1), column)
    return _between(upper, lower, row)


def _between(start: np.ndarray, end: np.ndarray, part: np.ndarray) -> np.ndarray:
    end -= start
    end *= part
    end += start
    return end


def _source_places(
    matrices: np.ndarray,
    shifts: np.ndarray,
    size: tuple[int, int],
    source_size: tuple[int, int],
) -> np.ndarray:
    """Find where in its image each pixel of the result comes from."""
    inverse = np.linalg.inv(matrices)
    middle = (np.array(source_size) - 1) / 2
    start = middle - np.einsum("nij,nj->ni", inverse, shifts)
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in size)
    row_weights, column_weights = np.moveaxis(inverse, 2, 0)
    down = row_weights[..., None] * rows + start[..., None]
    right = column_weights[..., None] * columns
    return np.moveaxis(down[..., :, None] + right[..., None, :], 1, 0)
