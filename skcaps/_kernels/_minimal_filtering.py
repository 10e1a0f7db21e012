"""Filters with the fewest products.

Neighbouring outputs of a filter share inputs: some of them, each a sum over `n_taps`,
take ``n_outputs + n_taps - 1`` products instead of ``n_outputs * n_taps``,

    outputs = O [(K taps) * (I inputs)].

After Toom and Cook, `K` gives the values of a polynomial at some points, `I` is the
inverse of a Vandermonde matrix and `O` is a Vandermonde matrix.

References: Winograd (1980), "Arithmetic complexity of computations", chapter V. Lavin,
Gray (2016), "Fast algorithms for convolutional neural networks", arXiv:1509.09308,
section 4.
"""

from __future__ import annotations

import functools
from typing import Generic, NamedTuple, TypeVar

import numpy as np

# Small and of both signs, which keeps rounding small; the last point is infinity.
_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5, 0.5, -2.0)


_Matrix = TypeVar("_Matrix")


class Filter(NamedTuple, Generic[_Matrix]):
    """The three matrices.

    Attributes
    ----------
    of_inputs : ndarray or Tensor of shape (n_products, n_products)
    of_taps : ndarray or Tensor of shape (n_products, n_taps)
    of_outputs : ndarray or Tensor of shape (n_outputs, n_products)
    """

    of_inputs: _Matrix
    of_taps: _Matrix
    of_outputs: _Matrix


@functools.lru_cache
def minimal_filter(n_outputs: int, n_taps: int) -> Filter[np.ndarray]:
    """Make the matrices; several outputs take at most as many products as points."""
    n_products = n_outputs + n_taps - 1
    if n_outputs == 1:
        return Filter(np.eye(n_taps), np.eye(n_taps), np.ones((1, n_taps)))
    of_inputs = np.linalg.inv(_vandermonde(n_products, n_products)).T
    of_taps = _vandermonde(n_products, n_taps)
    # Rows of inputs and taps get about one size; powers of two round nothing.
    ratio = np.linalg.norm(of_inputs, axis=1) / np.linalg.norm(of_taps, axis=1)
    scale = 2 ** np.round(np.log2(ratio) / 2)[:, None]
    of_outputs = _vandermonde(n_products, n_outputs).T
    return Filter(of_inputs / scale, of_taps * scale, of_outputs)


def _vandermonde(n_points: int, n_columns: int) -> np.ndarray:
    """Return the powers of the points; at infinity only the highest counts."""
    powers = np.zeros((n_points, n_columns))
    powers[:-1] = np.vander(_POINTS[: n_points - 1], n_columns, increasing=True)
    powers[-1, -1] = 1.0
    return powers


class Tiling(NamedTuple):
    """How one side of a feature map is cut into tiles.

    A stride makes phases of the taps, each a filter of its own: 9 taps of stride 2 are
    one filter of 5 and one of 4.

    Attributes
    ----------
    n_outputs : int
        Along the side.
    n_taps : int
        Of the kernel along the side.
    stride : int
    step : int
        Outputs of a tile; the last one may reach over the end.
    """

    n_outputs: int
    n_taps: int
    stride: int
    step: int

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n_outputs // self.step)

    @property
    def n_covered(self) -> int:
        """Number of outputs of all tiles."""
        return self.n_tiles * self.step

    @property
    def taps_of_phases(self) -> tuple[int, ...]:
        """Number of taps of each phase."""
        starts = range(min(self.stride, self.n_taps))
        return tuple(len(range(start, self.n_taps, self.stride)) for start in starts)

    def n_inputs(self, phase: int) -> int:
        """Return the number of pixels that the tiles read in a phase."""
        return self.n_covered + self.taps_of_phases[phase] - 1

    @property
    def gain(self) -> float:
        """Products of plain sums for each one that is taken."""
        of_tile = sum(self.step + n_taps - 1 for n_taps in self.taps_of_phases)
        return self.n_outputs * self.n_taps / (self.n_tiles * of_tile)


@functools.lru_cache
def tile_side(n_pixels: int, n_taps: int, stride: int) -> Tiling:
    """Find the tiles that take the fewest products."""
    n_outputs = (n_pixels - n_taps) // stride + 1
    tiling = Tiling(n_outputs, n_taps, stride, step=1)
    longest = len(_POINTS) + 2 - tiling.taps_of_phases[0]
    tilings = [tiling._replace(step=step) for step in range(2, longest + 1)]
    return max([tiling, *tilings], key=lambda tiling: tiling.gain)
