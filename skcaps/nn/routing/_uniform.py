"""The same share for every parent, as a module."""

from __future__ import annotations

from torch import Tensor

from skcaps.functional import SQUASHES, Routed, uniform_routing
from skcaps.nn.routing._routing import Routing


class UniformRouting(Routing):
    """The same share for every parent; see `skcaps.functional.uniform_routing`.

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
    Sabour, Frosst, Hinton (2017), procedure 1 with r = 1.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import UniformRouting
    >>> routed = UniformRouting(6, 4, 2, 5)(torch.ones(2, 6, 4), torch.ones(6, 2, 4, 5))
    >>> routed.coupling.unique()
    tensor([0.5000])
    """

    decides_alone = True

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route evenly."""
        return uniform_routing(
            poses, weight, bias=self.bias, squash=SQUASHES[self.squash]
        )
