"""Routing by a mixture with the votes of a few images at a time.

A mixture reads its votes in two products only. With the votes v and their squares side
by side in a table, one row for each child of a parent, a sum over the children with
some weights gives mean and variance,

    sum_i w_ij [v_ij, v_ij^2],

and a product with each parent's own coefficients the distances from its mean,

    sum_d p_jd (v_ijd - mu_jd)^2 = [v_ij, v_ij^2] [-2 p_j mu_j, p_j] + p_j mu_j^2.

Votes are counted from the middle of all that a parent gets, so that little is lost in
the differences of squares. What comes between the products has no axis of dimensions:
it is small, and PyTorch finds its gradients.

The votes of a batch are far larger than a processor's cache, those of a few images are
not: they are built, used in all iterations and forgotten. The backward pass builds them
again. Of the products it has kept the results; each adds an outer product to the
table's gradient, and one product adds up all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skcaps.functional._recording import is_recorded
from skcaps.functional.routing._mixture import Measure, Measured, Steps
from skcaps.functional.routing._second_order import differentiate

# Of tables held at a time: what a processor's last cache holds, elsewhere what memory
# spares easily. Smaller parts lose more to the many small steps between the products.
_TABLE_BYTES = {"cpu": 12 << 20}
_TABLE_BYTES_ELSEWHERE = 512 << 20

# Multiplies rows (parents, 1, n) with a table, or with its transpose.
Multiply = Callable[[Tensor, Tensor, bool], Tensor]


def route_by_moments(
    steps: Steps,
    poses: Tensor,
    weight: Tensor,
    offset: Tensor | None,
    *others: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Call the steps of a mixture with the votes of some poses.

    Parameters
    ----------
    steps : Steps
    poses : Tensor of shape (batch, ..., caps_in, dim_in)
        The children of each window.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
    offset : Tensor of shape (caps_in, dim_out) or None
        Added to the votes of a child; it has no gradient.
    *others : Tensor
        Activations (batch, ..., caps_in) and what each parent has of its own.

    Returns
    -------
    means, coupling, scores : Tensor
        As from `steps`.
    """
    # A compiler has no use for parts, and does not follow a gradient in a gradient.
    if torch.compiler.is_compiling() or is_recorded():
        return steps(_Table.build(poses, weight, offset).measuring(_multiply), *others)
    return RouteByMoments.apply(  # type: ignore[no-untyped-call, no-any-return]
        steps, offset, poses, weight, *others
    )


class RouteByMoments(torch.autograd.Function):
    """Return what the steps of a mixture return."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: Steps,
        offset: Tensor | None,
        poses: Tensor,
        weight: Tensor,
        activations: Tensor,
        *of_parents: Tensor,
    ) -> tuple[Tensor, ...]:
        """Route part after part."""
        size = _part_size(poses, weight)
        found, kept, buffers = [], [], _Buffers(poses)
        for part, active in zip(
            poses.split(size), activations.split(size), strict=True
        ):
            table = _Table.build(part, weight, offset, buffers)
            results: list[Tensor] = []
            multiply = _recording(results)
            found.append(steps(table.measuring(multiply), active, *of_parents))
            kept.append(results)
        ctx.steps, ctx.offset = steps, offset
        ctx.n_results = len(kept[0])
        ctx.save_for_backward(
            poses, weight, activations, *of_parents, *(r for k in kept for r in k)
        )
        ctx.n_of_parents = len(of_parents)
        ctx.set_materialize_grads(False)
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Build the votes of each part again, and go back through the steps."""
        n_inputs = 3 + ctx.n_of_parents
        inputs, kept = ctx.saved_tensors[:n_inputs], ctx.saved_tensors[n_inputs:]
        with torch.autocast(inputs[0].device.type, enabled=False):
            if torch.is_grad_enabled():
                return None, None, *_differentiable_gradients(ctx, inputs, grads)
            return None, None, *_gradients(ctx, inputs, kept, grads)


