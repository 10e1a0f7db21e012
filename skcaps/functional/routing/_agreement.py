"""The iterations of dynamic routing, with the votes of a few images at a time.

Every iteration reads all votes twice, and its backward pass nearly so. The votes of a
batch are far larger than a processor's cache, those of a few images are not: they are
built, used in all iterations and forgotten. All parts of a batch use one buffer, since
new memory costs more than the products.

The backward pass builds the votes again, and the couplings too: after some iterations
the logits are the agreement of the votes with the sum of all parents so far, so nothing
but `sums` is kept. Each iteration adds two outer products to the votes' gradient, of
`coupling` with the gradient of `sums` and of the gradient of `logits` with `parents`.

The axes are: `matrices` (caps_in, dim_in, caps_out, dim_out), `votes` (batch, caps_out,
caps_in, dim_out), `logits` and `coupling` (batch, caps_out, caps_in), `sums` and
`parents` (batch, caps_out, dim_out).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skcaps.functional._squash import Squash
from skcaps.functional.routing._second_order import differentiate
from skcaps.functional.routing._shares import softmax_over

# Votes held at a time: what a cache holds; on other devices what memory spares easily.
_VOTES_BYTES = {"cpu": 6 << 20}
_VOTES_BYTES_ELSEWHERE = 512 << 20
# Fewer at a time would read the matrices too often, where the votes fit into no cache.
_FEWEST_IMAGES = 4


class RouteByAgreement(torch.autograd.Function):
    """Return parents and coupling after some iterations, from poses and matrices."""

    @staticmethod
    def forward(
        ctx: Any,
        poses: Tensor,
        matrices: Tensor,
        bias: Tensor | None,
        iterations: int,
        leaky: bool,
        stop_gradient: bool,
        squash: Squash,
    ) -> tuple[Tensor, Tensor]:
        """Route part after part."""
        buffer = _votes_buffer(poses, matrices)
        sums, couplings = [], []
        for part in poses.split(_part_size(poses, matrices)):
            votes = _votes(part, matrices, buffer)
            steps, coupling = _iterate(votes, bias, iterations, leaky, squash)
            sums.append(steps)
            couplings.append(coupling)
        all_sums, coupling = torch.cat(sums, dim=1), torch.cat(couplings)
        ctx.save_for_backward(poses, matrices, bias, all_sums)
        ctx.squash, ctx.leaky, ctx.stop_gradient = squash, leaky, stop_gradient
        ctx.set_materialize_grads(False)
        if stop_gradient:
            ctx.mark_non_differentiable(coupling)
        return squash(all_sums[-1]), coupling

    @staticmethod
    def backward(
        ctx: Any, grad_parents: Tensor | None, grad_coupling: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Walk through the iterations of each part in reverse."""
        poses, matrices, bias, sums = ctx.saved_tensors
        if torch.is_grad_enabled():
            grads = (grad_parents, grad_coupling)
            return _differentiable_gradients(ctx, grads)
        if grad_parents is None:
            grad_parents = torch.zeros_like(sums[-1])
        grad_poses = torch.empty_like(poses)
        grad_matrices = torch.zeros_like(matrices)
        grad_bias = sums.new_zeros(sums.shape[2:])
        buffers = [_votes_buffer(poses, matrices) for _ in range(2)]
        size = _part_size(poses, matrices)
        with torch.autocast(poses.device.type, enabled=False):
            for start in range(0, len(poses), size):
                part = slice(start, start + size)
                votes = _votes(poses[part], matrices, buffers[0])
                products = _walk_back(
                    votes,
                    sums[:, part],
                    grad_parents[part],
                    None if grad_coupling is None else grad_coupling[part],
                    1 if ctx.stop_gradient else len(sums),
                    ctx.leaky,
                    ctx.squash,
                )
                grad_bias += products.grad_bias
                # Nothing reads the votes any more.
                votes.copy_(products.add_up(buffers[1]))
                grad_votes = votes.permute(2, 0, 1, 3).flatten(2)
                children = poses[part].transpose(0, 1).contiguous()
                grad_children = torch.bmm(grad_votes, matrices.flatten(2).mT)
                grad_poses[part] = grad_children.transpose(0, 1)
                grad_matrices.flatten(2).baddbmm_(children.mT, grad_votes)
        return (
            grad_poses,
            grad_matrices,
            grad_bias if bias is not None else None,
            *(None, None, None, None),
        )


