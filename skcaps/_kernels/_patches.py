"""A convolution as products of patches.

Patches, copied out of the images, make a matrix, whose product with the kernel is about
as fast as torch's convolution forward and faster backward, most of all for images with
one channel (`benchmarks/README.md`).

With the channels last a patch is copied in long runs. A block is a part of the outputs
and a part of the kernel whose patches stay in the cache.

The axes are: `images` (batch, height, width, channels); `kernel` (channels out, kernel
rows, kernel columns, channels); `outputs` (batch, rows, columns, channels out);
`windows` (batch, rows, columns, kernel rows, kernel columns, channels).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from skcaps._kernels._steps import equal_step

# Outputs in a block: each block reads its part of the kernel once.
_OUTPUTS = 1280
# Patches in a block: what a cache holds.
_PATCHES_BYTES = 4 << 20

_Slices = tuple[slice, slice]


def add_convolution(
    outputs: Tensor, images: Tensor, kernel: Tensor, stride: tuple[int, int]
) -> None:
    """Multiply the patches with each part of the kernel, and add to the outputs."""
    windows = _windows(images, kernel, stride)
    buffer = _buffer(windows)
    for place, part in _blocks(windows):
        patches = _copy(windows, place, part, buffer)
        _rows(outputs, place).addmm_(patches, _columns(kernel, part).T)


def add_gradients(
    grad_images: Tensor | None,
    grad_kernel: Tensor | None,
    images: Tensor,
    kernel: Tensor,
    grad_outputs: Tensor,
    stride: tuple[int, int],
) -> None:
    """Add to the gradients of images and kernel, where they are wanted."""
    windows = _windows(images, kernel, stride)
    buffer = _buffer(windows)
    for place, part in _blocks(windows):
        rows = _rows(grad_outputs, place)
        if grad_kernel is not None:
            patches = _copy(windows, place, part, buffer)
            _columns(grad_kernel, part).addmm_(rows.T, patches)
        if grad_images is not None:
            target = _cut(_windows(grad_images, kernel, stride), place, part)
            out = buffer[: target.numel()].view(len(rows), -1)
            torch.mm(rows, _columns(kernel, part), out=out)
            _add_patches(target, out.view(target.shape))


def _windows(maps: Tensor, kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """View the maps as one patch for each output."""
    rows = maps.unfold(1, kernel.shape[1], stride[0])
    return rows.unfold(2, kernel.shape[2], stride[1]).permute(0, 1, 2, 4, 5, 3)


def _blocks(windows: Tensor) -> Iterator[tuple[_Slices, _Slices]]:
    """Return the places (images, rows) and the parts of the kernel of all blocks."""
    sizes = [windows.shape[axis] for axis in (0, 1, 3, 4)]
    steps = _block_steps(windows)
    axes = [
        [slice(start, start + step) for start in range(0, size, step)]
        for size, step in zip(sizes, steps, strict=True)
    ]
    for images, rows, kernel_rows, kernel_columns in itertools.product(*axes):
        yield (images, rows), (kernel_rows, kernel_columns)


def _block_steps(windows: Tensor) -> tuple[int, int, int, int]:
    """Return the images, rows, kernel rows and kernel columns of a block."""
    n_images, n_rows, n_columns, kernel_rows, kernel_columns, channels = windows.shape
    images = equal_step(n_images, _OUTPUTS // (n_rows * n_columns))
    rows = equal_step(n_rows, _OUTPUTS // n_columns)
    bytes_of_place = images * rows * n_columns * channels * windows.element_size()
    n_places = _PATCHES_BYTES // bytes_of_place
    return (
        images,
        rows,
        equal_step(kernel_rows, n_places // kernel_columns),
        equal_step(kernel_columns, n_places),
    )


def _buffer(windows: Tensor) -> Tensor:
    images, rows, kernel_rows, kernel_columns = _block_steps(windows)
    *_, n_columns, _, _, channels = windows.shape
    n_outputs, n_places = images * rows * n_columns, kernel_rows * kernel_columns
    return windows.new_empty(n_outputs * n_places * channels)


def _cut(windows: Tensor, place: _Slices, part: _Slices) -> Tensor:
    return windows[*place, :, *part]


def _copy(windows: Tensor, place: _Slices, part: _Slices, buffer: Tensor) -> Tensor:
    """Copy the patches of a block, one in each row of a matrix."""
    patches = _cut(windows, place, part)
    copied = buffer[: patches.numel()].view(patches.shape).copy_(patches)
    return copied.flatten(0, 2).flatten(1)


def _rows(outputs: Tensor, place: _Slices) -> Tensor:
    """View the outputs of a block as a matrix with one of them in each row."""
    return outputs[place].view(-1, outputs.shape[3])


def _columns(kernel: Tensor, part: _Slices) -> Tensor:
    """View a part of the kernel as a matrix with one channel out in each row."""
    return kernel[:, *part].view(len(kernel), -1)


def _add_patches(target: Tensor, patches: Tensor) -> None:
    """Add patches to the maps; those of one place in the kernel never overlap."""
    places = itertools.product(range(target.shape[3]), range(target.shape[4]))
    for row, column in places:
        target[:, :, :, row, column] += patches[:, :, :, row, column]
