"""Couplings that are trained, as a module."""

from __future__ import annotations

from torch import Tensor

from skcaps.functional import SQUASHES, Routed, learned_routing
from skcaps.nn.routing._prior import RoutingWithPrior


class LearnedRouting(RoutingWithPrior):
    """One coupling for all images; see `skcaps.functional.learned_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `Routing`; there are no iterations.

    Attributes
    ----------
    prior : Parameter of shape (in_caps, out_caps)
        Logits of the coupling, 0 at first.

    References
    ----------
    Sabour, Frosst, Hinton (2017), equation 3.

    Examples
    --------
    >>> from skcaps.nn import LearnedRouting
    >>> LearnedRouting(16, 8, 10, 16).prior.shape
    torch.Size([16, 10])
    """

    decides_alone = True

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route by the learned shares."""
        return learned_routing(
            poses,
            weight,
            prior=self.prior,
            bias=self.bias,
            squash=SQUASHES[self.squash],
        )
