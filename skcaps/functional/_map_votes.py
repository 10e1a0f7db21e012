"""Votes of capsules that lie on maps: one kernel for all types of children."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skcaps.functional._checks import check_map_poses, check_map_weight


def conv_votes(poses: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    r"""Predict every parent's pose from the children around it, type by type.

    .. math::
        \hat u_{j|i}(y, x) = \sum_{a, b} W_j(a, b) \,
            u_i(\sigma y + a - p, \, \sigma x + b - p)

    where :math:`u_i` is the map ``poses[:, i]``, :math:`W_j` is ``weight[j]``, the same
    kernel for all types of children, :math:`\sigma` is ``stride`` and :math:`p` the
    zeros before the map. There are as many zeros around it that the result has a
    pixel for every stride; where their number is odd, one more comes after the map.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in, height, width)
        Child capsules: `caps_in` types at every pixel.
    weight : Tensor of shape (caps_out, dim_out, dim_in, kernel, kernel)
        One kernel for each type of parents.
    stride : int, default=1
        Pixels from one parent to the next.

    Returns
    -------
    Tensor of shape (batch, caps_in, caps_out, dim_out, rows, columns)
        The votes; ``rows`` is ``height / stride``, rounded up.

    Raises
    ------
    ValueError
        If the shapes of `poses` and `weight` do not fit together.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", section 3.
    arXiv:1804.04241.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import conv_votes
    >>> poses, weight = torch.ones(2, 3, 4, 8, 8), torch.ones(5, 6, 4, 3, 3)
    >>> conv_votes(poses, weight, stride=2).shape
    torch.Size([2, 3, 5, 6, 4, 4])
    """
    check_map_weight("weight", weight, "(caps_out, dim_out, dim_in, kernel, kernel)")
    check_map_poses(poses, weight.shape[2])
    children = poses.flatten(0, 1)
    paddings = [
        _zeros_around(side, kernel, stride)
        for side, kernel in zip(poses.shape[-2:], weight.shape[-2:], strict=True)
    ]
    if any(before != after for before, after in paddings):
        (top, bottom), (left, right) = paddings
        children = functional.pad(children, (left, right, top, bottom))
        paddings = [(0, 0), (0, 0)]
    maps = functional.conv2d(
        children,
        weight.flatten(0, 1),
        stride=stride,
        padding=tuple(before for before, _ in paddings),
    )
    return _as_votes(maps, poses, weight.shape[:2])


def conv_transpose_votes(poses: Tensor, weight: Tensor, *, stride: int = 2) -> Tensor:
    r"""Predict the poses of parents on a larger map, type by type.

    The transposed convolution, with one kernel for all types of children, spreads
    every child over the parents that would see it in a convolution of this stride.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in, height, width)
        Child capsules: `caps_in` types at every pixel.
    weight : Tensor of shape (dim_in, caps_out, dim_out, kernel, kernel)
        One kernel for each type of parents, at least as wide as the stride, and by an
        even number.
    stride : int, default=2
        How many times larger the map becomes.

    Returns
    -------
    Tensor of shape (batch, caps_in, caps_out, dim_out, rows, columns)
        The votes; ``rows`` is ``height * stride``.

    Raises
    ------
    ValueError
        If the shapes of `poses` and `weight` do not fit together, or the kernel does
        not fit the stride.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", section 3.
    arXiv:1804.04241.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import conv_transpose_votes
    >>> poses, weight = torch.ones(2, 3, 4, 8, 8), torch.ones(4, 5, 6, 4, 4)
    >>> conv_transpose_votes(poses, weight).shape
    torch.Size([2, 3, 5, 6, 16, 16])
    """
    check_map_weight("weight", weight, "(dim_in, caps_out, dim_out, kernel, kernel)")
    check_map_poses(poses, weight.shape[0])
    overlaps = [kernel - stride for kernel in weight.shape[-2:]]
    if min(overlaps) < 0 or any(overlap % 2 for overlap in overlaps):
        raise ValueError(
            f"The kernel must be as wide as the stride, {stride}, or wider by an even "
            f"number, got {tuple(weight.shape[-2:])}."
        )
    # oneDNN is up to six times as fast with the channels last.
    maps = functional.conv_transpose2d(
        poses.flatten(0, 1).contiguous(memory_format=torch.channels_last),
        weight.flatten(1, 2).contiguous(memory_format=torch.channels_last),
        stride=stride,
        padding=tuple(overlap // 2 for overlap in overlaps),
    )
    return _as_votes(maps.contiguous(), poses, weight.shape[1:3])


def _zeros_around(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many zeros come before and after, as TensorFlow's "same" has them."""
    n_outputs = -(-side // stride)
    total = max((n_outputs - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _as_votes(maps: Tensor, poses: Tensor, parents: torch.Size) -> Tensor:
    types = poses.shape[:2]
    votes: Tensor = maps.unflatten(1, parents).unflatten(0, types)
    return votes.to(poses.dtype)
