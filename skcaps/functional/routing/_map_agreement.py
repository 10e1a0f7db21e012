"""The iterations of dynamic routing at every pixel of a map.

The votes are kept for the backward pass: to convolve again would cost more than all of
the routing. Everything else is small beside them, or is built by parts of them: an
agreement multiplies some types of children at a time, as many as a cache holds, and the
votes' gradient, a sum of outer products over the iterations, is written once.

The axes are: `votes` (batch, caps_in, caps_out, dim_out, rows, columns), `logits` and
`coupling` (batch, caps_in, caps_out, rows, columns), and (batch, caps_out, dim_out,
rows, columns) for `sums` and `parents`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skcaps.functional._map_squash import squash_map
from skcaps.functional._squash import Squash
from skcaps.functional.routing._agreement import pull_back, softmax_gradient
from skcaps.functional.routing._second_order import differentiate

# Products held at a time: what a cache holds; elsewhere what memory spares easily.
_PRODUCT_BYTES = {"cpu": 2 << 20}
_PRODUCT_BYTES_ELSEWHERE = 512 << 20


class RouteMapsByAgreement(torch.autograd.Function):
    """Return parents and coupling after some iterations, from votes."""

    @staticmethod
    def forward(
        ctx: Any, votes: Tensor, bias: Tensor | None, iterations: int, squash: Squash
    ) -> tuple[Tensor, Tensor]:
        """Route, and keep sums and couplings of all iterations beside the votes."""
        sums, couplings = _iterate(votes, bias, iterations, squash)
        ctx.save_for_backward(votes, bias, *sums, *couplings)
        ctx.iterations, ctx.squash = iterations, squash
        ctx.set_materialize_grads(False)
        return squash_map(squash, sums[-1]), couplings[-1]

    @staticmethod
    def backward(
        ctx: Any, grad_parents: Tensor | None, grad_coupling: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Walk through the iterations in reverse."""
        if torch.is_grad_enabled():
            return _differentiable_gradients(ctx, (grad_parents, grad_coupling))
        votes, bias, *steps = ctx.saved_tensors
        sums, couplings = steps[: ctx.iterations], steps[ctx.iterations :]
        if grad_parents is None:
            grad_parents = torch.zeros_like(sums[-1])
        with torch.autocast(votes.device.type, enabled=False):
            grad_votes, grad_bias = _walk_back(
                votes, sums, couplings, grad_parents, grad_coupling, ctx.squash
            )
        return grad_votes, None if bias is None else grad_bias, None, None


def route_maps_plainly(
    votes: Tensor, bias: Tensor | None, iterations: int, squash: Squash
) -> tuple[Tensor, Tensor]:
    """Compute what `RouteMapsByAgreement` does, in torch's operators, in one part.

    They have derivatives of any order, and a graph of them runs without skcaps.
    """

    def add_up(coupling: Tensor) -> Tensor:
        total = (votes * coupling.unsqueeze(3)).sum(dim=1)
        return squash_map(squash, _add_bias(total, bias))

    coupling = _uniform(votes)
    parents = add_up(coupling)
    logits: Tensor | float = 0.0
    for _ in range(iterations - 1):
        logits = logits + (votes * parents.unsqueeze(1)).sum(dim=3)
        coupling = torch.softmax(logits, dim=2)
        parents = add_up(coupling)
    return parents, coupling


def _iterate(
    votes: Tensor, bias: Tensor | None, iterations: int, squash: Squash
) -> tuple[list[Tensor], list[Tensor]]:
    """Return sums and couplings of all iterations."""
    couplings = [_uniform(votes)]
    sums = [_add_bias(votes.sum(dim=1) / votes.shape[2], bias)]
    logits = None
    for _ in range(iterations - 1):
        agreement = _agree(votes, squash_map(squash, sums[-1]))
        logits = agreement if logits is None else logits + agreement
        couplings.append(torch.softmax(logits, dim=2))
        sums.append(_add_bias(_add_up(votes, couplings[-1]), bias))
    return sums, couplings


