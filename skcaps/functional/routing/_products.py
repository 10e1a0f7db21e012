"""Sums over the children and agreements with a parent, without the votes.

The votes are larger than poses and weight together, so they are never built. With
poses as rows, a sum over children is one matrix product for each parent,

    s_j = sum_i c_ij W_ij u_i = [c_1j u_1, c_2j u_2, ...] [W_1j; W_2j; ...],

and the agreement of votes with a parent is moved to the children's side,

    <W_ij u_i, v_j> = <u_i, W_ij^T v_j>.

A matrix that all children share waits until they are summed, s_j = W_j sum_i c_ij u_i.

The parents' axis comes first, as `torch.bmm` wants it: `matrices` is
(caps_out, caps_in * dim_in, dim_out) or, shared, (caps_out, dim_in, dim_out),
`coupling` is (caps_out, batch, caps_in) and `parents` is (caps_out, batch, dim_out).
"""

import torch
from torch import Tensor


def combine(
    poses: Tensor,
    matrices: Tensor,
    coupling: Tensor | float,
    bias: Tensor | None = None,
) -> Tensor:
    """Sum the votes for each parent; one number couples all pairs alike."""
    shared = _is_shared(matrices, poses)
    if isinstance(coupling, Tensor):
        if shared:
            children = torch.einsum("jbi,bid->jbd", coupling, poses)
        else:
            children = (coupling.unsqueeze(-1) * poses).flatten(2)
        sums = torch.bmm(children, matrices)
    else:
        # All parents share one copy of the poses.
        children = coupling * (poses.sum(dim=1) if shared else poses.flatten(1))
        sums = torch.matmul(children, matrices)
    return sums if bias is None else sums + bias.unsqueeze(1)


def agreement(poses: Tensor, matrices: Tensor, parents: Tensor) -> Tensor:
    """Inner product of every vote with its parent, (caps_out, batch, caps_in)."""
    expected = torch.bmm(parents, matrices.transpose(1, 2))
    if _is_shared(matrices, poses):
        return torch.einsum("jbd,bid->jbi", expected, poses)
    return (expected.reshape(len(matrices), *poses.shape) * poses).sum(dim=-1)


def stack_matrices(weight: Tensor) -> Tensor:
    """Stack the children's matrices of each parent."""
    return weight.transpose(0, 1).flatten(1, 2)


def _is_shared(matrices: Tensor, poses: Tensor) -> bool:
    """Return whether all children have one matrix for each parent."""
    return matrices.shape[1] == poses.shape[2]
