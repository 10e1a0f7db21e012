"""Checks for the shapes that would otherwise broadcast silently or fail obscurely."""

from collections.abc import Sequence

from torch import Tensor


def check_shape(name: str, values: Tensor, expected: Sequence[int]) -> None:
    """Raise ValueError unless `values` has exactly the expected shape."""
    if tuple(values.shape) != tuple(expected):
        raise ValueError(
            f"{name} must have shape {tuple(expected)}, got {tuple(values.shape)}."
        )


def check_poses(poses: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless `weight` is 4-D and `poses` has its children's shape.

    A weight of one child is shared by any number of them.
    """
    if weight.ndim != 4:
        raise ValueError(
            "weight must have shape (caps_in, caps_out, dim_in, dim_out), "
            f"got {tuple(weight.shape)}."
        )
    caps_in, _, dim_in, _ = weight.shape
    fit = poses.ndim == 3 and poses.shape[2] == dim_in
    if not fit or caps_in not in (1, poses.shape[1]):
        children = "caps_in" if caps_in == 1 else caps_in
        raise ValueError(
            f"poses must have shape (batch, {children}, {dim_in}), "
            f"got {tuple(poses.shape)}."
        )


def check_matrix_poses(poses: Tensor, weight: Tensor) -> None:
    """As `check_poses`, for rows of matrices."""
    if weight.ndim != 4:
        raise ValueError(
            "weight must have shape (caps_in, caps_out, dim, columns), "
            f"got {tuple(weight.shape)}."
        )
    caps_in, _, dim, _ = weight.shape
    fit = poses.ndim == 3 and caps_in in (1, poses.shape[1]) and poses.shape[2] > 0
    if not fit or poses.shape[2] % dim:
        children = "caps_in" if caps_in == 1 else caps_in
        raise ValueError(
            f"poses must have shape (batch, {children}, rows * {dim}), "
            f"got {tuple(poses.shape)}."
        )


def check_map_weight(name: str, weight: Tensor, axes: str) -> None:
    """Raise ValueError unless `weight` has five axes."""
    if weight.ndim != 5:
        raise ValueError(f"{name} must have shape {axes}, got {tuple(weight.shape)}.")


def check_map_poses(poses: Tensor, dim_in: int) -> None:
    """Raise ValueError unless `poses` are those of capsules on maps."""
    if poses.ndim != 5 or poses.shape[2] != dim_in or not poses.shape[1]:
        raise ValueError(
            f"poses must have shape (batch, caps_in, {dim_in}, height, width), "
            f"got {tuple(poses.shape)}."
        )


def check_images(images: Tensor) -> None:
    """Raise unless `images` is a batch of images of floating point."""
    if images.ndim != 4:
        raise ValueError(
            "images must have shape (batch, channels, height, width), "
            f"got {tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise TypeError(
            "images must be of floating point, with values from 0 to 1, "
            f"got {images.dtype}; divide uint8 images by 255."
        )
