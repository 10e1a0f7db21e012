"""A convolution that knows a second way, which is faster on processors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional._convolution import Convolve

# With fewer, products are too narrow to gain what they cost.
_FEWEST_CHANNELS = 64


class ProductConv2d(nn.Conv2d):
    """A convolution without padding, if wanted by matrix products.

    Made for training on a CPU in float32 or float64. On other devices and where torch
    compiles, exports or traces, it is `torch.nn.Conv2d`; and so it is where
    `use_products` was not called. Autocast does not touch products.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images and of the feature map.
    kernel_size, stride : tuple of int
        For rows and columns.

    Attributes
    ----------
    uses_products : bool
        Whether products may be used.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, out_channels, rows,
    columns)``.

    With at least 64 channels in and out, and 64 tiles of outputs in the batch,
    Winograd's algorithm takes the fewest multiplications. For images of 28x28,
    CapsNet's 9x9 kernels of stride 2 need 18.8 for an output instead of 81, from 16
    images on. Otherwise patches are multiplied with the kernel. In float32 Winograd's
    algorithm rounds ten times as coarsely as the others, to 3e-6 of the standard
    deviation.

    Both ways have first and second derivatives by `torch.autograd`, but none in forward
    mode, and nothing of `torch.func` works with them, nor do batched gradients.

    References
    ----------
    Lavin, Gray (2016). "Fast algorithms for convolutional neural networks", section 4.
    arXiv:1509.09308.

    Chellapilla, Puri, Simard (2006). "High performance convolutional neural networks
    for document processing", section 3.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ProductConv2d
    >>> conv = ProductConv2d(1, 64, (9, 9), (2, 2))
    >>> conv.use_products()
    >>> conv(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 64, 10, 10])
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
        self.uses_products = False

    def use_products(self, wanted: bool = True) -> None:
        """Say whether products may be used, and lay the weight out for that.

        Its channels are last in memory then. Below 64 channels out it changes nothing,
        since torch's own convolution is faster.

        Parameters
        ----------
        wanted : bool, default=True
            False goes back to torch's own.
        """
        self.uses_products = wanted and self.out_channels >= _FEWEST_CHANNELS
        layout = torch.channels_last if self.uses_products else torch.contiguous_format
        self.to(memory_format=layout)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Convolve images of shape ``(batch, in_channels, height, width)``."""
        # What does not fit gets torch's own error.
        if not (self.uses_products and _suits_products(images) and self._fits(images)):
            return super().forward(images)
        maps: Tensor = Convolve.apply(  # type: ignore[no-untyped-call]
            images, self.weight, self.bias, self.stride
        )
        return maps

    def _fits(self, images: Tensor) -> bool:
        if images.ndim != 4 or images.dtype != self.weight.dtype:
            return False
        sides = zip(images.shape[2:], self.kernel_size, strict=True)
        return images.shape[1] == self.in_channels and all(
            side >= kernel for side, kernel in sides
        )


def _suits_products(images: Tensor) -> bool:
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not is_traced
    )