def _walk_back(
    votes: Tensor,
    sums: list[Tensor],
    couplings: list[Tensor],
    grad_parents: Tensor,
    grad_coupling: Tensor | None,
    squash: Squash,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of votes and bias."""
    grad_sums = _pull_back(squash, sums[-1], grad_parents)
    grad_bias = grad_sums.sum(dim=(0, 3, 4))
    left, right = [], []
    grad_logits: Tensor | float = 0.0
    for step in range(len(sums) - 1, 0, -1):
        grad = _agree(votes, grad_sums)
        if step == len(sums) - 1 and grad_coupling is not None:
            grad = grad + grad_coupling
        grad_logits = grad_logits + softmax_gradient(couplings[step], grad, dim=2)
        parents = squash_map(squash, sums[step - 1])
        left += [couplings[step], grad_logits]
        right += [grad_sums, parents]
        grad_sums = _pull_back(squash, sums[step - 1], _add_up(votes, grad_logits))
        grad_bias = grad_bias + grad_sums.sum(dim=(0, 3, 4))
    return _outer_products(votes, left, right, grad_sums), grad_bias


def _outer_products(
    votes: Tensor, left: list[Tensor], right: list[Tensor], grad_sums: Tensor
) -> Tensor:
    """Return the votes' gradient: products for each iteration, the first's uniform."""
    grad_votes = torch.empty_like(votes)
    grad_votes[:] = (grad_sums / votes.shape[2]).unsqueeze(1)
    for part in _parts(votes):
        target = grad_votes[:, part]
        for shares, vectors in zip(left, right, strict=True):
            target.addcmul_(shares[:, part].unsqueeze(3), vectors.unsqueeze(1))
    return grad_votes


def _agree(votes: Tensor, parents: Tensor) -> Tensor:
    """Multiply every vote by its parent."""
    parents = parents.unsqueeze(1)
    if torch.compiler.is_compiling():
        return (votes * parents).sum(dim=3)
    agreement = votes.new_empty(votes.shape[:3] + votes.shape[4:])
    buffer = torch.empty_like(votes[:, next(_parts(votes))])
    for part in _parts(votes):
        some = votes[:, part]
        product = torch.mul(some, parents, out=buffer[:, : some.shape[1]])
        torch.sum(product, dim=3, out=agreement[:, part])
    return agreement


def _add_up(votes: Tensor, coupling: Tensor) -> Tensor:
    """Sum the votes over the types of children, weighted by the coupling."""
    if torch.compiler.is_compiling():
        return (votes * coupling.unsqueeze(3)).sum(dim=1)
    sums = torch.zeros_like(votes[:, 0])
    for some, shares in zip(votes.unbind(1), coupling.unbind(1), strict=True):
        sums.addcmul_(some, shares.unsqueeze(2))
    return sums


def _parts(votes: Tensor) -> Iterator[slice]:
    """Yield the types of children whose products fit into the memory meant for them."""
    limit = _PRODUCT_BYTES.get(votes.device.type, _PRODUCT_BYTES_ELSEWHERE)
    bytes_of_type = math.prod(votes[:, 0].shape) * votes.element_size()
    size = max(1, limit // max(bytes_of_type, 1))
    for start in range(0, votes.shape[1], size):
        yield slice(start, start + size)


def _uniform(votes: Tensor) -> Tensor:
    shape = votes.shape[:3] + votes.shape[4:]
    return votes.new_full((), 1 / votes.shape[2]).expand(shape)


def _add_bias(sums: Tensor, bias: Tensor | None) -> Tensor:
    return sums if bias is None else sums + bias[..., None, None]


def _pull_back(squash: Squash, sums: Tensor, grad: Tensor) -> Tensor:
    return pull_back(lambda poses: squash_map(squash, poses), sums, grad)


def _differentiable_gradients(
    ctx: Any, grads: tuple[Tensor | None, Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return gradients that have gradients; this takes the memory of all products."""
    votes, bias, *_ = ctx.saved_tensors
    with torch.enable_grad(), torch.autocast(votes.device.type, enabled=False):
        outputs = route_maps_plainly(votes, bias, ctx.iterations, ctx.squash)
    found = differentiate(outputs, (votes, bias), ctx.needs_input_grad[:2], grads)
    return *found, None, None
