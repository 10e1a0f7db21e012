"""From capsules to capsules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skcaps.functional import Routed
from skcaps.functional.routing._routed import with_lengths
from skcaps.nn._checks import check_option
from skcaps.nn._initialization import truncated_normal_
from skcaps.nn.routing import ROUTINGS


class CapsuleLayer(nn.Module):
    """A layer of capsules, routed from the layer below.

    Parameters
    ----------
    in_caps, in_dim : int
        Number and dimension of the capsules below.
    out_caps, out_dim : int
        Number and dimension of this layer's capsules.
    routing : str, default="dynamic"
        How the capsules below are assigned to those of this layer, a key of
        `ROUTINGS`.
    share_weight : bool, default=False
        Let all capsules below share one matrix for each capsule of this layer, as in
        AffCapsNet, in place of one for each pair.
    weight_std : float, default=0.1
        Standard deviation of the initial weights, a normal cut at two of them.
    **options
        For the routing: `iterations`, `squash` and `bias`; see `Routing`.

    Attributes
    ----------
    weight : Parameter of shape (in_caps, out_caps, in_dim, out_dim)
        Transformation matrices W_ij; if shared, the first axis is 1.
    in_caps : int
        Number of capsules below.
    routing : Routing
        With parameters of its own.

    Raises
    ------
    ValueError
        If `routing` or `squash` is unknown.

    Notes
    -----
    Shapes: ``(batch, in_caps, in_dim)`` to a `Routed` of ``(batch, out_caps, out_dim)``
    poses, ``(batch, in_caps, out_caps)`` coupling and ``(batch, out_caps)``
    activations.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 2; Mazzia, Salvetti, Chiaberge (2021),
    section 3.2. Shared weights: Gu, Tresp (2020), "Improving the robustness of capsule
    networks to image affine transformations", CVPR, arXiv 1911.07968.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import CapsuleLayer
    >>> poses, coupling, _ = CapsuleLayer(1152, 8, 10, 16)(torch.rand(2, 1152, 8))
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
        share_weight: bool = False,
        weight_std: float = 0.1,
        **options: object,
    ) -> None:
        super().__init__()
        check_option("routing", routing, ROUTINGS)
        self.routing = ROUTINGS[routing](
            in_caps,
            in_dim,
            out_caps,
            out_dim,
            **options,  # type: ignore[arg-type]
        )
        self.in_caps = in_caps
        shape = (1 if share_weight else in_caps, out_caps, in_dim, out_dim)
        self.weight = nn.Parameter(_empty(shape, self.routing.weight_order))
        truncated_normal_(self.weight, weight_std)

    def forward(self, poses: Tensor, activations: Tensor | None = None) -> Routed:
        """Route poses of shape ``(batch, in_caps, in_dim)``.

        Parameters
        ----------
        poses : Tensor of shape (batch, in_caps, in_dim)
        activations : Tensor of shape (batch, in_caps), optional
            How present the capsules below are, from 0 to 1; by default their lengths.

        Returns
        -------
        Routed
            With the lengths of the poses as activations, if the routing has no others.
        """
        routed: Routed = self.routing(poses, self.weight, activations)
        if routed.activations is None:
            return with_lengths(routed.poses, routed.coupling)
        return routed

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        _, out_caps, in_dim, out_dim = self.weight.shape
        return f"{self.in_caps} x {in_dim} -> {out_caps} x {out_dim}"


def _empty(shape: Sequence[int], order: Sequence[int]) -> Tensor:
    """Return a tensor whose axes follow each other in memory in an order."""
    in_memory = torch.empty([shape[axis] for axis in order])
    return in_memory.permute([order.index(axis) for axis in range(len(shape))])
