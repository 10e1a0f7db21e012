"""What the two routings by a mixture of Gaussians share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape


class Measured(NamedTuple):
    """How the votes for each parent lie.

    Attributes
    ----------
    means : Tensor of shape (..., caps_out, dim)
        Weighted sum of the votes over the divisor.
    scatter : Tensor of shape (..., caps_out, dim)
        Weighted sum of the squared differences from the mean.
    distances : callable
        Maps precisions (..., caps_out, dim) to the sums over the dimensions of the
        squared differences times them, (..., caps_in, caps_out).
    """

    means: Tensor
    scatter: Tensor
    distances: Callable[[Tensor], Tensor]


# Maps weights (..., caps_in, caps_out) and a divisor of the sums, (..., caps_out).
Measure = Callable[[Tensor, "Tensor | float"], Measured]
# Maps what measures the votes, activations (..., caps_in) and what each parent has of
# its own to poses (..., caps_out, dim), coupling (..., caps_in, caps_out) and the
# scores (..., caps_out) that activations are made of.
Steps = Callable[..., "tuple[Tensor, Tensor, Tensor]"]


def measuring(votes: Tensor) -> Measure:
    """Return what measures votes (..., caps_in, caps_out, dim)."""
    # Every iteration sums the votes for a parent, which lie together in memory.
    heard = votes.transpose(-3, -2).contiguous().transpose(-3, -2)

    def measure(weights: Tensor, divisor: Tensor | float = 1.0) -> Measured:
        means = sum_over_children(weights, heard)
        if isinstance(divisor, Tensor):
            means = means / divisor.unsqueeze(-1)
        squares = (heard - means.unsqueeze(-3)).square()
        scatter = sum_over_children(weights, squares)
        return Measured(means, scatter, lambda found: _weigh(squares, found))

    return measure


def _weigh(squares: Tensor, precisions: Tensor) -> Tensor:
    # From the product, a compiler of torch 2.13 finds no way back.
    if torch.compiler.is_compiling():
        return (squares * precisions.unsqueeze(-3)).sum(dim=-1)
    return torch.einsum("...ijd,...jd->...ij", squares, precisions)


def sum_over_children(weights: Tensor, values: Tensor) -> Tensor:
    """Sum (..., caps_in, caps_out, dim), weighted by (..., caps_in, caps_out)."""
    return torch.einsum("...ij,...ijd->...jd", weights, values)


def check_mixture(
    votes: Tensor, activations: Tensor, iterations: int, **of_parents: Tensor
) -> None:
    """Raise ValueError unless the shapes fit and there is an iteration."""
    check_iterations(iterations)
    check_votes(votes, activations)
    for name, values in of_parents.items():
        check_shape(name, values, votes.shape[-2:-1])


def check_iterations(iterations: int) -> None:
    """Raise ValueError unless there is an iteration."""
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")


def check_votes(votes: Tensor, activations: Tensor | None = None) -> None:
    """Raise ValueError unless there are votes, and an activation of each child."""
    if votes.ndim < 3:
        raise ValueError(
            "votes must have shape (..., caps_in, caps_out, dim), "
            f"got {tuple(votes.shape)}."
        )
    if activations is not None:
        check_shape("activations", activations, votes.shape[:-2])
