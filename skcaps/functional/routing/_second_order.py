"""Gradients that have gradients, for routings with a backward pass of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def differentiate(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return a differentiable gradient of each input that is there and needs one.

    Outputs that nothing depends on, or that are constant, are left out.
    """
    used = [
        (output, grad)
        for output, grad in zip(outputs, grads, strict=True)
        if grad is not None and output.requires_grad
    ]
    wanted = [
        value if needs else None for value, needs in zip(inputs, needed, strict=True)
    ]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in used],
            [value for value in wanted if value is not None],
            [grad for _, grad in used],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [None if value is None else next(found) for value in wanted]
