"""Inverted attention, as a module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, inverted_attention_routing
from skcaps.nn.routing._activation import ActivationRouting


class InvertedAttentionRouting(ActivationRouting):
    """Parents compete for each child; see `inverted_attention_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `ActivationRouting`.

    Attributes
    ----------
    norm_weight, norm_bias : Parameter of shape (out_dim,)
        Of the layer normalization, which takes the squash's place; 1 and 0 at first.
    score_weight, score_bias : Parameter of shape (out_dim,) and ()
        Make an activation of a pose, in the same way for all parents; drawn within
        ``1 / sqrt(out_dim)`` of zero, and 0, at first.

    Raises
    ------
    ValueError
        If a bias is asked for, or `out_dim` is below 2.

    References
    ----------
    Tsai, Srivastava, Goh, Salakhutdinov (2020), algorithm 1.

    Examples
    --------
    >>> from skcaps.nn import InvertedAttentionRouting
    >>> module = InvertedAttentionRouting(16, 8, 10, 16)
    >>> sum(p.numel() for p in module.parameters())
    49
    """

    # Shorter votes say nothing to their parents, whose length is normalized.
    start_length = 1.0

    def __init__(
        self, in_caps: int, in_dim: int, out_caps: int, out_dim: int, **options: Any
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        if out_dim < 2:
            raise ValueError(
                "Inverted attention normalizes the numbers of a pose, which must be at "
                f"least 2, got {out_dim}; raise pose_dim."
            )
        self.norm_weight = nn.Parameter(torch.ones(out_dim))
        self.norm_bias = nn.Parameter(torch.zeros(out_dim))
        limit = 1 / math.sqrt(out_dim)
        self.score_weight = nn.Parameter(torch.empty(out_dim).uniform_(-limit, limit))
        self.score_bias = nn.Parameter(torch.zeros(()))

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations; activations of the children have no part in it."""
        return inverted_attention_routing(
            poses,
            weight,
            iterations=self.iterations,
            norm_weight=self.norm_weight,
            norm_bias=self.norm_bias,
            score_weight=self.score_weight,
            score_bias=self.score_bias,
        )
