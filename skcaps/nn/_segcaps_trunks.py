"""From images to the capsules that class capsules at every pixel are made of."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from skcaps.nn._initialization import glorot_uniform_, he_normal_
from skcaps.nn._map_capsules import ConvCapsules, ConvTransposeCapsules

_FEATURES = 16


class Trunk(Protocol):
    """What a `SegmentationNetwork` stands on, a module from images to capsules.

    Attributes
    ----------
    out_dim : int
        Dimension of the capsules.
    multiple : int
        Of which height and width have to be a multiple.
    context : int
        How far, at most, a pixel that a capsule depends on is from it; a multiple of
        `multiple`.
    """

    out_dim: int
    multiple: int
    context: int

    def __call__(self, images: Tensor) -> Tensor:
        """Return poses (batch, caps, out_dim, height, width)."""


class SegCapsTrunk(nn.Module):
    """The capsules of SegCaps: down to an eighth of the image and up again.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    iterations : int, default=3
        Iterations of the routing where the size of the map changes.
    iterations_between : int, default=3
        Where it does not: 3 in SegCaps R3, 1 in SegCaps R1.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, 3, 16, height,
    width)``, both sides multiples of 8.

    References
    ----------
    LaLonde, Bagci (2018), figure 2, and the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import SegCapsTrunk
    >>> SegCapsTrunk(1)(torch.rand(1, 1, 16, 16)).shape
    torch.Size([1, 3, 16, 16, 16])
    """

    out_dim: ClassVar[int] = _FEATURES
    multiple: ClassVar[int] = 8
    context: ClassVar[int] = 72

    def __init__(
        self, in_channels: int, *, iterations: int = 3, iterations_between: int = 3
    ) -> None:
        super().__init__()
        self.encoder = CapsuleEncoder(
            in_channels, iterations=iterations, iterations_between=iterations_between
        )

        def conv(in_dim: int, out_caps: int, out_dim: int) -> ConvCapsules:
            return ConvCapsules(
                in_dim, out_caps, out_dim, kernel_size=5, iterations=iterations_between
            )

        def up(in_dim: int, out_caps: int, out_dim: int) -> ConvTransposeCapsules:
            return ConvTransposeCapsules(
                in_dim, out_caps, out_dim, iterations=iterations
            )

        self.ups = nn.ModuleList([up(32, 8, 32), up(32, 4, 16), up(16, 2, 16)])
        self.convs = nn.ModuleList([conv(32, 4, 32), conv(16, 4, 16)])

    def forward(self, images: Tensor) -> Tensor:
        """Return the capsules at every pixel."""
        poses: Tensor
        *skips, poses = self.encoder(images)
        for up, conv in zip(self.ups, [*self.convs, None], strict=True):
            poses = torch.cat([up(poses).poses, skips.pop()], dim=1)
            if conv is not None:
                poses = conv(poses).poses
        return poses


class CapsuleEncoder(nn.Module):
    """The way down of SegCaps, from images to capsules at four sizes.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    iterations : int, default=3
        Iterations of the routing where the size of the map changes.
    iterations_between : int, default=3
        Where it does not.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to poses ``(batch, caps, dim, rows,
    columns)``: one capsule of dimension 16 at every pixel, then 4 of 16, 8 of 32 and 8
    of 32 at every second, fourth and eighth.

    References
    ----------
    LaLonde, Bagci (2018), figure 2, and the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import CapsuleEncoder
    >>> [tuple(poses.shape) for poses in CapsuleEncoder(1)(torch.rand(1, 1, 16, 16))]
    [(1, 1, 16, 16, 16), (1, 4, 16, 8, 8), (1, 8, 32, 4, 4), (1, 8, 32, 2, 2)]
    """

    def __init__(
        self, in_channels: int, *, iterations: int = 3, iterations_between: int = 3
    ) -> None:
        super().__init__()
        self.conv = _first_convolution(in_channels, _FEATURES)

        def down(in_dim: int, out_caps: int, out_dim: int) -> ConvCapsules:
            return ConvCapsules(
                in_dim,
                out_caps,
                out_dim,
                kernel_size=5,
                stride=2,
                iterations=iterations,
            )

        def conv(in_dim: int, out_caps: int, out_dim: int) -> ConvCapsules:
            return ConvCapsules(
                in_dim, out_caps, out_dim, kernel_size=5, iterations=iterations_between
            )

        # One type of children has nothing to agree on.
        primary = ConvCapsules(_FEATURES, 2, 16, kernel_size=5, stride=2, iterations=1)
        self.downs = nn.ModuleList([primary, down(16, 4, 32), down(32, 8, 64)])
        self.convs = nn.ModuleList([conv(16, 4, 16), conv(32, 8, 32), conv(64, 8, 32)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the capsules of each size."""
        # Of routing bfloat16 is too coarse.
        features = self.conv(images).relu().to(images.dtype)
        poses = [features.unsqueeze(1)]
        for down, conv in zip(self.downs, self.convs, strict=True):
            poses.append(conv(down(poses[-1]).poses).poses)
        return poses


