"""Networks with class capsules at every pixel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional

from skcaps.functional import Routed
from skcaps.nn._checks import check_option, check_positive
from skcaps.nn._initialization import he_normal_
from skcaps.nn._map_capsules import ConvCapsules
from skcaps.nn._segcaps_trunks import (
    BasicCapsTrunk,
    ConvDecodedTrunk,
    SegCapsTrunk,
    Trunk,
    zero_bias,
)


class SegmentationNetwork(nn.Module):
    """Capsules at every pixel, one for each class, and if wanted a decoder.

    Parameters
    ----------
    trunk : torch.nn.Module
        From images to capsules at every pixel; has `out_dim`, `multiple` (of which its
        images' sides are multiples) and `context` (pixels that a capsule sees to each
        side).
    classes : ConvCapsules
        From these to the class capsules, with a kernel of one pixel.
    decoder : torch.nn.Module or None
        Decodes flat masked poses of every pixel to images.

    Notes
    -----
    Shapes: ``(batch, channels, height, width)`` to a `Routed` of ``(batch, n_classes,
    pose_dim, height, width)`` poses, the last layer's ``(batch, caps_in, n_classes,
    height, width)`` coupling and ``(batch, n_classes, height, width)`` activations.
    Images of any height and width are continued by their last row and column to a
    multiple of `multiple`, and what is found there is cut away.

    References
    ----------
    LaLonde, Bagci (2018), "Capsules for object segmentation", arXiv 1804.04241,
    figure 2.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import segcaps
    >>> network = segcaps((1, 20, 30), n_classes=1)
    >>> poses, _, activations = network(torch.rand(2, 1, 20, 30))
    >>> poses.shape, activations.shape
    (torch.Size([2, 1, 16, 20, 30]), torch.Size([2, 1, 20, 30]))
    >>> network.reconstruct(poses).shape
    torch.Size([2, 1, 20, 30])
    """

    # Votes take kilobytes for a pixel.
    pixels_at_a_time: ClassVar[int] = 2**16

    def __init__(
        self,
        trunk: nn.Module,
        classes: ConvCapsules,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.classes = classes
        self.decoder = decoder

    @property
    def multiple(self) -> int:
        """Of which the trunk's images have sides."""
        return cast(Trunk, self.trunk).multiple

    @property
    def context(self) -> int:
        """Pixels to each side, at most, that what is found at a pixel depends on."""
        return cast(Trunk, self.trunk).context

    def forward(self, images: Tensor) -> Routed:
        """Return the class capsules of images with values in [0, 1]."""
        *_, height, width = images.shape
        poses, coupling, found = self.classes(self.trunk(self.continued(images)))
        inside = (..., slice(height), slice(width))
        return Routed(poses[inside], coupling[inside], found[inside])

    def continued(self, images: Tensor) -> Tensor:
        """Return images continued to sides that the trunk takes."""
        rows, columns = (-side % self.multiple for side in images.shape[-2:])
        if not rows and not columns:
            return images
        return functional.pad(images, (0, columns, 0, rows), mode="replicate")

    def reconstruct(self, poses: Tensor) -> Tensor:
        """Decode images from masked poses ``(batch, n_classes, pose_dim, ...)``."""
        if self.decoder is None:
            raise ValueError("This network has no decoder; build it with one.")
        images: Tensor = self.decoder(poses.flatten(1, 2))
        return images


