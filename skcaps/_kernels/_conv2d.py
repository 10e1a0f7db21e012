"""Which algorithm convolves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skcaps._kernels._convolve import Convolve

# With fewer channels out, products are too narrow to gain what they cost.
FEWEST_CHANNELS = 64


def conv2d(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]
) -> Tensor:
    """Compute what `torch.nn.functional.conv2d` computes, faster for wide layers.

    Made for training on a CPU in float32 or float64, with 64 channels out or more. On
    other devices, for other widths and formats, and where torch compiles, exports or
    traces, it is torch's own. Autocast to bfloat16 is followed where the processor
    multiplies bfloat16 matrices in a unit of their own; elsewhere a third of the
    arithmetic in float32 is less work than all of it in bfloat16.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
    weight : Tensor of shape (channels out, channels, kernel rows, kernel columns)
        Fastest with its channels last in memory.
    bias : Tensor of shape (channels out,) or None
    stride : tuple of int
        For rows and columns.

    Returns
    -------
    Tensor of shape (batch, channels out, rows, columns)
        Without padding.

    Notes
    -----
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
    >>> from skcaps._kernels import conv2d
    >>> images, weight = torch.rand(2, 1, 28, 28), torch.rand(64, 1, 9, 9)
    >>> conv2d(images, weight, None, (2, 2)).shape
    torch.Size([2, 64, 10, 10])
    """
    # What does not fit gets torch's own error.
    if _suits_products(images) and _is_wide(weight) and _fits(images, weight):
        maps: Tensor = Convolve.apply(images, weight, bias, stride)  # type: ignore[no-untyped-call]
        return maps
    return functional.conv2d(images, weight.contiguous(), bias, stride)


def _is_wide(weight: Tensor) -> bool:
    return len(weight) >= FEWEST_CHANNELS


def _fits(images: Tensor, weight: Tensor) -> bool:
    if images.ndim != 4 or images.dtype != weight.dtype:
        return False
    sides = zip(images.shape[2:], weight.shape[2:], strict=True)
    return images.shape[1] == weight.shape[1] and all(
        side >= kernel for side, kernel in sides
    )


def _suits_products(images: Tensor) -> bool:
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not is_traced
        and not (torch.is_autocast_enabled("cpu") and _has_matrix_unit())
    )


def _has_matrix_unit() -> bool:
    """Return whether the processor has a unit for bfloat16 matrices."""
    if "AVX" not in torch.backends.cpu.get_cpu_capability():
        return True
    # An older torch does not know of it.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    found: bool = ask()
    return found
