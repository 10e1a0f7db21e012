"""A U-Net to compare with, of the size of the segmentation capsules.

Ronneberger, Fischer, Brox (2015), U-Net, arXiv:1505.04597, with padded convolutions, so
that the maps have the size of the image, and three halvings in place of four, as many
as SegCaps has. The segmenter below trains it by the code that trains the capsules.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from skcaps import SegCapsSegmenter
from skcaps.functional import Routed
from skcaps.nn import SegmentationNetwork

# The image is made smaller so often, each time to half of its sides.
N_HALVINGS = 3


class UNet(nn.Module):
    """Maps from 0 to 1, one a class, that say how present it is at each pixel.

    Each level has twice the channels of the one above. With the default width, one
    input channel and one class there are 1,371,898 parameters: of all widths, this one
    comes closest to the 1,416,112 of SegCaps.

    Parameters
    ----------
    in_channels, n_classes : int
    width : int
        The channels of the first level; the number of parameters grows as its square.

    Attributes
    ----------
    multiple : int
        Of which images have sides, or else they are continued.
    context : int
        Pixels to each side, at most, that a map depends on: 44 by the convolutions of
        all levels and 7 by the places of the poolings, up to the next multiple.
    """

    multiple = 2**N_HALVINGS
    context = 56

    def __init__(self, in_channels, n_classes, width=27):
        super().__init__()
        widths = [width * 2**level for level in range(N_HALVINGS + 1)]
        self.down = nn.ModuleList(
            double_convolution(n_in, n_out)
            for n_in, n_out in pairwise([in_channels, *widths])
        )
        above = list(pairwise(widths))[::-1]
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(below, level, 2, 2) for level, below in above
        )
        # What is enlarged comes beside what was there before it was made smaller.
        self.up = nn.ModuleList(
            double_convolution(2 * level, level) for level, _ in above
        )
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, images):
        """Return the maps (batch, n_classes, height, width) of images of any size."""
        height, width = images.shape[-2:]
        features = pad(images)
        skipped = []
        for level, convolve in enumerate(self.down):
            if level:
                skipped.append(features)
                features = F.max_pool2d(features, 2)
            features = convolve(features)
        for enlarge, convolve in zip(self.enlarge, self.up, strict=True):
            features = convolve(torch.cat([skipped.pop(), enlarge(features)], dim=1))
        return self.head(features).sigmoid()[..., :height, :width]


class MapsAsCapsules(nn.Module):
    """Take each map for the lengths of capsules with a pose of one number."""

    def forward(self, maps):
        """Return a `Routed` of maps (batch, n_classes, height, width)."""
        return Routed(maps.unsqueeze(2), maps.unsqueeze(1), maps)


def unet(image_shape, n_classes):
    """Build a U-Net as `skcaps.nn.segcaps` builds capsules, without a decoder."""
    return SegmentationNetwork(UNet(image_shape[0], n_classes), MapsAsCapsules())


class UNetSegmenter(SegCapsSegmenter):
    """A U-Net with the training of the capsules.

    The parameters of capsules and of the reconstruction have no effect.
    """

    _build_network = staticmethod(unet)


def double_convolution(n_in, n_out):
    """Return two 3x3 convolutions, each with batch normalization."""
    layers = []
    for n in (n_in, n_out):
        # The normalization has a bias of its own.
        layers += [
            nn.Conv2d(n, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def pad(images):
    """Repeat the last row and column until the sides can be halved to the end."""
    height, width = (-side % 2**N_HALVINGS for side in images.shape[-2:])
    return F.pad(images, (0, width, 0, height), mode="replicate")