class PixelDecoder(nn.Sequential):
    """Decode the pose at every pixel by itself.

    Parameters
    ----------
    in_features : int
        Number of classes times the dimension of a pose.
    out_channels : int
        Channels of the images.

    Notes
    -----
    Shapes: ``(batch, in_features, height, width)`` to ``(batch, out_channels, height,
    width)``, values from 0 to 1.

    References
    ----------
    LaLonde, Bagci (2018), section 3.2: three convolutions with kernels of one pixel.

    Examples
    --------
    >>> from skcaps.nn import PixelDecoder
    >>> sum(p.numel() for p in PixelDecoder(16, 1).parameters())
    9537
    """

    def __init__(self, in_features: int, out_channels: int) -> None:
        check_positive(in_features=in_features, out_channels=out_channels)
        sizes = [in_features, 64, 128, out_channels]
        convs = [nn.Conv2d(below, above, 1) for below, above in pairwise(sizes)]
        for conv in convs:
            he_normal_(conv.weight, conv.in_channels)
            zero_bias(conv)
        first, second, last = convs
        super().__init__(first, nn.ReLU(), second, nn.ReLU(), last, nn.Sigmoid())


def segcaps(
    image_shape: tuple[int, int, int],
    n_classes: int,
    *,
    variant: str = "r3",
    pose_dim: int = 16,
    routing_iterations: int = 3,
    decoder: str | None = "pixel",
) -> SegmentationNetwork:
    """Build the SegCaps of LaLonde and Bagci for images of any height and width.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)``; the network depends on the channels alone.
    n_classes : int
        Number of foreground classes, each with a capsule at every pixel. The
        background has none: there all capsules are short.
    variant : {"r3", "r1", "basic", "encoder"}, default="r3"
        "r3" routes in every layer but the first; "r1" only where the size of the map
        changes; "basic" has one layer of capsules at full size; "encoder" has the
        capsules of "r3" on the way down, and ordinary convolutions on the way up.
    pose_dim : int, default=16
        Dimension of the class capsules.
    routing_iterations : int, default=3
        Iterations of the routings that have more than one. In the last layer they
        change nothing if there is one foreground class.
    decoder : {"pixel"} or None, default="pixel"
        What decodes poses to images.

    Returns
    -------
    network : SegmentationNetwork
        For one channel and one foreground class 1,416,112 trainable parameters, 9,537
        more for the decoder; "basic" has 1,645,840.

    Raises
    ------
    ValueError
        If a size or an option is out of range.

    References
    ----------
    LaLonde, Bagci (2018), "Capsules for object segmentation", arXiv 1804.04241;
    initial values of the released code.

    Examples
    --------
    >>> from skcaps.nn import segcaps
    >>> network = segcaps((1, 64, 64), 1, decoder=None)
    >>> sum(p.numel() for p in network.parameters())
    1416112
    """
    check_option("variant", variant, SEGCAPS_VARIANTS)
    check_option("decoder", decoder, PIXEL_DECODERS)
    channels, *sides = image_shape
    check_positive(
        channels=channels,
        height=sides[0],
        width=sides[1],
        n_classes=n_classes,
        pose_dim=pose_dim,
        routing_iterations=routing_iterations,
    )
    trunk = SEGCAPS_VARIANTS[variant](channels, routing_iterations)
    classes = ConvCapsules(
        cast(Trunk, trunk).out_dim,
        n_classes,
        pose_dim,
        kernel_size=1,
        iterations=1 if variant == "r1" else routing_iterations,
    )
    build_decoder = PIXEL_DECODERS[decoder]
    return SegmentationNetwork(
        trunk, classes, build_decoder(n_classes * pose_dim, channels)
    )


# Each takes the channels of the images and the iterations of the routing.
SEGCAPS_VARIANTS: dict[str, Callable[[int, int], nn.Module]] = {
    "r3": lambda channels, iterations: SegCapsTrunk(
        channels, iterations=iterations, iterations_between=iterations
    ),
    "r1": lambda channels, iterations: SegCapsTrunk(
        channels, iterations=iterations, iterations_between=1
    ),
    "basic": lambda channels, iterations: BasicCapsTrunk(channels),
    "encoder": lambda channels, iterations: ConvDecodedTrunk(
        channels, iterations=iterations
    ),
}

# Each takes the numbers of a pixel's poses and the channels of the images.
PIXEL_DECODERS: dict[str | None, Callable[[int, int], nn.Module | None]] = {
    "pixel": PixelDecoder,
    None: lambda in_features, out_channels: None,
}
