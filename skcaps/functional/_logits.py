"""From the lengths of class capsules to the probabilities of their classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._losses import CROSS_ENTROPY_SCALE
from skcaps.functional._precision import at_least_float32


def odds_logits(lengths: Tensor) -> Tensor:
    r"""Logarithm of the odds that each class is present by itself.

    .. math::
        z_j = \log \frac{a_j}{1 - a_j}

    where :math:`a_j` is the length of capsule :math:`j`, read as the probability that
    its class is there, whatever the others are. Given that exactly one class is there,
    class :math:`j` has the probability :math:`\operatorname{softmax}_j(z)`: it is there
    and all others are not, :math:`a_j \prod_{k \ne j} (1 - a_k)`, divided by the sum of
    these over :math:`j`.

    Parameters
    ----------
    lengths : Tensor of shape (..., caps)
        In [0, 1]; or activations that are no lengths.

    Returns
    -------
    Tensor of shape (..., caps)
        Finite also at lengths of 0 and 1. In float32 for half types.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import odds_logits
    >>> lengths = torch.tensor([0.9, 0.1, 0.1])
    >>> odds_logits(lengths).softmax(dim=0)
    tensor([0.9759, 0.0120, 0.0120])
    """
    wide = at_least_float32(lengths)
    limits = torch.finfo(wide.dtype)
    # The largest number below 1 is half an eps away from it.
    inside = wide.clamp(limits.tiny, 1 - limits.eps / 2)
    return inside.log() - torch.log1p(-inside)


def scaled_logits(lengths: Tensor) -> Tensor:
    """Multiply lengths by the scale with which cross entropy trains their softmax.

    Parameters
    ----------
    lengths : Tensor of shape (..., caps)
        In [0, 1]; or activations that are no lengths.

    Returns
    -------
    Tensor of shape (..., caps)
        In float32 for half types.

    See Also
    --------
    cross_entropy_loss : Trains this softmax.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import scaled_logits
    >>> scaled_logits(torch.tensor([0.9, 0.1]))
    tensor([9., 1.])
    """
    return CROSS_ENTROPY_SCALE * at_least_float32(lengths)


# By the loss that a network is trained with.
LOGITS: dict[str, Callable[[Tensor], Tensor]] = {
    "margin": odds_logits,
    "spread": odds_logits,
    "cross_entropy": scaled_logits,
}
