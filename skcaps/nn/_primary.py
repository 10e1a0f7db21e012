"""From feature maps to the first capsules."""

from __future__ import annotations

import math

from torch import Tensor, nn

from skcaps.functional import SQUASHES
from skcaps.nn._convolution import Conv2d
from skcaps.nn._geometry import ConvGeometry
from skcaps.nn._initialization import fill_bias_, glorot_uniform_, truncated_normal_


class PrimaryCapsules(nn.Module):
    """CapsNet's primary capsules: one convolution, read as a grid of pose vectors.

    Parameters
    ----------
    in_channels : int
        Channels of the feature map.
    capsule_types : int
        Capsules at each place of the grid, 32 in the paper.
    dim : int
        Length of a pose vector, 8 in the paper.
    geometry : ConvGeometry
        Kernel, stride and grid.

    Attributes
    ----------
    out_caps, out_dim : int
        Number of capsules, ``capsule_types * rows * columns``, and their dimension.
    grid : tuple of int
        ``(rows, columns)``.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, out_caps, out_dim)``.
    Capsules are ordered by row, column, type.

    The released code divides the convolution by `capsule_types` before the bias is
    added. Here that factor is in the initial weights: the same network at the start,
    but Adam's steps are not divided by it, so it learns in tens of epochs, not
    hundreds.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 4; scale and initial values of the released
    code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import PrimaryCapsules, capsnet_geometry
    >>> primary = PrimaryCapsules(256, 32, 8, capsnet_geometry(28, 28)[1])
    >>> primary(torch.rand(2, 256, 20, 20)).shape
    torch.Size([2, 1152, 8])
    """

    out_caps: int
    out_dim: int

    def __init__(
        self, in_channels: int, capsule_types: int, dim: int, geometry: ConvGeometry
    ) -> None:
        super().__init__()
        self.capsule_types = capsule_types
        self.grid = geometry.output
        self.out_caps = capsule_types * geometry.output[0] * geometry.output[1]
        self.out_dim = dim
        self.conv = Conv2d(
            in_channels, capsule_types * dim, geometry.kernel, geometry.stride
        )
        # 0.1 at the paper's 9x9x256 inputs; elsewhere the output keeps that variance.
        std = 0.1 * math.sqrt(20736 / self.conv.weight[0].numel())
        truncated_normal_(self.conv.weight, std / capsule_types)
        fill_bias_(self.conv, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Return poses of shape ``(batch, out_caps, out_dim)``."""
        poses = self.conv(features).unflatten(1, (self.capsule_types, self.out_dim))
        poses = poses.permute(0, 3, 4, 1, 2).flatten(1, 3)
        return SQUASHES["squash"](poses)

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        return f"{self.conv.in_channels} channels -> {self.out_caps} x {self.out_dim}"


class DepthwisePrimaryCapsules(nn.Module):
    """Efficient-CapsNet's primary capsules: each channel summed to one number.

    A depthwise convolution reduces every channel of the map to a single value, and
    `dim` neighbouring channels are the pose of one capsule.

    Parameters
    ----------
    channels : int
        Channels of the feature map, a multiple of `dim`.
    dim : int
        Length of a pose vector, 8 in the paper.
    geometry : ConvGeometry
        Kernel and stride that reduce the map to 1x1.

    Attributes
    ----------
    out_caps, out_dim : int
        Number of capsules, ``channels // dim``, and their dimension.

    Raises
    ------
    ValueError
        If `channels` is no multiple of `dim`.

    Notes
    -----
    Shapes: ``(batch, channels, height, width)`` to ``(batch, out_caps, out_dim)``.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), section 3.1; initial values of the released
    code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import DepthwisePrimaryCapsules, efficient_capsnet_geometry
    >>> geometry = efficient_capsnet_geometry(28, 28)[-1]
    >>> DepthwisePrimaryCapsules(128, 8, geometry)(torch.rand(2, 128, 9, 9)).shape
    torch.Size([2, 16, 8])
    """

    out_caps: int
    out_dim: int

    def __init__(self, channels: int, dim: int, geometry: ConvGeometry) -> None:
        super().__init__()
        if channels % dim:
            raise ValueError(
                f"The feature map has {channels} channels, which do not divide into "
                f"capsules of primary_dim={dim}; choose a divisor of {channels}."
            )
        self.out_caps, self.out_dim = channels // dim, dim
        self.conv = nn.Conv2d(
            channels, channels, geometry.kernel, geometry.stride, groups=channels
        )
        area = geometry.kernel[0] * geometry.kernel[1]
        glorot_uniform_(self.conv.weight, area, area * channels)
        fill_bias_(self.conv, 0.0)

    def forward(self, features: Tensor) -> Tensor:
        """Return poses of shape ``(batch, out_caps, out_dim)``."""
        poses = self.conv(features).flatten(1)
        return SQUASHES["squash_exp"](poses.unflatten(1, (self.out_caps, self.out_dim)))

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        return f"{self.conv.in_channels} channels -> {self.out_caps} x {self.out_dim}"
