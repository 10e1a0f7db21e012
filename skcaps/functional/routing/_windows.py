"""Which capsules of a map each position of a convolution sees."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import fold, pad, unfold

from skcaps.functional.routing._shares import LogSoftmax, over_parents


class Windows(NamedTuple):
    """The windows of a convolution over capsules on a map.

    Attributes
    ----------
    kernel : tuple of int
        Rows and columns of a window.
    stride : tuple of int, default=(1, 1)
        Between two windows.
    padding : tuple of int, default=(0, 0)
        Rows and columns of capsules that are not there, on each side of the map.

    Notes
    -----
    The children of a window are in the order row, column, type.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import Windows
    >>> windows = Windows((3, 3), stride=(2, 2))
    >>> windows.grid(7, 9)
    (3, 4)
    >>> windows.unfold(torch.rand(2, 4, 7, 9)).shape
    torch.Size([2, 3, 4, 36])
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows a map has.

        Parameters
        ----------
        height, width : int
            Of the map.

        Returns
        -------
        rows, columns : int
            Of windows.

        Raises
        ------
        ValueError
            If a window is larger than the map and its padding.
        """
        rows, columns = (
            (side + 2 * extra - size) // step + 1
            for side, size, step, extra in zip((height, width), *self, strict=True)
        )
        if min(rows, columns) < 1:
            raise ValueError(
                f"A map of {height}x{width} capsules has no window of {self.kernel} "
                f"with padding={self.padding}; take a smaller kernel."
            )
        return rows, columns

    def unfold(self, maps: Tensor) -> Tensor:
        """Return the children that each window sees.

        Parameters
        ----------
        maps : Tensor of shape (batch, types, height, width) or \
                (batch, types, dim, height, width)
            What each capsule has.

        Returns
        -------
        Tensor of shape (batch, rows, columns, caps_in) or (batch, rows, columns, \
                caps_in, dim)
            Zeros where there is padding.
        """
        self.grid(*maps.shape[-2:])
        last = maps.movedim((-2, -1), (1, 2))
        rows, columns = self.padding
        around = (0, 0) * (last.ndim - 3) + (columns, columns, rows, rows)
        views = pad(last, around) if rows or columns else last
        for axis in (0, 1):
            views = views.unfold(1 + axis, self.kernel[axis], self.stride[axis])
        return views.movedim((-2, -1), (3, 4)).flatten(3, 5)

    def competition(self, types: int, height: int, width: int) -> LogSoftmax:
        """Return the softmax of each child over the parents at all windows.

        Parameters
        ----------
        types, height, width : int
            Of the map of children.

        Returns
        -------
        log_softmax : callable
            Maps logits (batch, rows, columns, caps_in, caps_out) to logarithms of
            couplings, which sum to 1 over all parents of a child, at every window that
            sees it. -inf where there is padding.
        """
        if self.grid(height, width) == (1, 1) and self.padding == (0, 0):
            return over_parents
        shape = tuple(
            side + 2 * extra
            for side, extra in zip((height, width), self.padding, strict=True)
        )
        whole = self._replace(padding=(0, 0))
        n_children = types * shape[0] * shape[1]
        numbers = whole.unfold(torch.arange(n_children).view(1, types, *shape))
        absent = None
        if self.padding != (0, 0):
            absent = self.unfold(torch.ones(1, types, height, width)) == 0

        def log_softmax(logits: Tensor) -> Tensor:
            # Each child's own highest logit: others may be hundreds above it.
            best = logits.detach().amax(dim=-1)
            places = numbers.to(best.device).expand_as(best).flatten(1)
            highest = best.new_full((best.shape[0], n_children), -torch.inf)
            highest.scatter_reduce_(1, places, best.flatten(1), "amax")
            highest = highest.gather(1, places).view_as(best)
            powers = (logits - highest.unsqueeze(-1)).exp().sum(dim=-1)
            totals = whole._spread(whole._add_up(powers, types, shape))
            found = logits - (highest + totals.log()).unsqueeze(-1)
            if absent is None:
                return found
            missing = absent.to(found.device).unsqueeze(-1)
            return torch.where(missing, -torch.inf, found)

        return log_softmax

    def _spread(self, maps: Tensor) -> Tensor:
        """Give every window what its children have, (batch, rows, columns, caps)."""
        rows, columns = self.grid(*maps.shape[-2:])
        found = unfold(maps, self.kernel, stride=self.stride)
        found = found.unflatten(1, (maps.shape[1], -1)).transpose(1, 2).flatten(1, 2)
        spread: Tensor = found.mT.unflatten(1, (rows, columns))
        return spread

    def _add_up(self, values: Tensor, types: int, shape: tuple[int, ...]) -> Tensor:
        """Sum over the windows that see a child, (batch, types, height, width)."""
        flat = values.flatten(1, 2).mT.unflatten(1, (-1, types))
        flat = flat.transpose(1, 2).flatten(1, 2)
        summed: Tensor = fold(flat, shape, self.kernel, stride=self.stride)
        return summed