def _gradients(
    ctx: Any,
    inputs: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
) -> list[Tensor]:
    poses, weight, activations, *of_parents = inputs
    size, n_results = _part_size(poses, weight), ctx.n_results
    totals = [torch.zeros_like(tensor) for tensor in inputs]
    buffers = _Buffers(poses)
    for index, start in enumerate(range(0, len(poses), size)):
        part = slice(start, start + size)
        table = _Table.build(poses[part], weight, ctx.offset, buffers)
        pairs: list[tuple[Tensor, Tensor]] = []
        results = kept[index * n_results : (index + 1) * n_results]
        multiply = _replaying(list(results), pairs)
        with torch.enable_grad():
            leaves = [activations[part].detach(), *(x.detach() for x in of_parents)]
            for leaf in leaves:
                leaf.requires_grad_()
            outputs = ctx.steps(table.measuring(multiply), *leaves)
        of_outputs = [None if grad is None else grad[part] for grad in grads]
        of_leaves = torch.autograd.grad(
            *_with_gradients(outputs, leaves, of_outputs), allow_unused=True
        )
        # Nothing may have asked for what depends on the votes.
        if pairs:
            of_poses, of_weight = table.back(pairs, poses[part], weight, buffers)
            totals[0][part] = of_poses
            totals[1] += of_weight
        if of_leaves[0] is not None:
            totals[2][part] = of_leaves[0]
        for total, grad in zip(totals[3:], of_leaves[1:], strict=True):
            if grad is not None:
                total += grad
    return totals


