"""From poses back to images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from skcaps.nn._checks import check_option
from skcaps.nn._initialization import (
    fill_bias_,
    glorot_normal_,
    he_normal_,
    truncated_normal_,
)

# What the pose has to pass through: the paper's 8x8.
_FEWEST_SEEDS = 64
# So many values are decoded one by one: 48x48 pixels in colour. Layers for all those of
# a large image would cost more than the rest of the network (docs/benchmarks.md).
_MOST_VALUES = 48 * 48 * 3

_Layers = Sequence[nn.Linear | nn.Conv2d]


def decoded_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape in which images are decoded, before they are enlarged.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)`` of the images.

    Returns
    -------
    shape : tuple of int
        Rows and columns divided by the smallest whole number that leaves at most 6,912
        values, or one pixel: 1 for images of up to 48x48 in three colours, 2 for
        slightly larger ones.

    Examples
    --------
    >>> from skcaps.nn import decoded_shape
    >>> decoded_shape((2, 48, 48)), decoded_shape((3, 224, 224))
    ((2, 48, 48), (3, 45, 45))
    """
    channels, *sides = image_shape
    most = max(_MOST_VALUES // channels, 1)
    # No smaller one will do, not even for images of a single row.
    factor = max(math.isqrt(math.prod(sides) // most), -(-max(sides) // most))
    while math.prod(-(-side // factor) for side in sides) > most:
        factor += 1
    height, width = (-(-side // factor) for side in sides)
    return channels, height, width


class DenseDecoder(nn.Module):
    """Three dense layers that decode masked poses to an image.

    Parameters
    ----------
    n_inputs : int
        Length of the flat pose vectors, ``n_classes * pose_dim``.
    image_shape : tuple of int
        ``(channels, height, width)`` of the images.
    hidden : tuple of int, default=(512, 1024)
        Units of the two hidden layers.
    initialization : {"normal", "variance_scaling"}, default="normal"
        Initial values of CapsNet's released code (a normal of standard deviation 0.1
        cut at two of them, biases 0.1) or of Efficient-CapsNet's (He, He, Glorot;
        biases 0).

    Raises
    ------
    ValueError
        If `initialization` is unknown.

    Notes
    -----
    Shapes: ``(batch, n_inputs)`` to ``(batch, *image_shape)``, values in (0, 1). Images
    of more than 6,912 values are decoded in their `decoded_shape`, then enlarged by
    bilinear interpolation.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 4.1 and figure 2.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import DenseDecoder
    >>> DenseDecoder(160, (1, 28, 28))(torch.rand(2, 160)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        n_inputs: int,
        image_shape: tuple[int, int, int],
        *,
        hidden: tuple[int, int] = (512, 1024),
        initialization: str = "normal",
    ) -> None:
        super().__init__()
        initialize = _initialization(initialization)
        self.image_shape = image_shape
        self.decoded_shape = decoded_shape(image_shape)
        sizes = (n_inputs, *hidden, math.prod(self.decoded_shape))
        layers = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
        initialize(layers)
        self.layers = nn.ModuleList(layers)

    def forward(self, poses: Tensor) -> Tensor:
        """Decode images from flat masked poses of shape ``(batch, n_inputs)``."""
        *hidden, last = self.layers
        for layer in hidden:
            poses = torch.relu(layer(poses))
        images = torch.sigmoid(last(poses)).unflatten(1, self.decoded_shape)
        return _enlarge(images, self.image_shape)


class ConvDecoder(nn.Module):
    """Convolutions and upsamplings that decode masked poses to an image.

    A small seed map is enlarged three times; the result is cut to the wanted size. For
    48x48 images this is Efficient-CapsNet's decoder for smallNORB, layer by layer. For
    smaller ones the seed has more maps, so that it holds as many numbers as there.

    Parameters
    ----------
    n_inputs : int
        Length of the flat pose vectors, ``n_classes * pose_dim``.
    image_shape : tuple of int
        ``(channels, height, width)`` of the images.
    initialization : {"normal", "variance_scaling"}, default="variance_scaling"
        As in `DenseDecoder`.

    Raises
    ------
    ValueError
        If `initialization` is unknown.

    Notes
    -----
    Shapes: ``(batch, n_inputs)`` to ``(batch, *image_shape)``, values in (0, 1). Large
    images are decoded smaller, as by `DenseDecoder`.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), the code released for smallNORB.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ConvDecoder
    >>> ConvDecoder(80, (2, 48, 48))(torch.rand(2, 80)).shape
    torch.Size([2, 2, 48, 48])
    """

    def __init__(
        self,
        n_inputs: int,
        image_shape: tuple[int, int, int],
        *,
        initialization: str = "variance_scaling",
    ) -> None:
        super().__init__()
        initialize = _initialization(initialization)
        self.image_shape = image_shape
        self.decoded_shape = channels, height, width = decoded_shape(image_shape)
        # Three doublings and four unpadded 3x3 convolutions make 8 s - 16 of s.
        rows, columns = -(-(height + 16) // 8), -(-(width + 16) // 8)
        maps = -(-_FEWEST_SEEDS // (rows * columns))
        self.seed_shape = (maps, rows, columns)
        self.seed = nn.Linear(n_inputs, maps * rows * columns)
        widths = (maps, 64, 128, 128, channels)
        convs = [nn.Conv2d(n_in, n_out, 3) for n_in, n_out in pairwise(widths)]
        initialize((self.seed, *convs))
        self.convs = nn.ModuleList(convs)

    def forward(self, poses: Tensor) -> Tensor:
        """Decode images from flat masked poses of shape ``(batch, n_inputs)``."""
        maps = self.seed(poses).unflatten(1, self.seed_shape)
        *hidden, last = self.convs
        for conv in hidden:
            maps = nn.functional.interpolate(maps, scale_factor=2, mode="bilinear")
            maps = nn.functional.leaky_relu(conv(maps), 0.2)
        return _enlarge(torch.sigmoid(self._cut(last(maps))), self.image_shape)

    def _cut(self, maps: Tensor) -> Tensor:
        _, height, width = self.decoded_shape
        top = (maps.shape[2] - height) // 2
        left = (maps.shape[3] - width) // 2
        return maps[:, :, top : top + height, left : left + width]


def _enlarge(images: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    size = tuple(image_shape[1:])
    if images.shape[2:] == size:
        return images
    return nn.functional.interpolate(images, size=size, mode="bilinear")


def _normal(layers: _Layers) -> None:
    for layer in layers:
        truncated_normal_(layer.weight, 0.1)
        fill_bias_(layer, 0.1)


def _variance_scaling(layers: _Layers) -> None:
    *hidden, last = layers
    for layer in hidden:
        he_normal_(layer.weight, layer.weight[0].numel())
    fan_in = last.weight[0].numel()
    fan_out = len(last.weight) * last.weight[0, 0].numel()
    glorot_normal_(last.weight, fan_in, fan_out)
    for layer in layers:
        fill_bias_(layer, 0.0)


_INITIALIZATIONS = {"normal": _normal, "variance_scaling": _variance_scaling}


def _initialization(name: str) -> Callable[[_Layers], None]:
    check_option("initialization", name, _INITIALIZATIONS)
    return _INITIALIZATIONS[name]


DECODERS: dict[str, type[DenseDecoder] | type[ConvDecoder]] = {
    "dense": DenseDecoder,
    "conv": ConvDecoder,
}
