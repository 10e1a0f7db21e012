"""How the votes for a parent spread: along each dimension alone, or in any direction.

Both hold the scale of a Wishart posterior, ``prior`` on the diagonal, plus the products
of the votes' deviations from their mean, plus ``pull`` times those of the mean itself.
"""

import torch
from torch import Tensor

from skcaps.functional.routing._mixture import sum_over_children


class Diagonal:
    """Scales (..., caps_out, dim)."""

    def __init__(
        self, votes: Tensor, means: Tensor, weights: Tensor, prior: float, pull: float
    ) -> None:
        self.squares = (votes - means.unsqueeze(-3)).square()
        scales = prior + sum_over_children(weights, self.squares)
        self.scales = scales + pull * means.square()

    def log_determinant(self) -> Tensor:
        """Return that of the scale, (..., caps_out)."""
        return self.scales.log().sum(dim=-1)

    def distances(self, factors: Tensor) -> Tensor:
        """Return the votes' Mahalanobis distances times a factor of each parent."""
        scaled = factors.unsqueeze(-1) / self.scales
        # As one product, a compiler of torch 2.13 finds no way back.
        return (self.squares * scaled.unsqueeze(-3)).sum(dim=-1)


class Full:
    """Scales (..., caps_out, dim, dim), as their Cholesky factors."""

    def __init__(
        self, votes: Tensor, means: Tensor, weights: Tensor, prior: float, pull: float
    ) -> None:
        # By parents: (..., caps_out, dim, caps_in).
        self.deviations = (votes - means.unsqueeze(-3)).movedim(-3, -1)
        scales = (self.deviations * weights.mT.unsqueeze(-2)) @ self.deviations.mT
        scales = scales + pull * means.unsqueeze(-1) * means.unsqueeze(-2)
        identity = torch.eye(means.shape[-1], dtype=means.dtype, device=means.device)
        self.factors = torch.linalg.cholesky(scales + prior * identity)

    def log_determinant(self) -> Tensor:
        """Return that of the scale, (..., caps_out)."""
        diagonals: Tensor = self.factors.diagonal(dim1=-2, dim2=-1)
        return 2 * diagonals.log().sum(dim=-1)

    def distances(self, factors: Tensor) -> Tensor:
        """Return the votes' Mahalanobis distances times a factor of each parent."""
        white: Tensor = torch.linalg.solve_triangular(
            self.factors, self.deviations, upper=False
        )
        return factors.unsqueeze(-2) * white.square().sum(dim=-2).mT


# By scikit-learn's names.
COVARIANCES: dict[str, type[Diagonal] | type[Full]] = {"diag": Diagonal, "full": Full}
