"""Shares: how a child divides itself over its parents, and a parent over its children.

Couplings come as logarithms. A parent whose children all prefer another one has
couplings that are 0 in floating point, but it still is where those children say that
are least against it: only the differences of the logarithms count.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Maps logits (..., caps_in, caps_out) to logarithms of couplings of the same shape.
LogSoftmax = Callable[[Tensor], Tensor]

# exp of it is large, and finite in float32.
_HIGHEST = 60.0


def softmax_over(dim: int, logits: Tensor, leaky: bool = False) -> Tensor:
    """Return the softmax over an axis; if leaky, beside one more logit, which is 0."""
    if not leaky:
        return torch.softmax(logits, dim)
    n_parents = logits.shape[dim]
    orphan = torch.zeros_like(logits.narrow(dim, 0, 1))
    with_orphan = torch.cat([logits, orphan], dim)
    return torch.softmax(with_orphan, dim).narrow(dim, 0, n_parents)


def over_parents(logits: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the parents, the last axis."""
    return torch.log_softmax(logits, dim=-1)


def over_children(log_coupling: Tensor, activations: Tensor) -> Tensor:
    """Divide each parent among its children, in proportion to coupling * activation.

    The result, (..., caps_in, caps_out), sums to 1 over `caps_in`. It is linear in the
    activations but for that sum, so that a child that is not there has its gradient.
    """
    active = present(activations).unsqueeze(-1)
    seen = torch.where(active > _absent(active), log_coupling, -torch.inf)
    highest = seen.amax(dim=-2, keepdim=True).detach()
    # Where a parent sees none, -inf would be subtracted from itself.
    highest = highest.clamp(min=torch.finfo(highest.dtype).min)
    parts = active * (log_coupling - highest).clamp(max=_HIGHEST).exp()
    total = parts.sum(dim=-2, keepdim=True)
    return parts / torch.where(total > 0, total, 1)


def present(activations: Tensor) -> Tensor:
    """Return the activations, or ones where no child of a sample has any."""
    anyone = (activations > _absent(activations)).any(dim=-1, keepdim=True)
    return torch.where(anyone, activations, 1)


def _absent(values: Tensor) -> float:
    """Return the activation below which a division has no finite gradient."""
    return float(torch.finfo(values.dtype).tiny ** 0.5)