class BasicCapsTrunk(nn.Module):
    """One layer of capsules at every pixel, the baseline of the SegCaps paper.

    Parameters
    ----------
    in_channels : int
        Channels of the images.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, 8, 32, height,
    width)``.

    References
    ----------
    LaLonde, Bagci (2018), section 4.1, and the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import BasicCapsTrunk
    >>> BasicCapsTrunk(1)(torch.rand(1, 1, 9, 7)).shape
    torch.Size([1, 8, 32, 9, 7])
    """

    out_dim: ClassVar[int] = 32
    multiple: ClassVar[int] = 1
    context: ClassVar[int] = 4

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = _first_convolution(in_channels, 256)
        self.primary = ConvCapsules(256, 8, self.out_dim, kernel_size=5, iterations=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the capsules at every pixel."""
        features = self.conv(images).relu().to(images.dtype)
        poses: Tensor = self.primary(features.unsqueeze(1)).poses
        return poses


class ConvDecodedTrunk(nn.Module):
    """SegCaps' way down with capsules, and a way up with ordinary convolutions.

    Most of the work of SegCaps is on its way up, where many types of capsules vote on
    large maps; convolutions of few channels take a seventh of it.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    iterations : int, default=3
        Iterations of the routing.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, 2, 16, height,
    width)``, both sides multiples of 8. The channels of the way up were chosen for
    skcaps.

    References
    ----------
    Nguyen, Hua, Le (2021), "3D-UCaps: 3D capsules Unet for volumetric image
    segmentation", MICCAI, section 3, for the idea; there in three dimensions and with
    other layers.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ConvDecodedTrunk
    >>> ConvDecodedTrunk(1)(torch.rand(1, 1, 16, 16)).shape
    torch.Size([1, 2, 16, 16, 16])
    """

    out_dim: ClassVar[int] = _FEATURES
    multiple: ClassVar[int] = 8
    context: ClassVar[int] = 64

    def __init__(self, in_channels: int, *, iterations: int = 3) -> None:
        super().__init__()
        self.encoder = CapsuleEncoder(
            in_channels, iterations=iterations, iterations_between=iterations
        )
        self.ups = nn.ModuleList([_up(256, 64), _up(64, 32), _up(32, 16)])
        self.convs = nn.ModuleList([_conv(256 + 64, 64), _conv(64 + 32, 32)])

    def forward(self, images: Tensor) -> Tensor:
        """Return the capsules at every pixel."""
        *skips, maps = (poses.flatten(1, 2) for poses in self.encoder(images))
        for up, conv in zip(self.ups, [*self.convs, None], strict=True):
            maps = torch.cat([up(maps).relu(), skips.pop()], dim=1)
            if conv is not None:
                maps = conv(maps).relu()
        poses: Tensor = maps.to(images.dtype).unflatten(1, (-1, self.out_dim))
        return poses


def _first_convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 5, padding=2)
    glorot_uniform_(conv.weight, 25 * in_channels, 25 * out_channels)
    zero_bias(conv)
    return conv


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    he_normal_(conv.weight, 9 * in_channels)
    zero_bias(conv)
    return conv


def _up(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
    # A pixel sees a quarter of the kernel.
    he_normal_(conv.weight, 4 * in_channels)
    zero_bias(conv)
    return conv


def zero_bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the bias of a convolution to zero, as Keras does."""
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
