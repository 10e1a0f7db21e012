"""A convolution with fewer multiplications, for many channels.

The outputs are cut into tiles. The pixels that a tile reads, and the kernel, are each
transformed to the same number of values, its points; at each point one matrix product
sums over the channels; a last transformation makes outputs of the products
(`_minimal_filtering.py`). With a stride, every phase of the kernel, as its even rows or
its odd ones, is a convolution with stride 1 of every second row of the images, and the
phases are summed. For images of 28x28, CapsNet's 9x9 kernels of stride 2 take 18.8
products for each output instead of 81.

The axes are: `images` (batch, height, width, channels), `kernel` (channels out, kernel
rows, kernel columns, channels), `outputs` (batch, rows, columns, channels out). A grid
is a phase of one of them with its first axis after the columns, as (rows, columns,
batch, channels), and points are (row points, column points, tile rows, tile columns,
batch, channels).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skcaps._kernels._minimal_filtering import (
    Filter,
    Tiling,
    minimal_filter,
    tile_side,
)
from skcaps._kernels._steps import equal_step

# Tiles at a time, of whole images: enough rows for fast products, and little memory.
_TILES = 256
# With fewer tiles, points of the kernel cost more than is gained, with fewer channels
# those of the images.
_FEWEST_TILES = 64
_FEWEST_CHANNELS = 64
_SMALLEST_GAIN = 2.0

# For rows and for columns.
_Tilings = tuple[Tiling, Tiling]
_Sizes = tuple[int, int]
_Matrices = tuple[Tensor, Tensor]


class _Phase(NamedTuple):
    """Rows and columns of images and kernel that belong together.

    Attributes
    ----------
    pixels : tuple of slice
        Their places.
    size : tuple of int
        Rows and columns that the tiles read, maybe more than the images have.
    steps : tuple of int
        From one tile to the next.
    of_images, of_kernel, of_outputs : tuple of Tensor
        The matrices.
    """

    pixels: tuple[slice, slice]
    size: _Sizes
    steps: _Sizes
    of_images: _Matrices
    of_kernel: _Matrices
    of_outputs: _Matrices


def suits(images: Tensor, kernel: Tensor, stride: _Sizes) -> bool:
    """Return whether this way gains more than it costs."""
    rows, columns = _tilings(images, kernel, stride)
    return (
        len(images) * rows.n_tiles * columns.n_tiles >= _FEWEST_TILES
        and min(kernel.shape[0], kernel.shape[3]) >= _FEWEST_CHANNELS
        and rows.gain * columns.gain >= _SMALLEST_GAIN
    )


def add_convolution(
    outputs: Tensor, images: Tensor, kernel: Tensor, stride: _Sizes
) -> None:
    """Add the convolution of the images with the kernel to the outputs."""
    tilings = _tilings(images, kernel, stride)
    for part in _parts(len(images), tilings):
        grid = outputs.new_zeros(*_covered(tilings), *outputs[part, 0, 0].shape)
        for phase in _phases(tilings, images):
            points = _image_points(images[part], phase)
            products = torch.bmm(points, _kernel_points(kernel, phase).mT)
            _add_from_points(grid, products, phase.of_outputs, phase.steps)
        _add_grid(outputs[part], grid)


def add_gradients(
    grad_images: Tensor | None,
    grad_kernel: Tensor | None,
    images: Tensor,
    kernel: Tensor,
    grad_outputs: Tensor,
    stride: _Sizes,
) -> None:
    """Add the gradients of images and kernel, those that are wanted."""
    tilings = _tilings(images, kernel, stride)
    for part in _parts(len(images), tilings):
        grid = _to_grid(grad_outputs[part], _covered(tilings))
        for phase in _phases(tilings, images):
            grad_points = _to_points(grid, _transpose(phase.of_outputs), phase.steps)
            if grad_kernel is not None:
                _add_to_kernel(grad_kernel, grad_points, images[part], phase)
            if grad_images is not None:
                _add_to_images(grad_images[part], grad_points, kernel, phase)


def _add_to_kernel(
    grad_kernel: Tensor, grad_points: Tensor, images: Tensor, phase: _Phase
) -> None:
    products = torch.bmm(grad_points.mT, _image_points(images, phase))
    rows, columns = phase.of_kernel
    size = (rows.shape[1], columns.shape[1])
    pixels = grad_kernel[:, *phase.pixels]
    _add_back(pixels, products, size, phase.of_kernel, phase.steps)


def _add_to_images(
    grad_images: Tensor, grad_points: Tensor, kernel: Tensor, phase: _Phase
) -> None:
    products = torch.bmm(grad_points, _kernel_points(kernel, phase))
    pixels = grad_images[:, *phase.pixels]
    _add_back(pixels, products, phase.size, phase.of_images, phase.steps)


def _tilings(images: Tensor, kernel: Tensor, stride: _Sizes) -> _Tilings:
    """Cut rows and columns of the outputs into tiles."""
    rows = tile_side(images.shape[1], kernel.shape[1], stride[0])
    return rows, tile_side(images.shape[2], kernel.shape[2], stride[1])


def _covered(tilings: _Tilings) -> _Sizes:
    """Return the rows and columns of all tiles' outputs."""
    rows, columns = tilings
    return rows.n_covered, columns.n_covered


