"""A convolution that knows a faster way on processors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional._patches import ConvolveByPatches


class PatchConv2d(nn.Conv2d):
    """A convolution without padding, by matrix products where those are faster.

    That is on a CPU, in float32 and float64. On other devices, under autocast and where
    torch compiles, exports or traces, it is `torch.nn.Conv2d`, whose values it always
    has.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images and of the feature map.
    kernel_size, stride : tuple of int
        For rows and columns.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, out_channels, rows,
    columns)``. The weight has its channels last in memory, and so has the result.

    It gains most with large kernels and 256 channels, as CapsNet's, and with images of
    few channels; with kernels of 3x3 torch's own is faster.

    References
    ----------
    Chellapilla, Puri, Simard (2006). "High performance convolutional neural networks
    for document processing", section 3.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import PatchConv2d
    >>> PatchConv2d(1, 16, (9, 9), (2, 2))(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 16, 10, 10])
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
        self.lay_out(torch.channels_last)

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Store the weight in another order; the values stay the same."""
        self.to(memory_format=memory_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Convolve images of shape ``(batch, in_channels, height, width)``."""
        # What does not fit gets torch's own error.
        if not (_by_patches(images) and self._fits(images)):
            return super().forward(images)
        maps: Tensor = ConvolveByPatches.apply(  # type: ignore[no-untyped-call]
            images, self.weight, self.bias, self.stride
        )
        return maps

    def _fits(self, images: Tensor) -> bool:
        return images.ndim == 4 and images.shape[1] == self.in_channels


def _by_patches(images: Tensor) -> bool:
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not is_traced
    )
