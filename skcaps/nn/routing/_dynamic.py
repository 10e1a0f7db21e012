"""Routing by agreement, as a module."""

from __future__ import annotations

from torch import Tensor

from skcaps.functional import SQUASHES, Routed, dynamic_routing
from skcaps.nn.routing._routing import Routing


class DynamicRouting(Routing):
    """Routing by agreement; see `skcaps.functional.dynamic_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        As for `Routing`.
    bias : bool
        As for `Routing`.

    References
    ----------
    Sabour, Frosst, Hinton (2017), procedure 1.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import DynamicRouting
    >>> routed = DynamicRouting(6, 4, 3, 5)(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape
    torch.Size([2, 3, 5])
    """

    # A product with all matrices of a child needs no copy of them.
    weight_order = (0, 2, 1, 3)

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations."""
        return dynamic_routing(
            poses,
            weight,
            bias=self.bias,
            iterations=self.iterations,
            leaky=self.leaky,
            squash=SQUASHES[self.squash],
        )