def _parts(n_images: int, tilings: _Tilings) -> Iterator[slice]:
    """Cut a batch into equal parts, since each takes the kernel's points anew."""
    rows, columns = tilings
    size = equal_step(n_images, _TILES // (rows.n_tiles * columns.n_tiles))
    return (slice(start, start + size) for start in range(0, n_images, size))


def _phases(tilings: _Tilings, like: Tensor) -> Iterator[_Phase]:
    """Combine the phases of rows and columns."""
    rows, columns = tilings
    starts = (range(len(tiling.taps_of_phases)) for tiling in tilings)
    for row, column in itertools.product(*starts):
        of_rows, of_columns = _filter(rows, row, like), _filter(columns, column, like)
        yield _Phase(
            pixels=(slice(row, None, rows.stride), slice(column, None, columns.stride)),
            size=(rows.n_inputs(row), columns.n_inputs(column)),
            steps=(rows.step, columns.step),
            of_images=(of_rows.of_inputs, of_columns.of_inputs),
            of_kernel=(of_rows.of_taps, of_columns.of_taps),
            of_outputs=(of_rows.of_outputs, of_columns.of_outputs),
        )


def _filter(tiling: Tiling, phase: int, like: Tensor) -> Filter[Tensor]:
    matrices = minimal_filter(tiling.step, tiling.taps_of_phases[phase])
    return Filter(*(torch.from_numpy(matrix).to(like) for matrix in matrices))


def _image_points(images: Tensor, phase: _Phase) -> Tensor:
    grid = _to_grid(images[:, *phase.pixels], phase.size)
    return _to_points(grid, phase.of_images, phase.steps)


def _kernel_points(kernel: Tensor, phase: _Phase) -> Tensor:
    grid = kernel[:, *phase.pixels].permute(1, 2, 0, 3).contiguous()
    return _to_points(grid, phase.of_kernel, phase.steps)


def _add_back(
    maps: Tensor, points: Tensor, size: _Sizes, matrices: _Matrices, steps: _Sizes
) -> None:
    """Add what a transposed transformation makes of the points to the maps."""
    grid = maps.new_zeros(*size, len(maps), maps.shape[3])
    _add_from_points(grid, points, _transpose(matrices), steps)
    _add_grid(maps, grid)


def _to_grid(maps: Tensor, size: _Sizes) -> Tensor:
    """Copy maps, with zeros where the grid is larger."""
    pixels = maps[:, : size[0], : size[1]].permute(1, 2, 0, 3)
    grid = maps.new_zeros(*size, *pixels.shape[2:])
    grid[: pixels.shape[0], : pixels.shape[1]] = pixels
    return grid


def _add_grid(maps: Tensor, grid: Tensor) -> None:
    """Add the grid to the maps, where they overlap."""
    pixels = maps[:, : grid.shape[0], : grid.shape[1]]
    pixels += grid[: pixels.shape[1], : pixels.shape[2]].permute(2, 0, 1, 3)


def _to_points(grid: Tensor, matrices: _Matrices, steps: _Sizes) -> Tensor:
    """Transform all tiles; give a matrix (tiles x batch, channels) for each."""
    of_rows, of_columns = matrices
    rows, columns = _tiles(grid, matrices, steps)
    values = grid.flatten(2)
    points = values.new_empty(
        len(of_rows), len(of_columns), len(rows), len(columns), values.shape[2]
    )
    by_columns = of_columns.expand(len(of_rows), -1, -1)
    for row, tile_rows in enumerate(rows):
        strip = (of_rows @ values[tile_rows].flatten(1)).view(-1, *values.shape[1:])
        for column, tile_columns in enumerate(columns):
            out = points[:, :, row, column]
            torch.bmm(by_columns, strip[:, tile_columns], out=out)
    return points.view(len(of_rows) * len(of_columns), -1, grid.shape[3])


def _add_from_points(
    grid: Tensor, points: Tensor, matrices: _Matrices, steps: _Sizes
) -> None:
    """Transform the points of all tiles, and add what they give to the grid."""
    of_rows, of_columns = matrices
    rows, columns = _tiles(grid, _transpose(matrices), steps)
    values = grid.flatten(2)
    points = points.view(
        of_rows.shape[1], of_columns.shape[1], len(rows), len(columns), -1
    )
    by_columns = of_columns.expand(len(points), -1, -1)
    for row, tile_rows in enumerate(rows):
        strip = values.new_zeros(len(points), *values.shape[1:])
        for column, tile_columns in enumerate(columns):
            strip[:, tile_columns].baddbmm_(by_columns, points[:, :, row, column])
        values[tile_rows].flatten(1).addmm_(of_rows, strip.flatten(1))


def _tiles(
    grid: Tensor, matrices: _Matrices, steps: _Sizes
) -> tuple[list[slice], list[slice]]:
    """Return the rows and the columns of the grid that each tile takes."""
    rows, columns = (
        [
            slice(start, start + matrix.shape[1])
            for start in range(0, n_places - matrix.shape[1] + 1, step)
        ]
        for n_places, matrix, step in zip(grid.shape[:2], matrices, steps, strict=True)
    )
    return rows, columns


def _transpose(matrices: _Matrices) -> _Matrices:
    of_rows, of_columns = matrices
    return of_rows.mT, of_columns.mT
