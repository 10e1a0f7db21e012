"""Which kernels and strides a network uses for an image size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import NamedTuple


class ConvGeometry(NamedTuple):
    """Kernel, stride and output size of one convolution, as ``(height, width)``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    output: tuple[int, int]


class _Step(NamedTuple):
    """One convolution along one axis."""

    kernel: int
    stride: int
    output: int


# The Efficient-CapsNet paper tunes its kernels by hand for these sides: five layers of
# (kernel, stride), the last being the depthwise convolution that makes the capsules.
_EFFICIENT_PUBLISHED = {
    36: ((5, 1), (3, 1), (3, 2), (3, 2), (5, 2)),
    48: ((7, 2), (3, 1), (3, 1), (3, 2), (8, 1)),
}
_CAPSNET_LARGEST_GRID = 12
_EFFICIENT_LARGEST_MAP = 9


def capsnet_geometry(
    height: int, width: int, *, kernel_size: int = 9
) -> tuple[ConvGeometry, ...]:
    """Return the two convolutions of CapsNet for an image size.

    A kernel covers at most half of the map it reads (rounded up), so every size from
    1x1 works; no stride exceeds its kernel, so no pixel between two is skipped. The
    first convolution strides when the grid of primary capsules would otherwise exceed
    12x12, so large images cost about what small ones do. Sides of 25 to 40 pixels get
    the paper's own network: 9x9 kernels with strides 1 and 2.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels, at least 1.
    kernel_size : int, default=9
        Kernel of both convolutions where the image allows it; at least the stride, so
        2 for the second one if it is 1.

    Returns
    -------
    layers : tuple of ConvGeometry
        The stem's convolution and the one that makes the primary capsules.

    Raises
    ------
    ValueError
        If a size is below 1.

    References
    ----------
    Sabour, Frosst, Hinton (2017), "Dynamic routing between capsules", section 4.

    Examples
    --------
    >>> from skcaps.nn import capsnet_geometry
    >>> [layer.output for layer in capsnet_geometry(28, 28)]
    [(20, 20), (6, 6)]
    >>> capsnet_geometry(224, 224)[0].stride
    (7, 7)
    """
    kernels = (kernel_size, kernel_size)
    return _both_axes(height, width, lambda side: _capsnet_axis(side, kernels))


def primary_geometry(
    height: int, width: int, *, kernel_size: int = 9
) -> tuple[ConvGeometry, ...]:
    """Return the convolution of CapsNet's primary capsules for any feature map.

    Parameters
    ----------
    height, width : int
        Size of the feature map, at least 1.
    kernel_size : int, default=9
        Kernel where the map allows it.

    Returns
    -------
    layers : tuple of one ConvGeometry
        The convolution; its grid is at most 12x12.

    Raises
    ------
    ValueError
        If a size is below 1.

    Examples
    --------
    >>> from skcaps.nn import primary_geometry
    >>> primary_geometry(7, 7)
    (ConvGeometry(kernel=(4, 4), stride=(2, 2), output=(2, 2)),)
    """
    return _both_axes(height, width, lambda side: _primary_axis(side, kernel_size))


def efficient_capsnet_geometry(
    height: int, width: int, *, n_convolutions: int = 4
) -> tuple[ConvGeometry, ...]:
    """Return the convolutions of Efficient-CapsNet for an image size.

    Sides of 28, 36 and 48 pixels get the paper's own layers. Elsewhere a kernel covers
    at most a third of the map it reads (rounded up), and layers stride by two, one
    after the other, until the last map is at most 9x9; the depthwise convolution that
    makes the capsules covers all of it.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels, at least 1.
    n_convolutions : int, default=4
        Number of convolutions in the stem.

    Returns
    -------
    layers : tuple of ConvGeometry
        The stem's convolutions, then the depthwise one, whose output is 1x1.

    Raises
    ------
    ValueError
        If a size is below 1.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), "Efficient-CapsNet: capsule network with
    self-attention routing", figure 2, and the code released with it.

    Examples
    --------
    >>> from skcaps.nn import efficient_capsnet_geometry
    >>> [layer.output for layer in efficient_capsnet_geometry(28, 28)]
    [(24, 24), (22, 22), (20, 20), (9, 9), (1, 1)]
    """
    if n_convolutions < 1:
        raise ValueError(f"n_convolutions must be at least 1, got {n_convolutions}.")
    return _both_axes(height, width, lambda side: _efficient_axis(side, n_convolutions))


def _both_axes(
    height: int, width: int, plan: Callable[[int], tuple[_Step, ...]]
) -> tuple[ConvGeometry, ...]:
    if min(height, width) < 1:
        raise ValueError(
            f"An image must have at least 1x1 pixels, got {height}x{width}."
        )
    return tuple(
        ConvGeometry(*zip(row, column, strict=True))
        for row, column in zip(plan(height), plan(width), strict=True)
    )


def _capsnet_axis(side: int, kernels: tuple[int, int]) -> tuple[_Step, ...]:
    for stride in count(1):
        steps = _trace(side, kernels, (stride, 2), share=2)
        if steps[-1].output <= _CAPSNET_LARGEST_GRID:
            return steps
    raise AssertionError("unreachable: strides grow without bound")


def _primary_axis(side: int, kernel: int) -> tuple[_Step, ...]:
    for stride in count(2):
        steps = _trace(side, (kernel,), (stride,), share=2)
        if steps[-1].output <= _CAPSNET_LARGEST_GRID:
            return steps
    raise AssertionError("unreachable: strides grow without bound")


def _efficient_axis(side: int, n_convolutions: int) -> tuple[_Step, ...]:
    if side in _EFFICIENT_PUBLISHED and n_convolutions == 4:
        kernels, strides = zip(*_EFFICIENT_PUBLISHED[side], strict=True)
        return _trace(side, kernels, strides, share=1)
    first_wide = (5, *(3,) * (n_convolutions - 1))
    for ladder in _stride_ladder(n_convolutions):
        steps = _trace(side, first_wide, ladder, share=3)
        if steps[-1].output <= _EFFICIENT_LARGEST_MAP:
            return (*steps, _Step(steps[-1].output, 1, 1))
    raise AssertionError("unreachable: strides grow without bound")


def _trace(
    side: int, kernels: Sequence[int], strides: Sequence[int], *, share: int
) -> tuple[_Step, ...]:
    """Follow one axis; a kernel covers at most ``1 / share`` of the map, rounded up."""
    steps = []
    for kernel, stride in zip(kernels, strides, strict=True):
        # A kernel narrower than its stride would skip pixels.
        kernel = min(max(kernel, stride), -(-side // share))
        stride = min(kernel, stride)
        side = (side - kernel) // stride + 1
        steps.append(_Step(kernel, stride, side))
    return tuple(steps)


def _stride_ladder(n_convolutions: int) -> Iterator[tuple[int, ...]]:
    """Yield strides from the paper's own (1, ..., 1, 2) to ever coarser ones."""
    last = n_convolutions - 1
    strides = [1] * n_convolutions
    for index in dict.fromkeys((last, max(last - 1, 0), 0, *range(n_convolutions))):
        strides[index] = 2
        yield tuple(strides)
    while True:
        strides[0] *= 2
        yield tuple(strides)
