"""Routing by one coupling for all images."""

import torch
from torch import Tensor

from skcaps.functional._squash import Squash, squash
from skcaps.functional.routing._products import combine, stack_matrices
from skcaps.functional.routing._routed import Routed, check_shapes, with_lengths


def learned_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    prior: Tensor,
    bias: Tensor | None = None,
    squash: Squash = squash,
) -> Routed:
    r"""Use one learned coupling for every sample.

    .. math::
        c_{ij} = \operatorname{softmax}_j(B_{ij}), \qquad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`B` is ``prior``, :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling. :math:`B` are the log prior probabilities from
    which the dynamic routing of the paper may start; here there are no iterations.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.
    prior : Tensor of shape (caps_in, caps_out)
        Logits of the coupling. All equal: `uniform_routing`.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        the same for every sample, which sums to 1 over `caps_out`, and the lengths of
        the poses as activations.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 3.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import learned_routing
    >>> prior = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    >>> poses, weight = torch.ones(1, 2, 4), torch.ones(2, 2, 4, 5)
    >>> routed = learned_routing(poses, weight, prior=prior)
    >>> routed.coupling
    tensor([[[5.0000e-01, 5.0000e-01],
             [9.9988e-01, 1.2339e-04]]])
    """
    check_shapes(poses, weight, bias, prior)
    shares = torch.softmax(prior, dim=1)
    coupling = shares.expand(poses.shape[0], -1, -1)
    if weight.shape[0] == 1:
        sums = combine(poses, stack_matrices(weight), coupling.permute(2, 0, 1), bias)
    else:
        # One coupling for the batch scales the weight, which is cheaper than the poses.
        matrices = stack_matrices(weight * shares[:, :, None, None])
        sums = combine(poses, matrices, 1.0, bias)
    return with_lengths(squash(sums).transpose(0, 1), coupling)
