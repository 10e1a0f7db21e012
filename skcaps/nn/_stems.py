"""From images to feature maps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.nn._checks import check_option
from skcaps.nn._convolution import Conv2d
from skcaps.nn._geometry import ConvGeometry
from skcaps.nn._initialization import fill_bias_, he_normal_, truncated_normal_
from skcaps.nn._norm import BatchNorm, InstanceNorm


class CapsNetStem(nn.Module):
    """CapsNet's first convolution with its ReLU.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    out_channels : int
        Channels of the feature map, 256 in the paper.
    geometry : ConvGeometry
        Kernel and stride, see `capsnet_geometry`.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to
    ``(batch, out_channels, *geometry.output)``.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 4; initial values of the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import CapsNetStem, capsnet_geometry
    >>> stem = CapsNetStem(1, 256, capsnet_geometry(28, 28)[0])
    >>> stem(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 256, 20, 20])
    """

    # The map of so many images takes 26 MB. A whole batch's would be by far the largest
    # tensor, in training its gradient too, and the C library hands memory blocks of
    # more than 32 MiB back to the system every time.
    images_at_a_time = 64

    def __init__(
        self, in_channels: int, out_channels: int, geometry: ConvGeometry
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, geometry.kernel, geometry.stride)
        # 0.05 at the paper's 81 inputs; elsewhere the output keeps that variance.
        truncated_normal_(
            self.conv.weight, 0.05 * math.sqrt(81 / self.conv.weight[0].numel())
        )
        fill_bias_(self.conv, 0.1)

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map images to feature maps; sample weights have no part in it."""
        # In place: a map of the whole batch is the network's largest tensor.
        return torch.relu_(self.conv(images))


class _Norm(NamedTuple):
    norm: Callable[[int], nn.Module]
    activation: Callable[[], nn.Module]


NORMS = {
    "batch": _Norm(BatchNorm, lambda: nn.ReLU(inplace=True)),
    # 0.3 is Keras' slope; PyTorch's is 0.01.
    "instance": _Norm(InstanceNorm, lambda: nn.LeakyReLU(0.3, inplace=True)),
}


class EfficientCapsNetStem(nn.Module):
    """Efficient-CapsNet's convolutions, each followed by activation, then norm.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    channels : sequence of int
        Output channels of each convolution, (32, 64, 64, 128) in the paper.
    geometry : sequence of ConvGeometry
        One for each convolution, see `efficient_capsnet_geometry`.
    norm : {"batch", "instance"}, default="batch"
        Batch normalization after a ReLU (MNIST), or instance normalization after a
        leaky ReLU (smallNORB).

    Raises
    ------
    ValueError
        If `norm` is unknown, or is "instance" where a feature map has a single pixel.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to
    ``(batch, channels[-1], *geometry[-1].output)``.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), section 3.1; order and initial values of the
    released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import EfficientCapsNetStem, efficient_capsnet_geometry
    >>> geometry = efficient_capsnet_geometry(28, 28)[:4]
    >>> stem = EfficientCapsNetStem(1, (32, 64, 64, 128), geometry)
    >>> stem(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 128, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        geometry: Sequence[ConvGeometry],
        *,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        check_option("norm", norm, NORMS)
        if norm == "instance" and any(layer.output == (1, 1) for layer in geometry):
            raise ValueError(
                'norm="instance" needs feature maps of more than one pixel, and images '
                'this small give none; use norm="batch".'
            )
        inputs = (in_channels, *channels[:-1])
        convs = [
            nn.Conv2d(n_in, n_out, layer.kernel, layer.stride)
            for n_in, n_out, layer in zip(inputs, channels, geometry, strict=True)
        ]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(NORMS[norm].norm(n) for n in channels)
        self.activation = NORMS[norm].activation()
        for conv in convs:
            he_normal_(conv.weight, conv.weight[0].numel())
            fill_bias_(conv, 0.0)
        # Small convolutions run faster with their channels last in memory.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map images to feature maps; the batch statistics are weighted."""
        features = images.contiguous(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = norm(self.activation(conv(features)), sample_weight)
        return features


class CustomStem(nn.Module):
    """A copy of any module from images to feature maps, such as a pretrained trunk.

    Parameters
    ----------
    module : torch.nn.Module
        Maps ``(batch, channels, height, width)`` to feature maps with four axes. It
        is deep-copied: training never changes the caller's own.
    image_shape : tuple of int
        ``(channels, height, width)`` of the images.

    Attributes
    ----------
    out_shape : tuple of int
        ``(channels, height, width)`` of the feature maps.

    Raises
    ------
    ValueError
        If the module does not return feature maps with four axes.

    Examples
    --------
    >>> from torch import nn
    >>> from skcaps.nn import CustomStem
    >>> CustomStem(nn.Conv2d(3, 16, 3, padding=1), (3, 32, 32)).out_shape
    (16, 32, 32)
    """

    out_shape: tuple[int, ...]

    def __init__(self, module: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)
        self.out_shape = self._probe(image_shape)

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map images to feature maps; the module knows no sample weights."""
        features: Tensor = self.module(images)
        return features

    def train(self, mode: bool = True) -> CustomStem:
        """Set the mode; a part whose parameters are all frozen stays in evaluation.

        Training would move the running statistics of a frozen batch normalization.
        """
        super().train(mode)
        for part in self.module.modules():
            parameters = list(part.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                part.eval()
        return self

    @torch.no_grad()
    def _probe(self, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        modes = [(part, part.training) for part in self.module.modules()]
        try:
            reference = next(self.module.parameters(), torch.zeros(()))
            features = self.module.eval()(reference.new_zeros((1, *image_shape)))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                "stem must map images of shape (channels, height, width) = "
                f"{tuple(image_shape)} to feature maps, but it raised: {error}"
            ) from error
        for part, was_training in modes:
            part.training = was_training
        if not isinstance(features, Tensor) or features.ndim != 4:
            shape = getattr(features, "shape", None)
            got = type(features).__name__ if shape is None else tuple(shape)
            raise ValueError(
                "stem must map images of shape (batch, channels, height, width) to "
                f"feature maps with four axes, got {got}; cut the trunk "
                "before its pooling and classification layers."
            )
        return tuple(features.shape[1:])
