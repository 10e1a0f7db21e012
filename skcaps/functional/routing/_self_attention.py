"""Routing by the agreement of all votes for the same parent."""

import math

import torch
from torch import Tensor

from skcaps.functional._squash import Squash, squash_exp
from skcaps.functional.routing._products import agreement, combine, stack_matrices
from skcaps.functional.routing._routed import Routed, check_shapes, in_batch_order


def self_attention_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    prior: Tensor | None = None,
    bias: Tensor | None = None,
    squash: Squash = squash_exp,
) -> Routed:
    r"""Route in one pass, by each vote's agreement with all votes for the same parent.

    .. math::
        a_{ij} = \frac{1}{\sqrt d} \sum_k \langle \hat u_{j|i}, \hat u_{j|k} \rangle
               = \frac{1}{\sqrt d} \Big\langle \hat u_{j|i},
                 \sum_k \hat u_{j|k} \Big\rangle, \quad
        c_{ij} = \operatorname{softmax}_j(a_{ij}) + B_{ij}, \quad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`\hat u_{j|i}` are the votes of ``poses`` and ``weight``, :math:`d` is
    ``dim_out``, :math:`B` is ``prior``, :math:`\beta` is ``bias``, :math:`v_j` the
    returned poses and :math:`c_{ij}` the returned coupling. The second form of
    :math:`a` needs no matrix of children by children.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.
    prior : Tensor of shape (caps_in, caps_out), optional
        Added to the coupling after the softmax, as in the released code (the paper
        calls it log priors).
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children. Neither the paper nor its code has one.
    squash : callable, default=squash_exp
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        `prior` included: it sums to 1 over `caps_out` only without one, and the lengths
        of the poses as activations.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021). "Efficient-CapsNet: capsule network with
    self-attention routing", Scientific Reports 11:14634. arXiv:2101.12491.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import self_attention_routing
    >>> routed = self_attention_routing(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]))
    """
    check_shapes(poses, weight, bias, prior)
    matrices = stack_matrices(weight)
    total = combine(poses, matrices, 1 / math.sqrt(weight.shape[3]))
    coupling = torch.softmax(agreement(poses, matrices, total), dim=0)
    if prior is not None:
        coupling = coupling + prior.T.unsqueeze(1)
    parents = squash(combine(poses, matrices, coupling, bias))
    return in_batch_order(poses, parents, coupling)
