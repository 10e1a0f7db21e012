"""Self-attention routing, as a module."""

from __future__ import annotations

from torch import Tensor

from skcaps.functional import SQUASHES, Routed, self_attention_routing
from skcaps.nn.routing._prior import RoutingWithPrior


class SelfAttentionRouting(RoutingWithPrior):
    """Routing in one pass; see `skcaps.functional.self_attention_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim : int
        As for `Routing`.
    **options
        As for `Routing`; there are no iterations.

    Attributes
    ----------
    prior : Parameter of shape (in_caps, out_caps)
        Added to the coupling, 0 at first.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), section 3.2.

    Examples
    --------
    >>> from skcaps.nn import SelfAttentionRouting
    >>> SelfAttentionRouting(16, 8, 10, 16).prior.shape
    torch.Size([16, 10])
    """

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route by the agreement of all votes."""
        return self_attention_routing(
            poses,
            weight,
            prior=self.prior,
            bias=self.bias,
            squash=SQUASHES[self.squash],
        )
