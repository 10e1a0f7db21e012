"""Self-routing: a child chooses its parents by its own pose alone."""

from __future__ import annotations

import torch
from torch import Tensor

from skcaps.functional._checks import check_poses, check_shape
from skcaps.functional.routing._mixture import check_votes, sum_over_children
from skcaps.functional.routing._precise import route_precisely
from skcaps.functional.routing._products import combine, stack_matrices
from skcaps.functional.routing._routed import Routed
from skcaps.functional.routing._shares import over_children, over_parents, present


def self_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    activations: Tensor,
    weight_route: Tensor,
    bias_route: Tensor | None = None,
) -> Routed:
    r"""Let each child choose its parents by a linear map of its own pose.

    .. math::
        r_{ij} = \operatorname{softmax}_j(u_i W'_{ij} + b'_{ij}), \quad
        a_j = \frac{\sum_i a_i r_{ij}}{\sum_i a_i}, \quad
        v_j = \frac{\sum_i a_i r_{ij} \hat u_{j|i}}{\sum_i a_i r_{ij}}

    where :math:`u_i` is ``poses``, :math:`a_i` ``activations``, :math:`W'`
    ``weight_route``, :math:`b'` ``bias_route``, :math:`\hat u_{j|i}` are the votes of
    ``poses`` and ``weight``, and :math:`v_j`, :math:`r_{ij}` and :math:`a_j` are what
    returns. There are no iterations, and no agreement. The votes are never built.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent. For poses that are matrices call
        `self_from_votes` on `matrix_votes`.
    activations : Tensor of shape (batch, caps_in)
        How present each child is, from 0 to 1. Where all are 0, they count alike.
    weight_route : Tensor of shape (caps_in, dim_in, caps_out)
        Makes logits of a child's pose. All zeros: uniform couplings.
    bias_route : Tensor of shape (caps_in, caps_out), optional
        Added to the logits.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, and activations (batch, caps_out), which sum
        to 1 too.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Hahn, Pyeon, Kim (2019). "Self-routing capsule networks", section 3. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import self_routing
    >>> routed = self_routing(
    ...     torch.ones(2, 6, 4),
    ...     torch.ones(6, 5, 4, 3),
    ...     activations=torch.ones(2, 6),
    ...     weight_route=torch.zeros(6, 4, 5),
    ... )
    >>> routed.activations
    tensor([[0.2000, 0.2000, 0.2000, 0.2000, 0.2000],
            [0.2000, 0.2000, 0.2000, 0.2000, 0.2000]])
    """
    check_poses(poses, weight)
    _, caps_in, dim_in = poses.shape
    caps_out = weight.shape[1]
    check_shape("activations", activations, poses.shape[:2])
    check_shape("weight_route", weight_route, (caps_in, dim_in, caps_out))
    if bias_route is not None:
        check_shape("bias_route", bias_route, (caps_in, caps_out))

    def route(
        poses: Tensor,
        weight: Tensor,
        activations: Tensor,
        weight_route: Tensor,
        bias_route: Tensor | None,
    ) -> Routed:
        logits = torch.einsum("bid,idj->bij", poses, weight_route)
        if bias_route is not None:
            logits = logits + bias_route
        log_coupling = over_parents(logits)
        shares = over_children(log_coupling, activations)
        parents = combine(poses, stack_matrices(weight), shares.permute(2, 0, 1))
        return _finish(parents.transpose(0, 1), log_coupling, activations)

    return route_precisely(route, poses, weight, activations, weight_route, bias_route)


def self_from_votes(votes: Tensor, activations: Tensor, logits: Tensor) -> Routed:
    r"""Average votes by what each child's logits make of its activation.

    It is `self_routing` after its two linear maps, for votes of any kind:

    .. math::
        r_{ij} = \operatorname{softmax}_j(b_{ij}), \quad
        a_j = \frac{\sum_i a_i r_{ij}}{\sum_i a_i}, \quad
        v_j = \frac{\sum_i a_i r_{ij} \hat u_{j|i}}{\sum_i a_i r_{ij}}

    where :math:`\hat u_{j|i}` is ``votes``, :math:`a_i` ``activations`` and
    :math:`b_{ij}` ``logits``.

    Parameters
    ----------
    votes : Tensor of shape (..., caps_in, caps_out, dim)
        What each child predicts for each parent. Any axes may come before: the batch,
        and in a convolution the positions of the parents, each for itself, with the
        children that a position sees as `caps_in`.
    activations : Tensor of shape (..., caps_in)
        How present each child is, from 0 to 1. One of 0 changes nothing, so padding has
        that. Where all of a position are 0, they count alike.
    logits : Tensor of shape (..., caps_in, caps_out)
        How much each child wants each parent.

    Returns
    -------
    Routed
        Poses (..., caps_out, dim), coupling (..., caps_in, caps_out), which sums to 1
        over `caps_out`, and activations (..., caps_out), which sum to 1 too.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Hahn, Pyeon, Kim (2019). "Self-routing capsule networks", section 3. NeurIPS.

    Examples
    --------
    The second child is not there:

    >>> import torch
    >>> from skcaps.functional import self_from_votes
    >>> votes = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    >>> routed = self_from_votes(
    ...     votes, torch.tensor([[0.5, 0.0]]), torch.zeros(1, 2, 2)
    ... )
    >>> routed.poses.squeeze(), routed.activations
    (tensor([1., 2.]), tensor([[0.5000, 0.5000]]))
    """
    check_votes(votes, activations)
    check_shape("logits", logits, votes.shape[:-1])

    def route(votes: Tensor, activations: Tensor, logits: Tensor) -> Routed:
        log_coupling = over_parents(logits)
        shares = over_children(log_coupling, activations)
        parents = sum_over_children(shares, votes)
        return _finish(parents, log_coupling, activations)

    return route_precisely(route, votes, activations, logits)


def _finish(parents: Tensor, log_coupling: Tensor, activations: Tensor) -> Routed:
    coupling, active = log_coupling.exp(), present(activations)
    of_child = active / active.sum(dim=-1, keepdim=True)
    return Routed(parents, coupling, (of_child.unsqueeze(-1) * coupling).sum(dim=-2))
