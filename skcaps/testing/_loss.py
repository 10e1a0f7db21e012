"""The laws of losses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.testing._laws import check_finite, close, hold


def check_loss(loss: Callable[..., Tensor]) -> None:
    """Run the laws of losses on a function, in float64 on the CPU.

    Parameters
    ----------
    loss : callable
        Called as ``loss(lengths, targets, sample_weight)``, with lengths and targets of
        shape ``(batch, n_classes)`` and weights of shape ``(batch,)`` or None; returns
        a number, ``sum(sample_weight * loss) / batch``.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws: one finite
        number, at least 0; a right answer costs less than a wrong one; the order of
        images and of classes makes no difference; the weights count as above;
        gradients are there and finite.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 3.

    Examples
    --------
    >>> from skcaps.functional import margin_loss
    >>> from skcaps.testing import check_loss
    >>> check_loss(margin_loss)
    """
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    targets = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 1, 1]]
    weight = torch.tensor([2.0, 0.0, 1.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    whole = loss(found, targets, None)
    hold("one number", whole.ndim == 0, f"got the shape {tuple(whole.shape)}")
    value = whole.item()
    hold("at least 0", 0 <= value < torch.inf, f"got {value}")
    right, wrong = 0.1 + 0.8 * targets, 0.9 - 0.8 * targets
    right_value, wrong_value = (
        loss(answer, targets, None).item() for answer in (right, wrong)
    )
    hold(
        "a right answer costs less",
        right_value < wrong_value,
        f"the right one costs {right_value:.4g}, the wrong one {wrong_value:.4g}",
    )
    close("order of the images", loss(found.flip(0), targets.flip(0), None), whole)
    close("order of the classes", loss(found.flip(1), targets.flip(1), None), whole)
    each = torch.stack(
        [loss(found[i : i + 1], targets[i : i + 1], None) for i in range(len(found))]
    )
    close("mean over the images", each.mean(), whole)
    weighted = loss(found, targets, weight)
    close("weights of the images", (weight * each).mean(), weighted)
    for lowest in (0.0, 0.5):
        leaf = (lowest * found).requires_grad_()
        check_finite("finite gradients", loss(leaf, targets, weight), [leaf])
