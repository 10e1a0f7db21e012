"""EM routing, as a module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, Windows, em_convolution, em_routing
from skcaps.nn.routing._activation import ActivationRouting

# Of a parent that no child votes for: an activation of 0.1.
_LOGIT_AT_START = -math.log(9)
# Factor of the mean cost. Larger ones learn the training images faster, and are right
# for fewer others.
_SHARPNESS = 5.0


class EMRouting(ActivationRouting):
    """Routing by expectation maximization; see `skcaps.functional.em_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `ActivationRouting`.

    Attributes
    ----------
    beta_a, beta_u : Parameter of shape (out_caps,)
        The logit of a parent without votes, the paper's number times its last
        temperature, -ln 9 at first, for an activation of 0.1; and what each number of
        a vote costs, 0 at first.
    inverse_temperature : float
        The paper's lambda. Its cost is a sum over the dimensions and over a parent's
        share of the children; here the mean of it counts, so that the same learning
        rate fits layers of any size.

    Raises
    ------
    ValueError
        If a bias is asked for.

    References
    ----------
    Hinton, Sabour, Frosst (2018), procedure 1. The schedule of lambda is that of the
    released code.

    Examples
    --------
    >>> from skcaps.nn import EMRouting
    >>> sum(p.numel() for p in EMRouting(16, 8, 10, 16).parameters())
    20
    """

    # Votes of a child for all parents are one product.
    weight_order = (0, 1, 2, 3)
    averages_votes = True

    def __init__(
        self, in_caps: int, in_dim: int, out_caps: int, out_dim: int, **options: Any
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        self.beta_a = nn.Parameter(torch.full((out_caps,), _LOGIT_AT_START))
        self.beta_u = nn.Parameter(torch.zeros(out_caps))
        self.inverse_temperature = _SHARPNESS * out_caps / (in_caps * out_dim)

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations."""
        last = self.inverse_temperature * (1 - 0.95**self.iterations)
        return em_routing(
            poses,
            weight,
            activations=self.presence(poses, activations),
            beta_a=self.beta_a / last,
            beta_u=self.beta_u,
            iterations=self.iterations,
            inverse_temperature=self.inverse_temperature,
        )

    def convolve(
        self,
        poses: Tensor,
        weight: Tensor,
        windows: Windows,
        activations: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Routed:
        """Route with the parents at all windows in competition for each child."""
        rows, columns = windows.grid(*poses.shape[3:])
        _, out_caps, dim_in, dim_out = weight.shape
        # Of the whole map: all numbers of the children's votes for one parent.
        n_numbers = poses[0].numel() // dim_in * dim_out
        temperature = _SHARPNESS * out_caps * rows * columns / n_numbers
        last = temperature * (1 - 0.95**self.iterations)
        return em_convolution(
            poses,
            weight,
            windows,
            activations=self.presence_on_map(poses, activations),
            beta_a=self.beta_a / last,
            beta_u=self.beta_u,
            offset=offset,
            iterations=self.iterations,
            inverse_temperature=temperature,
        )
