"""Routings with their own parameters: one thin module for each function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional import (
    SQUASHES,
    Routed,
    dynamic_routing,
    learned_routing,
    self_attention_routing,
    uniform_routing,
)
from skcaps.nn._checks import check_option


class Routing(nn.Module):
    """What a capsule layer calls with poses and transformation matrices.

    A routing of your own is a subclass with `forward`, and with whatever parameters it
    trains; `skcaps.testing.check_routing` runs the laws of routing on it.

    Parameters
    ----------
    in_caps : int
        Number of capsules below.
    out_caps, out_dim : int
        Number and dimension of the capsules above.
    iterations : int, default=3
        Iterations of a routing that has some; others do without.
    squash : {"squash", "squash_exp"}, default="squash"
        What shortens the vectors to a length below 1.
    bias : bool, default=False
        Add a trained vector to each capsule before the squash, as the released code of
        CapsNet does and its paper does not.

    Attributes
    ----------
    bias : Parameter of shape (out_caps, out_dim) or None
        The routing bias.
    weight_order : tuple of int
        The weight's axes as they should follow each other in memory, here all matrices
        of a parent together.

    Raises
    ------
    ValueError
        If `squash` is unknown.

    Notes
    -----
    Shapes: poses ``(batch, in_caps, in_dim)`` and a weight ``(in_caps, out_caps,
    in_dim, out_dim)`` to a `Routed` pair of ``(batch, out_caps, out_dim)`` poses and
    ``(batch, in_caps, out_caps)`` coupling.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import Routed, votes
    >>> from skcaps.nn import Routing
    >>> from skcaps.testing import check_routing
    >>> class Loudest(Routing):
    ...     def forward(self, poses, weight):
    ...         heard = votes(poses, weight)
    ...         coupling = heard.square().sum(dim=3).softmax(dim=2)
    ...         total = (coupling.unsqueeze(3) * heard).sum(dim=1)
    ...         return Routed(self.shorten(total), coupling)
    >>> check_routing(Loudest)
    """

    weight_order: tuple[int, int, int, int] = (1, 0, 2, 3)

    def __init__(
        self,
        in_caps: int,
        out_caps: int,
        out_dim: int,
        *,
        iterations: int = 3,
        squash: str = "squash",
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_option("squash", squash, SQUASHES)
        self.iterations, self.squash = iterations, squash
        self.bias = nn.Parameter(torch.full((out_caps, out_dim), 0.1)) if bias else None

    def forward(self, poses: Tensor, weight: Tensor) -> Routed:
        """Route poses by the votes that the weight makes of them."""
        raise NotImplementedError(f"{type(self).__name__} must define forward.")

    def shorten(self, poses: Tensor) -> Tensor:
        """Squash vectors of shape ``(..., out_dim)``."""
        return SQUASHES[self.squash](poses)


class DynamicRouting(Routing):
    """Routing by agreement; see `skcaps.functional.dynamic_routing`.

    Parameters
    ----------
    in_caps, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        As for `Routing`.
    bias : bool
        As for `Routing`.

    References
    ----------
    Sabour, Frosst, Hinton (2017), procedure 1.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import DynamicRouting
    >>> routed = DynamicRouting(6, 3, 5)(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape
    torch.Size([2, 3, 5])
    """

    # A product with all matrices of a child needs no copy of them.
    weight_order = (0, 2, 1, 3)

    def forward(self, poses: Tensor, weight: Tensor) -> Routed:
        """Route in some iterations."""
        return dynamic_routing(
            poses,
            weight,
            bias=self.bias,
            iterations=self.iterations,
            squash=SQUASHES[self.squash],
        )


class _RoutingWithPrior(Routing):
    """One number more for each pair of a child and a parent."""

    def __init__(
        self,
        in_caps: int,
        out_caps: int,
        out_dim: int,
        *,
        iterations: int = 3,
        squash: str = "squash",
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_caps, out_caps, out_dim, iterations=iterations, squash=squash, bias=bias
        )
        self.prior = nn.Parameter(torch.zeros(in_caps, out_caps))


class SelfAttentionRouting(_RoutingWithPrior):
    """Routing in one pass; see `skcaps.functional.self_attention_routing`.

    Parameters
    ----------
    in_caps, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        As for `Routing`.
    bias : bool
        As for `Routing`.

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
    >>> SelfAttentionRouting(16, 10, 16).prior.shape
    torch.Size([16, 10])
    """

    def forward(self, poses: Tensor, weight: Tensor) -> Routed:
        """Route by the agreement of all votes."""
        return self_attention_routing(
            poses,
            weight,
            prior=self.prior,
            bias=self.bias,
            squash=SQUASHES[self.squash],
        )


class UniformRouting(Routing):
    """The same share for every parent; see `skcaps.functional.uniform_routing`.

    Parameters
    ----------
    in_caps, out_caps, out_dim, iterations : int
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
    >>> routed = UniformRouting(6, 2, 5)(torch.ones(2, 6, 4), torch.ones(6, 2, 4, 5))
    >>> routed.coupling.unique()
    tensor([0.5000])
    """

    def forward(self, poses: Tensor, weight: Tensor) -> Routed:
        """Route evenly."""
        return uniform_routing(
            poses, weight, bias=self.bias, squash=SQUASHES[self.squash]
        )


class LearnedRouting(_RoutingWithPrior):
    """One coupling for all images; see `skcaps.functional.learned_routing`.

    Parameters
    ----------
    in_caps, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        As for `Routing`.
    bias : bool
        As for `Routing`.

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
    >>> LearnedRouting(16, 10, 16).prior.shape
    torch.Size([16, 10])
    """

    def forward(self, poses: Tensor, weight: Tensor) -> Routed:
        """Route by the learned shares."""
        return learned_routing(
            poses,
            weight,
            prior=self.prior,
            bias=self.bias,
            squash=SQUASHES[self.squash],
        )


ROUTINGS: dict[str, type[Routing]] = {
    "dynamic": DynamicRouting,
    "self_attention": SelfAttentionRouting,
    "uniform": UniformRouting,
    "learned": LearnedRouting,
}
