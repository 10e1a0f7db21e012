"""From capsules to capsules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional import ROUTINGS, SQUASHES, Routed
from skcaps.nn._checks import check_option
from skcaps.nn._initialization import truncated_normal_


class CapsuleLayer(nn.Module):
    """A layer of capsules, routed from the layer below.

    Parameters
    ----------
    in_caps, in_dim : int
        Number and dimension of the capsules below.
    out_caps, out_dim : int
        Number and dimension of this layer's capsules.
    routing : {"dynamic", "self_attention", "uniform", "learned"}, default="dynamic"
        How the capsules below are assigned to those of this layer.
    iterations : int, default=3
        Iterations of dynamic routing; the other routings have none.
    squash : {"squash", "squash_exp"}, default="squash"
        What shortens the vectors to a length below 1.
    bias : bool, default=False
        Add a trained vector to each capsule before the squash, in every iteration, as
        the released code of CapsNet does and its paper does not.
    weight_std : float, default=0.1
        Deviation of the initial weights, a normal cut at two deviations.

    Attributes
    ----------
    weight : Parameter of shape (in_caps, out_caps, in_dim, out_dim)
        Transformation matrices W_ij.
    prior : Parameter of shape (in_caps, out_caps) or None
        What self-attention adds to the coupling, or the learned routing's logits.
    bias : Parameter of shape (out_caps, out_dim) or None
        The routing bias.

    Raises
    ------
    ValueError
        If `routing` or `squash` is unknown.

    Notes
    -----
    Shapes: ``(batch, in_caps, in_dim)`` to a `Routed` pair of ``(batch, out_caps,
    out_dim)`` poses and ``(batch, in_caps, out_caps)`` coupling.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 2; Mazzia, Salvetti, Chiaberge (2021),
    section 3.2.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import CapsuleLayer
    >>> poses, coupling = CapsuleLayer(1152, 8, 10, 16)(torch.rand(2, 1152, 8))
    >>> poses.shape, coupling.shape
    (torch.Size([2, 10, 16]), torch.Size([2, 1152, 10]))
    """

    def __init__(
        self,
        in_caps: int,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        routing: str = "dynamic",
        iterations: int = 3,
        squash: str = "squash",
        bias: bool = False,
        weight_std: float = 0.1,
    ) -> None:
        super().__init__()
        check_option("routing", routing, ROUTINGS)
        check_option("squash", squash, SQUASHES)
        self.in_caps, self.in_dim = in_caps, in_dim
        self.out_caps, self.out_dim = out_caps, out_dim
        self.routing, self.squash, self.iterations = routing, squash, iterations
        self.weight = nn.Parameter(torch.empty(in_caps, out_caps, in_dim, out_dim))
        truncated_normal_(self.weight, weight_std)
        has_prior = ROUTINGS[routing].has_prior
        self.prior = nn.Parameter(torch.zeros(in_caps, out_caps)) if has_prior else None
        self.bias = nn.Parameter(torch.full((out_caps, out_dim), 0.1)) if bias else None

    def forward(self, poses: Tensor) -> Routed:
        """Route poses of shape ``(batch, in_caps, in_dim)``."""
        routing = ROUTINGS[self.routing]
        options = {"iterations": self.iterations} if routing.is_iterative else {}
        priors = (self.prior,) if routing.has_prior else ()
        return routing.function(
            poses,
            self.weight,
            *priors,
            bias=self.bias,
            squash=SQUASHES[self.squash],
            **options,
        )

    def extra_repr(self) -> str:
        """Say what goes in and out."""
        return (
            f"{self.in_caps} x {self.in_dim} -> {self.out_caps} x {self.out_dim}, "
            f"routing={self.routing!r}"
        )
