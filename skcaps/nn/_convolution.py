"""Convolutions of both networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps._kernels import FEWEST_CHANNELS, conv2d


class Conv2d(nn.Conv2d):
    """Conv2d without padding, with a faster CPU implementation for wide layers.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images and of the feature map.
    kernel_size, stride : tuple of int
        For rows and columns.
    """

    stride: tuple[int, int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)
        if out_channels >= FEWEST_CHANNELS:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Convolve images of shape ``(batch, in_channels, height, width)``."""
        return conv2d(images, self.weight, self.bias, self.stride)
