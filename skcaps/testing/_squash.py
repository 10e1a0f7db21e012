"""The laws of squashing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skcaps.functional import lengths
from skcaps.testing._laws import check_finite, close, hold


def check_squash(squash: Callable[[Tensor], Tensor]) -> None:
    """Run the laws of squashing on a function, in float64 on the CPU.

    Parameters
    ----------
    squash : callable
        Maps vectors ``(..., dim)`` to vectors of the same shape.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws: shape and dtype;
        the direction stays; the length is below 1 and grows with that of the vector;
        every vector counts for itself; zero stays zero; gradients are there and finite.

    References
    ----------
    Sabour, Frosst, Hinton (2017), equation 1.

    Examples
    --------
    >>> from skcaps.functional import squash
    >>> from skcaps.testing import check_squash
    >>> check_squash(squash)
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    directions = nn.functional.normalize(directions, dim=-1)
    norms = torch.logspace(-3, 1, 7, dtype=torch.float64)
    vectors = directions * norms.unsqueeze(1)
    found = squash(vectors)
    same = found.shape == vectors.shape and found.dtype == vectors.dtype
    hold("shape and dtype", same, f"got {tuple(found.shape)} of {found.dtype}")
    long = lengths(found)
    close("direction", found, directions * long.unsqueeze(1))
    hold("length below 1", bool((long < 1).all()), f"got {long.max().item():.4g}")
    of_norm = lengths(squash(directions[:1] * norms.unsqueeze(1)))
    hold(
        "growth with the vector",
        bool((of_norm.diff() > 0).all()),
        f"vectors of length {norms.tolist()} became {of_norm.tolist()}",
    )
    alone = torch.stack([squash(vector) for vector in vectors])
    close("independence of the vectors", alone, found)
    zeros = torch.zeros_like(vectors)
    hold("zero stays zero", not squash(zeros).any(), f"got {squash(zeros[0])}")
    for value in (vectors, zeros):
        leaf = value.clone().requires_grad_()
        check_finite("finite gradients", squash(leaf).sum(), [leaf])
