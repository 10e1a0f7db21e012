"""What the two routings by a mixture of Gaussians share."""

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape


def sum_over_children(weights: Tensor, values: Tensor) -> Tensor:
    """Sum (..., caps_in, caps_out, dim), weighted by (..., caps_in, caps_out)."""
    return torch.einsum("...ij,...ijd->...jd", weights, values)


def lay_by_parents(votes: Tensor) -> Tensor:
    """Put the votes for one parent together in memory; every iteration sums them."""
    return votes.transpose(-3, -2).contiguous().transpose(-3, -2)


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
