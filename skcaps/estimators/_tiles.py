"""A network over images of any size, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from skcaps.nn import SegmentationNetwork


class _Span(NamedTuple):
    """A part of a side: what is wanted, and what has to be seen for it."""

    wanted: slice
    seen: slice

    @property
    def inside(self) -> slice:
        """Return where the wanted part is in the seen one."""
        start = self.wanted.start - self.seen.start
        return slice(start, start + self.wanted.stop - self.wanted.start)


def run_in_tiles(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    network: SegmentationNetwork,
    tile_size: int,
) -> Tensor:
    """Apply a function to tiles of images, and join what it returns of each pixel.

    Parameters
    ----------
    function : callable
        Maps images to a tensor (batch, ..., height, width), of which a pixel depends on
        no more than the network sees.
    images : Tensor of shape (batch, channels, height, width)
    network : SegmentationNetwork
        That the function calls.
    tile_size : int
        Longest side of the part of a tile that is used.

    Returns
    -------
    maps : Tensor of shape (batch, ..., height, width)
    """
    height, width = images.shape[-2:]
    whole = network.continued(images)
    rows, columns = (list(_spans(s, tile_size, network)) for s in whole.shape[-2:])
    if len(rows) == len(columns) == 1:
        return function(images)
    joined = None
    for row in rows:
        for column in columns:
            found = function(whole[..., row.seen, column.seen])
            if joined is None:
                joined = found.new_empty(*found.shape[:-2], *whole.shape[-2:])
            joined[..., row.wanted, column.wanted] = found[
                ..., row.inside, column.inside
            ]
    assert joined is not None
    return joined[..., :height, :width]


def _spans(side: int, tile_size: int, network: SegmentationNetwork) -> Iterator[_Span]:
    """Yield the parts of a side, at places where the network's strides begin."""
    context = -(-network.context // network.multiple) * network.multiple
    if side <= tile_size + 2 * context:
        yield _Span(slice(0, side), slice(0, side))
        return
    step = -(-tile_size // network.multiple) * network.multiple
    for start in range(0, side, step):
        stop = min(start + step, side)
        seen = slice(max(start - context, 0), min(stop + context, side))
        yield _Span(slice(start, stop), seen)
