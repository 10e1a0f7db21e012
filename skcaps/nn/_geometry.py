"""Which kernels and strides a network uses for an image size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, count, product
from types import MappingProxyType
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


# (kernel, stride) of each layer, for square images of these sides. Strides leave some
# rows and columns unread here, and stay so, since published numbers were measured so.
# CapsNet for MNIST, MultiMNIST and affNIST:
_CAPSNET_PUBLISHED = dict.fromkeys((28, 36, 40), ((9, 1), (9, 2)))
# The kernels of Efficient-CapsNet are tuned by hand, for MNIST, MultiMNIST and
# smallNORB; affNIST, of 40x40, is not in its paper, but in docs/reproductions.md. The
# last layer is the depthwise convolution that makes the capsules.
_EFFICIENT_PUBLISHED = {
    28: ((5, 1), (3, 1), (3, 1), (3, 2), (9, 1)),
    36: ((5, 1), (3, 1), (3, 2), (3, 2), (5, 2)),
    40: ((5, 1), (3, 1), (3, 2), (3, 2), (7, 1)),
    48: ((7, 2), (3, 1), (3, 1), (3, 2), (8, 1)),
}
# The matrix capsule network for smallNORB, cropped to 32x32, and for MNIST, with two
# capsule convolutions and with none; without, the last layer makes the capsules.
_MATRIX_PUBLISHED: dict[int, dict[int, tuple[tuple[int, int], ...]]] = {
    0: {32: ((5, 2), (3, 2))},
    2: dict.fromkeys((28, 32), ((5, 2), (3, 2), (3, 1))),
}
_MATRIX_LARGEST_GRID = 6
_CAPSNET_LARGEST_GRID = 12
_EFFICIENT_LARGEST_MAP = 9
# The search for strides takes time in proportion to a side, here half a second.
_LONGEST_SIDE = 2**20


def capsnet_geometry(
    height: int, width: int, *, kernel_size: int = 9
) -> tuple[ConvGeometry, ...]:
    """Return the two convolutions of CapsNet for an image size.

    Images of 28x28, 36x36 and 40x40 pixels get the paper's own network: 9x9 kernels
    with strides 1 and 2, which do not read the last row and column. At every other size
    every pixel reaches a capsule.

    A kernel covers at most half of the map it reads (rounded up), so every size from
    1x1 works; no stride exceeds its kernel, so no pixel between two is skipped. The
    first convolution strides when the grid of primary capsules would otherwise exceed
    12x12, so large images cost about what small ones do. Last, the first kernel grows
    by what the strides would leave unread at the right and lower edge; where it would
    more than double, it shrinks or the second one changes by a pixel.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels, from 1 to 2^20.
    kernel_size : int, default=9
        Kernel of both convolutions where the image allows it; at least the stride, so
        2 for the second one if it is 1. It is changed where strides would leave pixels
        unread; only 9 has published sizes.

    Returns
    -------
    layers : tuple of ConvGeometry
        The stem's convolution and the one that makes the primary capsules.

    Raises
    ------
    ValueError
        If a size is below 1 or above 2^20.

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
    published = _CAPSNET_PUBLISHED if kernel_size == 9 else {}
    return _both_axes(
        height, width, lambda side: _capsnet_axis(side, kernel_size), published
    )


def primary_geometry(
    height: int, width: int, *, kernel_size: int = 9
) -> tuple[ConvGeometry, ...]:
    """Return the convolution of CapsNet's primary capsules for any feature map.

    Parameters
    ----------
    height, width : int
        Size of the feature map, from 1 to 2^20.
    kernel_size : int, default=9
        Kernel where the map allows it and its stride then leaves nothing unread.

    Returns
    -------
    layers : tuple of one ConvGeometry
        The convolution; it reads all of the map, and its grid is at most 12x12.

    Raises
    ------
    ValueError
        If a size is below 1 or above 2^20.

    Examples
    --------
    >>> from skcaps.nn import primary_geometry
    >>> primary_geometry(7, 7)
    (ConvGeometry(kernel=(5, 5), stride=(2, 2), output=(2, 2)),)
    """
    return _both_axes(height, width, lambda side: _primary_axis(side, kernel_size))


