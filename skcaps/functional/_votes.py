"""Votes: what each child capsule predicts for each parent."""

import torch
from torch import Tensor

from skcaps.functional._checks import check_matrix_poses, check_poses


def votes(poses: Tensor, weight: Tensor) -> Tensor:
    r"""Predict every parent's pose from every child.

    .. math::
        \hat u_{j|i} = W_{ij} u_i

    where :math:`u_i` is ``poses[:, i]``, :math:`W_{ij}` is the transpose of
    ``weight[i, j]`` (row vectors times ``weight``) and :math:`\hat u_{j|i}` is the
    result at ``[:, i, j]``. The routings do not call it: dynamic routing builds
    a part of this tensor at a time; EM and variational Bayes build all of it, and the
    others never do.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.

    Returns
    -------
    Tensor of shape (batch, caps_in, caps_out, dim_out)
        The votes, also called prediction vectors.

    Raises
    ------
    ValueError
        If the shapes of `poses` and `weight` do not fit together.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 2.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import votes
    >>> votes(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5)).shape
    torch.Size([2, 6, 3, 5])
    """
    check_poses(poses, weight)
    return torch.einsum("bid,ijde->bije", poses, weight)


def matrix_votes(poses: Tensor, weight: Tensor) -> Tensor:
    r"""Predict every parent's pose from every child, where poses are matrices.

    .. math::
        V_{ij} = M_i W_{ij}

    where :math:`M_i` is ``poses[:, i]`` as rows of ``dim`` numbers, :math:`W_{ij}` is
    ``weight[i, j]`` and :math:`V_{ij}` is the result at ``[:, i, j]``. A child pose of
    4x4 numbers needs 16 weights for each parent, in place of the 256 of `votes`.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, rows * dim)
        Child capsules, the rows of each matrix one after the other.
    weight : Tensor of shape (caps_in, caps_out, dim, columns)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent.

    Returns
    -------
    Tensor of shape (batch, caps_in, caps_out, rows * columns)
        The votes, the rows of each matrix one after the other.

    Raises
    ------
    ValueError
        If the shapes of `poses` and `weight` do not fit together.

    References
    ----------
    Hinton, Sabour, Frosst (2018). "Matrix capsules with EM routing", section 2. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import matrix_votes
    >>> matrix_votes(torch.ones(2, 6, 16), torch.ones(6, 3, 4, 4)).shape
    torch.Size([2, 6, 3, 16])
    """
    check_matrix_poses(poses, weight)
    matrices = poses.unflatten(2, (-1, weight.shape[2]))
    return torch.einsum("bird,ijdc->bijrc", matrices, weight).flatten(3)


def as_vectors(weight: Tensor, rows: int) -> Tensor:
    """Return the weight with which `votes` of flat matrices are their `matrix_votes`.

    Each row of a matrix is multiplied by the same weight, (caps_in, caps_out, dim,
    columns), of which there is a block for every row on the diagonal.
    """
    if rows == 1:
        return weight
    eye = torch.eye(rows, dtype=weight.dtype, device=weight.device)
    blocks = torch.einsum("rs,ijdc->ijrdsc", eye, weight)
    return blocks.flatten(4, 5).flatten(2, 3)
