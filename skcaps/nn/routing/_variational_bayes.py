"""Variational Bayes routing, as a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import (
    Routed,
    Windows,
    variational_bayes_convolution,
    variational_bayes_routing,
)
from skcaps.nn.routing._activation import ActivationRouting


class VariationalBayesRouting(ActivationRouting):
    """Routing by variational Bayes; see `variational_bayes_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `ActivationRouting`.

    Attributes
    ----------
    beta_a, beta_u : Parameter of shape (out_caps,)
        Added to, and subtracted from, the normalized score of a parent; -1 and 0 at
        first.
    norm : BatchNorm1d
        Normalizes the scores over the images and the parents of a batch in training,
        and by its running statistics in evaluation. Sample weights have no part in it.

    Raises
    ------
    ValueError
        If a bias is asked for.

    Notes
    -----
    As in the paper, the normalization has no factor of its own. There poses are
    normalized too, and betas are added before the normalization, where a single number
    for all parents would have no effect.

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
        self, in_caps: int, in_dim: int, out_caps: int, out_dim: int, **options: Any
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        self.beta_a = nn.Parameter(torch.full((out_caps,), -1.0))
        self.beta_u = nn.Parameter(torch.zeros(out_caps))
        # One channel: the parents are compared with each other.
        self.norm = nn.BatchNorm1d(1, affine=False)

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations."""
        none = torch.zeros_like(self.beta_a)
        return variational_bayes_routing(
            poses,
            weight,
            activations=self.presence(poses, activations),
            beta_a=none,
            beta_u=none,
            iterations=self.iterations,
            score_normalization=self._normalize,
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
        none = torch.zeros_like(self.beta_a)
        return variational_bayes_convolution(
            poses,
            weight,
            windows,
            activations=self.presence_on_map(poses, activations),
            beta_a=none,
            beta_u=none,
            offset=offset,
            iterations=self.iterations,
            score_normalization=self._normalize,
        )

    def _normalize(self, scores: Tensor) -> Tensor:
        # A module in bfloat16 has its statistics in that, while scores are precise.
        flat: Tensor = self.norm(scores.flatten().unsqueeze(1).to(self.beta_a.dtype))
        return flat.to(scores.dtype).view(scores.shape) + self.beta_a - self.beta_u
