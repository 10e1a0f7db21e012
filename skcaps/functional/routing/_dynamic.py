"""Routing by agreement."""

import torch
from torch import Tensor, nn

from skcaps.functional._recording import is_recorded
from skcaps.functional._squash import Squash, squash
from skcaps.functional.routing._agreement import RouteByAgreement, route_plainly
from skcaps.functional.routing._routed import Routed, check_shapes, with_lengths
from skcaps.functional.routing._uniform import uniform_routing


def dynamic_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    iterations: int = 3,
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
    :math:`c_{ij}` the returned coupling.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration. The paper has none, its released code has.
    iterations : int, default=3
        Number of sums over the children. 1 is the uniform average.
    stop_gradient : bool, default=False
        Treat the coupling as a constant: no gradient flows through the iterations
        before the last. The values do not change; memory and time fall.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1. With more than one iteration
        nothing that it holds gets a gradient.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, and the lengths of the poses as activations.

    Raises
    ------
    ValueError
        If `iterations` is below 1, the shapes do not fit together, or `squash` is a
        module whose parameters want gradients.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", procedure 1 and
    equations 2 and 3. arXiv:1710.09829.

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
    if iterations == 1:
        return uniform_routing(poses, weight, bias=bias, squash=squash)
    _check_nothing_to_train(squash)
    check_shapes(poses, weight, bias)
    dtype = torch.promote_types(poses.dtype, weight.dtype)
    route = route_plainly if is_recorded() else RouteByAgreement.apply
    with torch.autocast(poses.device.type, enabled=False):
        parents, coupling = route(
            poses.to(dtype),
            weight.to(dtype).transpose(1, 2).contiguous(),
            None if bias is None else bias.to(dtype),
            iterations,
            stop_gradient,
            squash,
        )
    return with_lengths(parents, coupling.transpose(1, 2))


def _check_nothing_to_train(squash: Squash) -> None:
    """Refuse what `RouteByAgreement` has no gradients for."""
    parameters = squash.parameters() if isinstance(squash, nn.Module) else ()
    wanted = any(parameter.requires_grad for parameter in parameters)
    if wanted and torch.is_grad_enabled():
        raise ValueError(
            "squash must have no parameters to train in dynamic routing, which gives "
            f"no gradients of them, got {squash}; freeze them, or take another routing."
        )