def _differentiable_gradients(
    ctx: Any, grads: tuple[Tensor | None, Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return gradients that have gradients; this takes the memory of all votes."""
    poses, matrices, bias, sums = ctx.saved_tensors
    with torch.enable_grad(), torch.autocast(poses.device.type, enabled=False):
        outputs = route_plainly(
            *(poses, matrices, bias, len(sums)),
            *(ctx.leaky, ctx.stop_gradient, ctx.squash),
        )
    inputs = (poses, matrices, bias)
    found = differentiate(outputs, inputs, ctx.needs_input_grad[:3], grads)
    return *found, None, None, None, None


def route_plainly(
    poses: Tensor,
    matrices: Tensor,
    bias: Tensor | None,
    iterations: int,
    leaky: bool,
    stop_gradient: bool,
    squash: Squash,
) -> tuple[Tensor, Tensor]:
    """Compute what `RouteByAgreement` does, in torch's operators, with all votes.

    They have derivatives of any order, and a graph of them runs without skcaps.
    """
    votes = torch.einsum("bie,iejd->bjid", poses, matrices)
    coupling = _iterate(votes, bias, iterations, leaky, squash)[1]
    if stop_gradient:
        coupling = coupling.detach()
    return squash(_add_up(votes, coupling, bias)), coupling


class _OuterProducts(NamedTuple):
    """The votes' gradient, in factors, and the bias' one."""

    left: list[Tensor]
    right: list[Tensor]
    grad_bias: Tensor

    def add_up(self, buffer: Tensor) -> Tensor:
        """Return the votes' gradient as (batch, caps_out, caps_in, dim_out)."""
        left = torch.stack(self.left, dim=2).flatten(0, 1)
        right = torch.stack(self.right, dim=2).flatten(0, 1)
        total = _multiply(left.mT, right, buffer)
        return total.view(*self.left[0].shape[:2], *total.shape[1:])


def _iterate(
    votes: Tensor, bias: Tensor | None, iterations: int, leaky: bool, squash: Squash
) -> tuple[Tensor, Tensor]:
    """Return the sums of all iterations, on a first axis, and the last coupling."""
    coupling = _uniform(votes, leaky)
    sums = [_add_up(votes, coupling, bias)]
    so_far = squash(sums[0])
    for _ in range(iterations - 1):
        coupling = softmax_over(1, _agree(votes, so_far), leaky)
        sums.append(_add_up(votes, coupling, bias))
        so_far = so_far + squash(sums[-1])
    return torch.stack(sums), coupling


def _walk_back(
    votes: Tensor,
    sums: Tensor,
    grad_parents: Tensor,
    grad_coupling: Tensor | None,
    n_steps: int,
    leaky: bool,
    squash: Squash,
) -> _OuterProducts:
    """Go back through the last `n_steps` iterations."""
    parents = squash(sums)
    last = len(sums) - 1
    first = last - n_steps + 1
    grad_sums = pull_back(squash, sums[last], grad_parents)
    # One pass over the votes for the logits of all steps and the first gradient.
    so_far = parents.cumsum(dim=0)[max(first - 1, 0) : last]
    *logits, grad = _agree_with_all(votes, [*so_far, grad_sums])
    left, right = [], []
    grad_bias = sums.new_zeros(sums.shape[2:])
    grad_logits = torch.zeros((), dtype=sums.dtype, device=sums.device)
    for step in range(last, first - 1, -1):
        coupling = (
            softmax_over(1, logits.pop(), leaky) if step else _uniform(votes, leaky)
        )
        grad_bias += grad_sums.sum(dim=0)
        left.append(coupling)
        right.append(grad_sums)
        if step == first:
            break
        if step < last:
            grad = _agree(votes, grad_sums)
        elif grad_coupling is not None:
            grad = grad + grad_coupling
        grad_logits = grad_logits + softmax_gradient(coupling, grad)
        left.append(grad_logits)
        right.append(parents[step - 1])
        grad_sums = pull_back(squash, sums[step - 1], _add_up(votes, grad_logits))
    return _OuterProducts(left, right, grad_bias)


def _part_size(poses: Tensor, matrices: Tensor) -> int:
    """Return the number of images whose votes fit into the memory meant for them."""
    caps_in, _, caps_out, dim_out = matrices.shape
    votes_bytes = caps_in * caps_out * dim_out * poses.element_size()
    limit = _VOTES_BYTES.get(poses.device.type, _VOTES_BYTES_ELSEWHERE)
    # Every part is compiled anew.
    if torch.compiler.is_compiling():
        limit = _VOTES_BYTES_ELSEWHERE
    return max(_FEWEST_IMAGES, limit // max(votes_bytes, 1))


def _votes_buffer(poses: Tensor, matrices: Tensor) -> Tensor:
    caps_in, _, caps_out, dim_out = matrices.shape
    size = min(len(poses), _part_size(poses, matrices))
    return poses.new_empty(size * caps_in * caps_out * dim_out)


def _votes(poses: Tensor, matrices: Tensor, buffer: Tensor) -> Tensor:
    """Multiply every child by its matrices."""
    caps_in, _, caps_out, dim_out = matrices.shape
    # Rows far apart in memory would evict each other from the cache.
    children = poses.transpose(0, 1).contiguous()
    votes = _multiply(children, matrices.flatten(2), buffer)
    return votes.view(caps_in, len(poses), caps_out, dim_out).permute(1, 2, 0, 3)


def _multiply(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    """Multiply batches of matrices into the buffer."""
    # A compiler reuses memory by itself, and that of torch 2.4 refuses `out`.
    if torch.compiler.is_compiling():
        return torch.bmm(left, right)
    shape = (len(left), left.shape[1], right.shape[2])
    product = buffer[: math.prod(shape)].view(shape)
    return torch.bmm(left, right, out=product)


def _uniform(votes: Tensor, leaky: bool) -> Tensor:
    return votes.new_full(votes.shape[:3], 1 / (int(votes.shape[1]) + leaky))


def _add_up(votes: Tensor, coupling: Tensor, bias: Tensor | None = None) -> Tensor:
    """Sum the votes over the children, weighted by the coupling."""
    sums = (coupling.unsqueeze(2) @ votes).squeeze(2)
    return sums if bias is None else sums + bias


def _agree(votes: Tensor, parents: Tensor) -> Tensor:
    """Multiply every vote by its parent."""
    return _agree_with_all(votes, [parents])[0]


def _agree_with_all(votes: Tensor, vectors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the agreement of the votes with each of several sets of parents."""
    # Rows times a matrix: the other order, a matrix times columns, is much slower.
    return (torch.stack(vectors, dim=2) @ votes.mT).unbind(2)


def softmax_gradient(coupling: Tensor, grad: Tensor, dim: int = 1) -> Tensor:
    """Return the gradient of logits from that of their softmax."""
    # An orphan's coupling is used nowhere, so it adds nothing to the sum.
    product = coupling * grad
    return product - coupling * product.sum(dim=dim, keepdim=True)


def pull_back(squash: Squash, sums: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient before the squash from the one after it."""
    pulled: Tensor
    if torch.compiler.is_compiling():
        pulled = torch.func.vjp(squash, sums)[1](grad)[0]
        return pulled
    # torch.func would load the compiler, and so would a gradient of more than a number.
    with torch.enable_grad():
        sums = sums.detach().requires_grad_()
        (pulled,) = torch.autograd.grad((squash(sums) * grad).sum(), sums)
    return pulled
