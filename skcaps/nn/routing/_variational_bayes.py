"""Variational Bayes routing, as a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, variational_bayes_routing
from skcaps.nn.routing._activation import ActivationRouting


class VariationalBayesRouting(ActivationRouting):
    """Routing by variational Bayes; see `variational_bayes_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        Unused: the length of a pose says nothing.
    bias : bool
        Only False.

    Attributes
    ----------
    beta_a, beta_u : Parameter of shape (out_caps,)
        Added to, and subtracted from, what activates a parent; 0 at first.

    Raises
    ------
    ValueError
        If a bias is asked for.

    Notes
    -----
    The paper normalizes poses and scores over the batch; here no image depends on the
    others, and neither is normalized.

    References
    ----------
    Ribeiro, Leontidis, Kollias (2020), algorithm 1.

    Examples
    --------
    >>> from skcaps.nn import VariationalBayesRouting
    >>> sum(p.numel() for p in VariationalBayesRouting(16, 8, 10, 16).parameters())
    20
    """

    # Votes of a child for all parents are one product.
    weight_order = (0, 1, 2, 3)

    def __init__(
        self,
        in_caps: int,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        iterations: int = 3,
        squash: str = "squash",
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_caps,
            in_dim,
            out_caps,
            out_dim,
            iterations=iterations,
            squash=squash,
            bias=bias,
        )
        self.beta_a = nn.Parameter(torch.zeros(out_caps))
        self.beta_u = nn.Parameter(torch.zeros(out_caps))

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations."""
        return variational_bayes_routing(
            poses,
            weight,
            activations=self.presence(poses, activations),
            beta_a=self.beta_a,
            beta_u=self.beta_u,
            iterations=self.iterations,
        )