def efficient_capsnet_geometry(
    height: int, width: int, *, n_convolutions: int = 4
) -> tuple[ConvGeometry, ...]:
    """Return the convolutions of Efficient-CapsNet for an image size.

    Images of 28x28, 36x36 and 48x48 pixels get the paper's own layers, which do not
    read the last 1, 7 and 1 rows and columns; so do those of 40x40, affNIST's, where it
    is 3. At every other size every pixel reaches a capsule.

    A kernel covers at most a third of the map it reads (rounded up), and layers stride
    by two, one after the other, until the last map is at most 9x9; the depthwise
    convolution that makes the capsules covers all of it. Last, the first kernel grows
    by what the strides would leave unread at the right and lower edge; where it would
    more than double, it shrinks or others change by a pixel.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels, from 1 to 2^20.
    n_convolutions : int, default=4
        Number of convolutions in the stem.

    Returns
    -------
    layers : tuple of ConvGeometry
        The stem's convolutions, then the depthwise one, whose output is 1x1.

    Raises
    ------
    ValueError
        If a size is below 1 or above 2^20.

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
    published = _EFFICIENT_PUBLISHED if n_convolutions == 4 else {}
    return _both_axes(
        height, width, lambda side: _efficient_axis(side, n_convolutions), published
    )


def matrix_capsnet_geometry(
    height: int, width: int, *, n_convolutions: int = 2
) -> tuple[ConvGeometry, ...]:
    """Return the layers of a matrix capsule network for an image size.

    Images of 28x28 and 32x32 pixels get the paper's network: a 5x5 kernel with stride
    2, primary capsules of one pixel each, and capsule convolutions of 3x3 with stride 2
    and then 1. At 28x28 it does not read the last row and column. At every other size
    every pixel reaches a capsule.

    A kernel covers at most half of the map it reads (rounded up). Strides are 1 at
    first; the first capsule convolution and then the first layer stride until the last
    map is at most 6x6, so large images cost about what small ones do. Last, kernels
    grow or shrink by what the strides would leave unread.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels, at least 1.
    n_convolutions : int, default=2
        Number of capsule convolutions. Without any, the primary capsules have kernels
        of 3x3.

    Returns
    -------
    layers : tuple of ConvGeometry
        The first convolution, the one that makes the primary capsules, and those of
        the capsules.

    Raises
    ------
    ValueError
        If a size is below 1, or `n_convolutions` below 0.

    References
    ----------
    Hinton, Sabour, Frosst (2018), "Matrix capsules with EM routing", section 4; for the
    network without capsule convolutions the code of Ribeiro, Leontidis, Kollias (2020).

    Examples
    --------
    >>> from skcaps.nn import matrix_capsnet_geometry
    >>> [layer.output for layer in matrix_capsnet_geometry(28, 28)]
    [(12, 12), (12, 12), (5, 5), (3, 3)]
    >>> matrix_capsnet_geometry(224, 224)[-1].output
    (6, 6)
    """
    _check_convolutions(n_convolutions)
    sizes = _MATRIX_PUBLISHED.get(n_convolutions, {})
    found = _both_axes(
        height, width, lambda side: _matrix_axis(side, n_convolutions), sizes
    )
    if not n_convolutions:
        return found
    first, *others = found
    return first, ConvGeometry((1, 1), (1, 1), first.output), *others


def matrix_primary_geometry(
    height: int, width: int, *, n_convolutions: int = 2
) -> tuple[ConvGeometry, ...]:
    """Return the layers of a matrix capsule network after any feature map.

    Parameters
    ----------
    height, width : int
        Size of the feature map, at least 1.
    n_convolutions : int, default=2
        Number of capsule convolutions.

    Returns
    -------
    layers : tuple of ConvGeometry
        The convolution that makes the primary capsules, and those of the capsules.

    Raises
    ------
    ValueError
        If a size is below 1, or `n_convolutions` below 0.

    Examples
    --------
    >>> from skcaps.nn import matrix_primary_geometry
    >>> [layer.output for layer in matrix_primary_geometry(7, 7)]
    [(7, 7), (5, 5), (3, 3)]
    """
    _check_convolutions(n_convolutions)
    if not n_convolutions:
        return _both_axes(height, width, lambda side: _matrix_rest(side, 1))
    layers = _both_axes(height, width, lambda side: _matrix_rest(side, n_convolutions))
    whole = (height, width)
    return ConvGeometry((1, 1), (1, 1), whole), *layers


def _check_convolutions(n_convolutions: int) -> None:
    if n_convolutions < 0:
        raise ValueError(f"n_convolutions must not be negative, got {n_convolutions}.")


def _both_axes(
    height: int,
    width: int,
    plan: Callable[[int], tuple[_Step, ...]],
    published: Mapping[int, Sequence[tuple[int, int]]] = MappingProxyType({}),
) -> tuple[ConvGeometry, ...]:
    if min(height, width) < 1:
        raise ValueError(
            f"An image must have at least 1x1 pixels, got {height}x{width}."
        )
    if max(height, width) > _LONGEST_SIDE:
        raise ValueError(
            f"An image may have at most {_LONGEST_SIDE} pixels a side, got "
            f"{height}x{width}; cut it into parts, or take every n-th value."
        )
    # No paper reads one row of 36 features, and no feature may be lost.
    if height == width in published:
        rows = columns = _trace(height, *zip(*published[height], strict=True), share=1)
    else:
        rows, columns = plan(height), plan(width)
    return tuple(
        ConvGeometry(*zip(row, column, strict=True))
        for row, column in zip(rows, columns, strict=True)
    )


def _capsnet_axis(side: int, kernel: int) -> tuple[_Step, ...]:
    ladder = ((stride, 2) for stride in count(1))
    return _plan(side, (kernel, kernel), ladder, 2, _CAPSNET_LARGEST_GRID)


def _primary_axis(side: int, kernel: int) -> tuple[_Step, ...]:
    ladder = ((stride,) for stride in count(2))
    return _plan(side, (kernel,), ladder, 2, _CAPSNET_LARGEST_GRID)


def _efficient_axis(side: int, n_convolutions: int) -> tuple[_Step, ...]:
    kernels = (5, *(3,) * (n_convolutions - 1))
    ladder = _stride_ladder(n_convolutions)
    steps = _plan(side, kernels, ladder, 3, _EFFICIENT_LARGEST_MAP)
    return (*steps, _Step(steps[-1].output, 1, 1))


def _matrix_axis(side: int, n_convolutions: int) -> tuple[_Step, ...]:
    # Primary capsules of one pixel change nothing, so they are left out.
    kernels = (5, *(3,) * max(n_convolutions, 1))
    others = (1,) * (len(kernels) - 2)
    ladder = chain(((1, 1, *others),), ((first, 2, *others) for first in count(1)))
    return _plan(side, kernels, ladder, 2, _MATRIX_LARGEST_GRID)


def _matrix_rest(side: int, n_layers: int) -> tuple[_Step, ...]:
    kernels, others = (3,) * n_layers, (1,) * (n_layers - 1)
    ladder = ((stride, *others) for stride in count(1))
    return _plan(side, kernels, ladder, 2, _MATRIX_LARGEST_GRID)


def _plan(
    side: int,
    kernels: Sequence[int],
    ladder: Iterator[Sequence[int]],
    share: int,
    largest: int,
) -> tuple[_Step, ...]:
    """Take the first strides whose last map is small, then kernels to match them."""
    for strides in ladder:
        steps = _trace(side, kernels, strides, share=share)
        if steps[-1].output <= largest:
            return _without_rest(side, steps, largest)
    raise AssertionError("unreachable: strides grow without bound")


def _without_rest(side: int, steps: Sequence[_Step], largest: int) -> tuple[_Step, ...]:
    """Change the kernels as little as it takes for every pixel to be read."""
    (kernel, stride, _), *others = steps
    firsts = tuple(_first_steps(side, kernel, stride))
    strides = tuple(step.stride for step in others)
    for later in _changed([step.kernel for step in others]):
        for first in firsts:
            changed = (first, *_trace(first.output, later, strides, share=1))
            if _read(changed) == side and changed[-1].output <= largest:
                return changed
    raise AssertionError("unreachable: what each stride leaves fits into its kernel")


def _first_steps(side: int, kernel: int, stride: int) -> Iterator[_Step]:
    """Yield the step with this kernel, then with larger and smaller ones.

    A larger first kernel costs little, since images have few channels, and the maps
    after it stay as large as they were.
    """
    larger = range(kernel, min(2 * kernel, side) + 1)
    smaller = range(kernel - 1, stride - 1, -1)
    for size in (*larger, *smaller):
        yield _Step(size, stride, (side - size) // stride + 1)


def _changed(kernels: Sequence[int]) -> Iterator[list[int]]:
    """Yield the kernels, then with one of them a pixel larger or smaller, with two."""
    for n_changed in range(len(kernels) + 1):
        for places in combinations(range(len(kernels)), n_changed):
            for changes in product((1, -1), repeat=n_changed):
                changed = list(kernels)
                for place, change in zip(places, changes, strict=True):
                    changed[place] += change
                yield changed


def _read(steps: Sequence[_Step]) -> int:
    """Return how many pixels of an axis reach the last map."""
    pixels = steps[-1].output
    for kernel, stride, _ in reversed(steps):
        pixels = kernel + (pixels - 1) * stride
    return pixels


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
