"""A convolution as matrix products, for processors.

`torch.nn.functional.conv2d` without padding, in one of two ways that have the same
form: `suits` says whether it should be taken, `add_convolution` adds to outputs,
`add_gradients` to gradients. All their tensors have the channels last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from skcaps._kernels import _patches, _winograd


class Convolve(torch.autograd.Function):
    """Do what `torch.nn.functional.conv2d` does without padding.

    Takes images (batch, channels, height, width), a weight (channels out, channels,
    kernel rows, kernel columns), a bias (channels out) or None, and the two strides;
    gives feature maps (batch, channels out, rows, columns), channels last in memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
    ) -> Tensor:
        """Convolve in the way that suits the shapes."""
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        last, kernel = _channels_last(images), _channels_last(weight)
        maps = _new_maps(last, kernel, stride)
        outputs = maps.permute(0, 2, 3, 1)
        outputs[:] = 0 if bias is None else bias
        way = _way(last, kernel, stride)
        with torch.autocast(images.device.type, enabled=False):
            way.add_convolution(outputs, last, kernel, stride)
        return maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, weight and bias."""
        images, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            # Only torch's own gradients have gradients.
            grads = (
                conv2d_input(images.shape, weight, grad, ctx.stride)
                if needs[0]
                else None,
                conv2d_weight(images, weight.shape, grad, ctx.stride)
                if needs[1]
                else None,
            )
        else:
            grads = _gradients(images, weight, grad, ctx.stride, needs[:2])
        return *grads, grad.sum((0, 2, 3)) if needs[2] else None, None


def _gradients(
    images: Tensor,
    weight: Tensor,
    grad: Tensor,
    stride: tuple[int, int],
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of images and weight, those that are needed."""
    last, kernel = _channels_last(images), _channels_last(weight)
    of_images, of_kernel = (
        torch.zeros_like(value) if needed else None
        for value, needed in zip((last, kernel), needs, strict=True)
    )
    grad_outputs = _channels_last(grad)
    way = _way(last, kernel, stride)
    with torch.autocast(images.device.type, enabled=False):
        way.add_gradients(of_images, of_kernel, last, kernel, grad_outputs, stride)
    return _channels_first(of_images), _channels_first(of_kernel)


def _way(images: Tensor, kernel: Tensor, stride: tuple[int, int]) -> Any:
    return _winograd if _winograd.suits(images, kernel, stride) else _patches


def _channels_last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous()


def _channels_first(maps: Tensor | None) -> Tensor | None:
    return None if maps is None else maps.permute(0, 3, 1, 2)


def _new_maps(images: Tensor, kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """Make what is no view, since a user may change the maps in place."""
    rows, columns = (
        (images.shape[axis] - kernel.shape[axis]) // stride[axis - 1] + 1
        for axis in (1, 2)
    )
    return torch.empty(
        (len(images), len(kernel), rows, columns),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last,
    )
