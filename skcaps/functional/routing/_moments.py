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

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skcaps.functional.routing._mixture import Measure, Measured, Steps

# Of tables held at a time: what a cache holds; elsewhere what memory spares easily.
_TABLE_BYTES = {"cpu": 8 << 20}
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
    poses : Tensor of shape (batch, ..., caps_in, rows, dim)
        The children of each window, as matrices.
    weight : Tensor of shape (caps_in, caps_out, dim, columns)
    offset : Tensor of shape (caps_in, rows * columns) or None
        Added to the votes of a child; it has no gradient.
    *others : Tensor
        Activations (batch, ..., caps_in) and what each parent has of its own.

    Returns
    -------
    means, coupling, scores : Tensor
        As from `steps`.
    """
    # A compiler has no use for parts, and does not follow a gradient in a gradient.
    if torch.compiler.is_compiling():
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
        found, kept = [], []
        for part, active in zip(
            poses.split(size), activations.split(size), strict=True
        ):
            table = _Table.build(part, weight, offset)
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
                found = _differentiable_gradients(ctx, inputs, grads)
            else:
                found = _gradients(ctx, inputs, kept, grads)
        return None, None, *found


def _gradients(
    ctx: Any,
    inputs: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
) -> list[Tensor]:
    poses, weight, activations, *of_parents = inputs
    size, n_results = _part_size(poses, weight), ctx.n_results
    totals = [torch.zeros_like(tensor) for tensor in inputs]
    for index, start in enumerate(range(0, len(poses), size)):
        part = slice(start, start + size)
        table = _Table.build(poses[part], weight, ctx.offset)
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
        totals[0][part], of_weight = table.back(pairs, poses[part], weight)
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
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = torch.autograd.grad(
        *_with_gradients(outputs, wanted, grads), create_graph=True, allow_unused=True
    )
    of_wanted = iter(found)
    return [next(of_wanted) if x.requires_grad else None for x in inputs]


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
    def build(cls, poses: Tensor, weight: Tensor, offset: Tensor | None) -> _Table:
        """Multiply poses (..., caps_in, rows, dim) by the weight."""
        caps_in, caps_out, _, columns = weight.shape
        rows = poses.shape[-2]
        children = _by_children(poses)
        products = torch.bmm(children, weight.transpose(1, 2).flatten(2))
        votes = products.view(caps_in, -1, rows, caps_out, columns)
        votes = votes.permute(1, 3, 0, 2, 4).reshape(-1, caps_in, rows * columns)
        if offset is not None:
            votes = votes + offset
        middle = votes.detach().mean(dim=1, keepdim=True)
        votes = votes - middle
        values = torch.cat([votes, votes.square()], dim=2)
        shape = (*poses.shape[:-3], caps_out, rows * columns)
        return cls(values, middle.view(shape))

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
        flat = rows.reshape(len(self.values), 1, rows.shape[-1])
        product = multiply(flat, self.values, transposed)
        return product.view(*rows.shape[:-1], -1)

    def back(
        self, pairs: list[tuple[Tensor, Tensor]], poses: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of poses and weight from the table's outer products."""
        caps_in, caps_out, _, columns = weight.shape
        rows, dim = poses.shape[-2], self.middle.shape[-1]
        left = torch.cat([pair[0] for pair in pairs], dim=1)
        right = torch.cat([pair[1] for pair in pairs], dim=1)
        of_table = torch.bmm(left.mT, right)
        of_votes = of_table[..., dim:].mul_(self.values[..., :dim])
        of_votes = of_votes.mul_(2).add_(of_table[..., :dim])
        of_votes = of_votes.view(-1, caps_out, caps_in, rows, columns)
        of_votes = of_votes.permute(2, 0, 3, 1, 4).reshape(
            caps_in, -1, caps_out * columns
        )
        matrices = weight.transpose(1, 2).flatten(2)
        of_children = torch.bmm(of_votes, matrices.mT)
        of_matrices = torch.bmm(_by_children(poses).mT, of_votes)
        of_children = of_children.view(caps_in, -1, *poses.shape[-2:]).transpose(0, 1)
        of_weight = of_matrices.unflatten(2, (caps_out, columns)).transpose(1, 2)
        return of_children.reshape(poses.shape), of_weight


def _by_children(poses: Tensor) -> Tensor:
    """Return the rows of all windows for each child, (caps_in, ..., dim)."""
    return poses.flatten(0, -4).transpose(0, 1).flatten(1, 2)


def _part_size(poses: Tensor, weight: Tensor) -> int:
    """Return the number of images whose tables fit into the memory meant for them."""
    one = poses[:1].numel() // poses.shape[-1] * weight.shape[1] * weight.shape[3]
    n_bytes = 2 * one * poses.element_size()
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
        (rows,) = ctx.saved_tensors
        ctx.pairs.append((grad, rows) if ctx.transposed else (rows, grad))
        return _multiply(grad, ctx.table, not ctx.transposed), None, None, None, None
