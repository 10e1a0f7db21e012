"""Routing that decides nothing."""

from torch import Tensor

from skcaps.functional._squash import Squash, squash
from skcaps.functional.routing._products import combine, stack_matrices
from skcaps.functional.routing._routed import Routed, check_shapes, in_batch_order


def uniform_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    squash: Squash = squash,
) -> Routed:
    r"""Give every parent the same share of every child.

    .. math::
        c_{ij} = \frac{1}{J}, \qquad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`J` is ``caps_out``, :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling. It is `dynamic_routing` with one iteration.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), the constant coupling (batch, caps_in,
        caps_out) and the lengths of the poses as activations.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", procedure 1 with
    r = 1. arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import uniform_routing
    >>> routed = uniform_routing(torch.ones(2, 6, 4), torch.ones(6, 2, 4, 5))
    >>> routed.coupling.unique()
    tensor([0.5000])
    """
    check_shapes(poses, weight, bias)
    # The sizes of a traced tensor are tensors.
    return share_evenly(poses, weight, 1 / int(weight.shape[1]), bias, squash)


def share_evenly(
    poses: Tensor, weight: Tensor, share: float, bias: Tensor | None, squash: Squash
) -> Routed:
    """Give every parent this share of every child."""
    parents = squash(combine(poses, stack_matrices(weight), share, bias))
    return in_batch_order(poses, parents, share)
