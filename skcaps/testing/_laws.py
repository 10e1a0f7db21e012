"""What all laws share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.testing import assert_close

TOLERANCE = 1e-9


@contextmanager
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed every CUDA device too.
        torch.default_generator.manual_seed(0)
        yield


def hold(law: str, holds: bool, found: str) -> None:
    if not holds:
        raise AssertionError(f"{law}: {found}.")


def close(
    law: str, found: Tensor, expected: Tensor, tolerance: float = TOLERANCE
) -> None:
    try:
        assert_close(found, expected, rtol=tolerance, atol=tolerance)
    except AssertionError as error:
        raise AssertionError(f"{law}: {error}") from error


def check_finite(
    law: str, total: Tensor, leaves: list[Tensor], others: Iterable[Tensor] = ()
) -> None:
    """Check gradients, and that those of the leaves are there."""
    own = [other for other in others if other.requires_grad]
    grads: list[Tensor | None] = [None] * len(leaves)
    if total.requires_grad:
        grads = list(torch.autograd.grad(total, [*leaves, *own], allow_unused=True))
    reached = all(grad is not None for grad in grads[: len(leaves)])
    hold(law, reached, "an input gets none")
    finite = all(grad is None or bool(grad.isfinite().all()) for grad in grads)
    hold(law, finite, "one is infinite or not a number")
