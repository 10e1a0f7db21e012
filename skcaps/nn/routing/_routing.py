"""What all routings share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skcaps.functional import SQUASHES, Routed, Windows, lengths
from skcaps.functional._votes import as_vectors
from skcaps.functional.routing._convolution import check_map, on_map
from skcaps.nn._checks import check_option


class Routing(nn.Module):
    """What a capsule layer calls with poses and transformation matrices.

    A routing of your own is a subclass with `forward`, and with whatever parameters it
    trains; `skcaps.testing.check_routing` runs the laws of routing on it.

    Parameters
    ----------
    in_caps, in_dim : int
        Number and dimension of the capsules below.
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
    leaky : bool
        Whether the couplings of a child may sum to less than 1. False by default.
    shares_presence : bool
        Whether activations sum to 1, so that only one of them is above 0.5. False by
        default.
    averages_votes : bool
        Whether a pose is a mean of votes, so that it moves as far as all votes for it
        are moved, while nothing else changes. False by default.
    decides_alone : bool
        Whether the couplings of a child depend on nothing but its own pose. False by
        default.

    Raises
    ------
    ValueError
        If `squash` is unknown.

    Notes
    -----
    Shapes: poses ``(batch, in_caps, in_dim)``, a weight ``(in_caps, out_caps, in_dim,
    out_dim)`` and activations ``(batch, in_caps)`` to a `Routed`: poses ``(batch,
    out_caps, out_dim)``, coupling ``(batch, in_caps, out_caps)`` and activations
    ``(batch, out_caps)``. A routing that leaves the activations open has the lengths of
    its poses as such. A weight that all children share has a first axis of 1.

    The last four attributes are promises that `skcaps.testing.check_routing` reads.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import Routed, votes
    >>> from skcaps.nn import Routing
    >>> from skcaps.testing import check_routing
    >>> class Loudest(Routing):
    ...     def forward(self, poses, weight, activations=None):
    ...         heard = votes(poses, weight)
    ...         coupling = heard.square().sum(dim=3).softmax(dim=2)
    ...         total = (coupling.unsqueeze(3) * heard).sum(dim=1)
    ...         return Routed(self.shorten(total), coupling)
    >>> check_routing(Loudest)
    """

    weight_order: tuple[int, int, int, int] = (1, 0, 2, 3)
    leaky = False
    shares_presence = False
    averages_votes = False
    decides_alone = False

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
        super().__init__()
        check_option("squash", squash, SQUASHES)
        self.iterations, self.squash = iterations, squash
        self.bias = nn.Parameter(torch.full((out_caps, out_dim), 0.1)) if bias else None

    def forward(
        self, poses: Tensor, weight: Tensor, activations: Tensor | None = None
    ) -> Routed:
        """Route poses by the votes that the weight makes of them.

        Without activations, the lengths of the poses say how present they are.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward.")

    def convolve(
        self,
        poses: Tensor,
        weight: Tensor,
        windows: Windows,
        activations: Tensor | None = None,
    ) -> Routed:
        """Route the capsules that each window of a map sees, every one by itself.

        Parameters
        ----------
        poses : Tensor of shape (batch, types_in, in_dim, height, width)
        weight : Tensor of shape (in_caps, out_caps, dim, columns)
            Of poses that are matrices with rows of `dim` numbers.
        windows : Windows
        activations : Tensor of shape (batch, types_in, height, width), optional

        Returns
        -------
        Routed
            As from `skcaps.functional.em_convolution`.
        """
        full = as_vectors(weight, check_map(windows, poses, weight))
        children = windows.unfold(poses)
        grid = children.shape[:3]
        present = None
        if activations is not None:
            present = windows.unfold(activations).flatten(0, 2)
        parents, coupling, active = self(children.flatten(0, 2), full, present)
        if active is None:
            active = lengths(parents)
        found = (part.unflatten(0, grid) for part in (parents, coupling, active))
        return on_map(Routed(*found))

    def shorten(self, poses: Tensor) -> Tensor:
        """Squash vectors of shape ``(..., out_dim)``."""
        return SQUASHES[self.squash](poses)