def _differentiable_gradients(
    ctx: Any, inputs: tuple[Tensor, ...], grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Return gradients that have gradients; this takes the memory of all votes."""
    poses, weight, *others = inputs
    with torch.enable_grad():
        table = _Table.build(poses, weight, ctx.offset)
        outputs = ctx.steps(table.measuring(_multiply), *others)
    needed = [tensor.requires_grad for tensor in inputs]
    return differentiate(outputs, inputs, needed, grads)


def _with_gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """Leave out the outputs that nothing depends on, or that are constant."""
    pairs = [
        (output, grad)
        for output, grad in zip(outputs, grads, strict=True)
        if grad is not None and output.requires_grad
    ]
    return [output for output, _ in pairs], inputs, [grad for _, grad in pairs]


class _Buffers:
    """Memory that all parts of a batch use; new memory costs more than the products."""

    def __init__(self, poses: Tensor) -> None:
        self.new, self.kept = poses.new_empty, [poses.new_empty(0)] * 3

    def take(self, index: int, shape: Sequence[int]) -> Tensor:
        """Return the tensor with this number, its values undefined."""
        size = math.prod(shape)
        if self.kept[index].numel() < size:
            self.kept[index] = self.new(size)
        return self.kept[index][:size].view(*shape)


class _Table(NamedTuple):
    """Votes and their squares, of all children for each parent at each window.

    Attributes
    ----------
    values : Tensor of shape (windows * caps_out, caps_in, 2 * dim)
        Counted from the middle.
    middle : Tensor of shape (..., caps_out, dim)
    """

    values: Tensor
    middle: Tensor

    @classmethod
    def build(
        cls,
        poses: Tensor,
        weight: Tensor,
        offset: Tensor | None,
        buffers: _Buffers | None = None,
    ) -> _Table:
        """Multiply poses (..., caps_in, dim_in) by the weight."""
        caps_in, caps_out, _, dim = weight.shape
        matrices = weight.transpose(1, 2).flatten(2)
        children = _by_children(poses)
        middle = _middle(poses, matrices, offset, caps_out)
        shape = (caps_in, children.shape[1], caps_out * dim)
        out = None if buffers is None else buffers.take(0, shape)
        products = torch.bmm(children, matrices, out=out)
        votes = products.view(caps_in, -1, caps_out, dim).permute(1, 2, 0, 3)
        origin = middle.reshape(-1, caps_out, 1, dim)
        if offset is not None:
            origin = origin - offset
        if buffers is None:
            centred = votes - origin
            values = torch.cat([centred, centred.square()], dim=3)
        else:
            values = buffers.take(1, (*votes.shape[:3], 2 * dim))
            centred, squares = values.split(dim, dim=3)
            torch.sub(votes, origin, out=centred)
            torch.mul(centred, centred, out=squares)
        return cls(values.flatten(0, 1), middle)

    def measuring(self, multiply: Multiply) -> Measure:
        """Return what measures the votes by products."""

        def measure(weights: Tensor, divisor: Tensor | float = 1.0) -> Measured:
            shares = weights.mT
            amounts = shares.sum(dim=-1, keepdim=True)
            first, second = self._apply(multiply, shares, False).chunk(2, dim=-1)
            means = amounts * self.middle + first
            if isinstance(divisor, Tensor):
                means = means / divisor.unsqueeze(-1)
            moved = means - self.middle
            scatter = second - 2 * moved * first + amounts * moved.square()

            def distances(precisions: Tensor) -> Tensor:
                scaled = moved * precisions
                coefficients = torch.cat([-2 * scaled, precisions], dim=-1)
                constants = (moved * scaled).sum(dim=-1, keepdim=True)
                return (self._apply(multiply, coefficients, True) + constants).mT

            return Measured(means, scatter, distances)

        return measure

    def _apply(self, multiply: Multiply, rows: Tensor, transposed: bool) -> Tensor:
        flat = rows.reshape(self.values.shape[0], 1, rows.shape[-1])
        product = multiply(flat, self.values, transposed)
        return product.view(*rows.shape[:-1], -1)

    def back(
        self,
        pairs: list[tuple[Tensor, Tensor]],
        poses: Tensor,
        weight: Tensor,
        buffers: _Buffers,
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of poses and weight from the table's outer products."""
        _, caps_out, _, dim = weight.shape
        left = torch.cat([pair[0] for pair in pairs], dim=1)
        right = torch.cat([pair[1] for pair in pairs], dim=1)
        of_table = buffers.take(2, self.values.shape)
        torch.bmm(left.mT, right, out=of_table)
        of_first, of_second = of_table.split(dim, dim=2)
        of_first.addcmul_(of_second, self.values[..., :dim], value=2)
        of_first = of_first.unflatten(0, (-1, caps_out)).permute(2, 0, 1, 3)
        of_votes = buffers.take(0, of_first.shape).copy_(of_first).flatten(2)
        matrices = weight.transpose(1, 2).flatten(2)
        of_children = torch.bmm(of_votes, matrices.mT).transpose(0, 1)
        of_matrices = torch.bmm(_by_children(poses).mT, of_votes)
        of_weight = of_matrices.unflatten(2, (caps_out, dim)).transpose(1, 2)
        return of_children.reshape(poses.shape), of_weight


def _middle(
    poses: Tensor, matrices: Tensor, offset: Tensor | None, caps_out: int
) -> Tensor:
    """Return the mean of all votes for each parent, (..., caps_out, dim)."""
    sums = poses.detach().flatten(-2) @ matrices.detach().flatten(0, 1)
    middle: Tensor = sums.unflatten(-1, (caps_out, -1)) / len(matrices)
    return middle if offset is None else middle + offset.mean(dim=0)


def _by_children(poses: Tensor) -> Tensor:
    """Return the poses of all windows for each child, (caps_in, ..., dim_in)."""
    return poses.flatten(0, -3).transpose(0, 1).contiguous()


def _part_size(poses: Tensor, weight: Tensor) -> int:
    """Return the number of images whose tables fit into the memory meant for them."""
    n_votes = poses[:1, ..., 0].numel() * weight.shape[1]
    n_bytes = 2 * n_votes * weight.shape[3] * poses.element_size()
    limit = _TABLE_BYTES.get(poses.device.type, _TABLE_BYTES_ELSEWHERE)
    return max(1, limit // max(n_bytes, 1))


def _multiply(rows: Tensor, table: Tensor, transposed: bool) -> Tensor:
    return torch.bmm(rows, table.mT if transposed else table)


def _recording(results: list[Tensor]) -> Multiply:
    """Return a product that keeps its results."""

    def multiply(rows: Tensor, table: Tensor, transposed: bool) -> Tensor:
        results.append(_multiply(rows, table, transposed))
        return results[-1]

    return multiply


def _replaying(results: list[Tensor], pairs: list[tuple[Tensor, Tensor]]) -> Multiply:
    """Return a product that is known, and leaves the table's gradient in factors."""
    known = iter(results)

    def multiply(rows: Tensor, table: Tensor, transposed: bool) -> Tensor:
        product: Tensor = _KnownProduct.apply(  # type: ignore[no-untyped-call]
            rows, next(known), table, transposed, pairs
        )
        return product

    return multiply


class _KnownProduct(torch.autograd.Function):
    """Return a product of rows and a table that was computed before."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        known: Tensor,
        table: Tensor,
        transposed: bool,
        pairs: list[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Return what is known."""
        ctx.save_for_backward(rows)
        ctx.table, ctx.transposed, ctx.pairs = table, transposed, pairs
        return known.view_as(known)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply for the rows, and keep the factors for the table."""
        # With their graph, which holds this list, they would keep each other alive.
        rows = ctx.saved_tensors[0].detach()
        ctx.pairs.append((grad, rows) if ctx.transposed else (rows, grad))
        return _multiply(grad, ctx.table, not ctx.transposed), None, None, None, None
