"""Functions that ONNX has no operator for, or only one that rounds coarsely."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# The series is used from here on; what is below is brought up by recurrence.
_SHIFT = 6
# Bernoulli numbers B_2k over 2k, for k from 1. Four keep the graph small.
_COEFFICIENTS = (1 / 12, -1 / 120, 1 / 252, -1 / 240)


def digamma(x: Tensor) -> Tensor:
    r"""Compute `torch.digamma` of positive numbers.

    .. math::
        \psi(x) = \psi(x + 6) - \sum_{k=0}^{5} \frac{1}{x + k}, \qquad
        \psi(y) \approx \ln y - \frac{1}{2y} - \sum_k \frac{B_{2k}}{2k \, y^{2k}}

    with the Bernoulli numbers :math:`B_{2k}` up to :math:`k = 4`, which leaves an error
    of 1.3e-10 before rounding.

    References
    ----------
    Abramowitz, Stegun (1964). "Handbook of mathematical functions", 6.3.5 and 6.3.18.
    """
    steps = torch.arange(_SHIFT, dtype=x.dtype, device=x.device)
    below = (x.unsqueeze(-1) + steps).reciprocal().sum(dim=-1)
    y = x + _SHIFT
    square = y * y
    series = torch.zeros_like(x)
    for coefficient in reversed(_COEFFICIENTS):
        series = (series + coefficient) / square
    return y.log() - 0.5 / y - series - below


def expm1(x: Tensor) -> Tensor:
    r"""Compute `torch.expm1` with a small relative error for small numbers too.

    .. math::
        e^x - 1 = \frac{2 t}{1 - t}, \qquad t = \tanh(x / 2)

    The difference itself is taken from 1 on, where it has lost nothing.
    """
    t = torch.tanh(x / 2)
    return torch.where(x < 1, 2 * t / (1 - t), x.exp() - 1)


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[[Tensor], Tensor]] = {
    torch.ops.aten.digamma.default: digamma,
    torch.ops.aten.expm1.default: expm1,
}
