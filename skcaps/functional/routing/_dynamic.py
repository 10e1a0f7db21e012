"""Routing by agreement."""

import torch
from torch import Tensor, nn

from skcaps.functional._recording import is_recorded
from skcaps.functional._squash import Squash, squash
from skcaps.functional.routing._agreement import RouteByAgreement, route_plainly
from skcaps.functional.routing._products import agreement, combine, stack_matrices
from skcaps.functional.routing._routed import (
    Routed,
    check_shapes,
    in_batch_order,
    with_lengths,
)
from skcaps.functional.routing._shares import softmax_over
from skcaps.functional.routing._uniform import share_evenly


def dynamic_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    iterations: int = 3,
    leaky: bool = False,
    stop_gradient: bool = False,
    squash: Squash = squash,
) -> Routed:
    r"""Route by agreement: a child sends more to the parents that agree with its vote.

    .. math::
        c_{ij} = \operatorname{softmax}_j(b_{ij}), \quad
        s_j = \sum_i c_{ij} \hat u_{j|i} + \beta_j, \quad
        v_j = \operatorname{squash}(s_j), \quad
        b_{ij} \leftarrow b_{ij} + \langle \hat u_{j|i}, v_j \rangle

    repeated ``iterations`` times from :math:`b_{ij} = 0`, without the unused update
    after the last :math:`v_j`. :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling. With ``leaky``, the softmax is over one logit
    more, which stays 0: what fits no parent goes to this orphan, which is no capsule,

    .. math::
        c_{ij} = \frac{e^{b_{ij}}}{1 + \sum_k e^{b_{ik}}}.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration. The paper has none, its released code has.
    iterations : int, default=3
        Number of sums over the children. 1 is the uniform average.
    leaky : bool, default=False
        Let a child send a part of itself nowhere. It begins with :math:`1 / (J + 1)`
        for each of :math:`J` parents.
    stop_gradient : bool, default=False
        Treat the coupling as a constant: no gradient flows through the iterations
        before the last. The values do not change; memory and time fall.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1. With more than one iteration, and
        a matrix for each child, nothing that it holds gets a gradient.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, or to less if `leaky`, and the lengths of the
        poses as activations.

    Raises
    ------
    ValueError
        If `iterations` is below 1, the shapes do not fit together, or `squash` is a
        module whose parameters want gradients.

    Notes
    -----
    The leaky softmax is the released code's, for CIFAR-10; the paper has a "none of the
    above" category for it. Zhao et al. (2018) take it over from there, and add an
    orphan category, a capsule of its own with a weight, which is trained as one class
    more. Here the orphan has neither weight nor pose.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", procedure 1,
    equations 2 and 3, and section 7 for `leaky`. arXiv:1710.09829.
    Zhao, Ye, Yang, Lei, Zhang, Zhao (2018). "Investigating capsule networks with
    dynamic routing for text classification". EMNLP. arXiv:1804.00538.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import dynamic_routing
    >>> routed = dynamic_routing(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]))
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")
    check_shapes(poses, weight, bias)
    if iterations == 1:
        share = 1 / (int(weight.shape[1]) + leaky)
        return share_evenly(poses, weight, share, bias, squash)
    dtype = torch.promote_types(poses.dtype, weight.dtype)
    poses, weight = poses.to(dtype), weight.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    options = (iterations, leaky, stop_gradient, squash)
    route = route_plainly if is_recorded() else RouteByAgreement.apply
    with torch.autocast(poses.device.type, enabled=False):
        if weight.shape[0] == 1:
            return _route_by_one_weight(poses, weight, bias, *options)
        _check_nothing_to_train(squash)
        matrices = weight.transpose(1, 2).contiguous()
        parents, coupling = route(poses, matrices, bias, *options)
    return with_lengths(parents, coupling.transpose(1, 2))


def _route_by_one_weight(
    poses: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    iterations: int,
    leaky: bool,
    stop_gradient: bool,
    squash: Squash,
) -> Routed:
    """Iterate on the children, whose sums and agreements need no votes."""
    matrices = stack_matrices(weight)
    share = 1 / (int(matrices.shape[0]) + leaky)
    so_far = parents = squash(combine(poses, matrices, share, bias))
    for _ in range(iterations - 1):
        coupling = softmax_over(0, agreement(poses, matrices, so_far), leaky)
        if stop_gradient:
            coupling = coupling.detach()
        parents = squash(combine(poses, matrices, coupling, bias))
        so_far = so_far + parents
    return in_batch_order(poses, parents, coupling)


def _check_nothing_to_train(squash: Squash) -> None:
    """Refuse what `RouteByAgreement` has no gradients for."""
    parameters = squash.parameters() if isinstance(squash, nn.Module) else ()
    wanted = any(parameter.requires_grad for parameter in parameters)
    if wanted and torch.is_grad_enabled():
        raise ValueError(
            "squash must have no parameters to train in dynamic routing, which gives "
            f"no gradients of them, got {squash}; freeze them, or take another routing."
        )
