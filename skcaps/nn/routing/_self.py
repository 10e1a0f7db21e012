"""Self-routing, as a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, self_routing
from skcaps.nn.routing._activation import ActivationRouting


class SelfRouting(ActivationRouting):
    """Routing by each child's own pose; see `skcaps.functional.self_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `ActivationRouting`. There are no iterations.

    Attributes
    ----------
    weight_route : Parameter of shape (in_caps, in_dim, out_caps)
        Makes logits of a child's pose. 0 at first, so that couplings begin uniform.
    bias_route : Parameter of shape (in_caps, out_caps)
        Added to the logits, 0 at first.

    Raises
    ------
    ValueError
        If a bias is asked for.

    References
    ----------
    Hahn, Pyeon, Kim (2019), section 3.

    Examples
    --------
    >>> from skcaps.nn import SelfRouting
    >>> SelfRouting(16, 8, 10, 16).weight_route.shape
    torch.Size([16, 8, 10])
    """

    shares_presence = True
    averages_votes = True
    decides_alone = True

    def __init__(
        self, in_caps: int, in_dim: int, out_caps: int, out_dim: int, **options: Any
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        self.weight_route = nn.Parameter(torch.zeros(in_caps, in_dim, out_caps))
        self.bias_route = nn.Parameter(torch.zeros(in_caps, out_caps))

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route by the trained choice of each child."""
        return self_routing(
            poses,
            weight,
            activations=self.presence(poses, activations),
            weight_route=self.weight_route,
            bias_route=self.bias_route,
        )
