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
from skcaps.nn._checks import check_option
from skcaps.nn._norm import BatchNorm
from skcaps.nn.routing._activation import ActivationRouting

# PyTorch's. Means of short votes vary less than an image's features do.
_EPS = 1e-5


class VariationalBayesRouting(ActivationRouting):
    """Routing by variational Bayes; see `variational_bayes_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    pose_norm : "batch" or None, default=None
        Batch normalization of the poses of each parent, or in a convolution of each
        type: all their numbers have one mean and one variance.
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
    pose_norm : BatchNorm or None
        Normalizes the poses. Sample weights have no part in it.

    Raises
    ------
    ValueError
        If a bias is asked for, or `pose_norm` is unknown.

    Notes
    -----
    As in the paper, the normalizations have no factor of their own. There the scores of
    each parent are normalized apart from the others', and betas are added before the
    normalization, where a single number for all parents would have no effect.

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
        pose_norm: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        self.beta_a = nn.Parameter(torch.full((out_caps,), -1.0))
        self.beta_u = nn.Parameter(torch.zeros(out_caps))
        # One channel: the parents are compared with each other.
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.pose_norm = None
        if pose_norm is not None:
            check_option("pose_norm", pose_norm, ("batch",))
            self.pose_norm = BatchNorm(out_caps, affine=False, eps=_EPS)

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route in some iterations."""
        present = self.presence(poses, activations)
        # Scores of trained parents lie within hundredths of each other, by which they
        # are divided: what float32 rounds away would be seen in the probabilities.
        dtype = poses.dtype if self.training else torch.float64
        none = torch.zeros_like(self.beta_a, dtype=dtype)
        found, coupling, active = variational_bayes_routing(
            poses.to(dtype),
            weight.to(dtype),
            activations=present.to(dtype),
            beta_a=none,
            beta_u=none,
            iterations=self.iterations,
            pose_normalization=self._normalize_poses,
            score_normalization=self._normalize_scores,
        )
        assert active is not None
        own = poses.dtype
        return Routed(found.to(own), coupling.to(own), active.to(own))

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
            pose_normalization=self._normalize_poses,
            score_normalization=self._normalize_scores,
        )

    # A module in bfloat16 has its statistics in that; poses and scores are precise.
    def _normalize_poses(self, poses: Tensor) -> Tensor:
        if self.pose_norm is None:
            return poses
        types = poses.flatten(0, -3).unsqueeze(3).to(self.beta_a.dtype)
        normal: Tensor = self.pose_norm(types)
        return normal.to(poses.dtype).view(poses.shape)

    def _normalize_scores(self, scores: Tensor) -> Tensor:
        flat = scores.flatten().unsqueeze(1)
        if self.training:
            flat = self.norm(flat.to(self.beta_a.dtype))
        else:
            mean, var = self.norm.running_mean, self.norm.running_var
            assert mean is not None
            assert var is not None
            flat = (flat - mean) * torch.rsqrt(var.to(flat.dtype) + self.norm.eps)
        return flat.to(scores.dtype).view(scores.shape) + self.beta_a - self.beta_u
