"""Losses on the lengths of class capsules at every pixel.

A mask holds 0 where no class is, the background, 1 for the first class, and so on, and
a negative number where the class is not known: such a pixel costs nothing and gets no
gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape
from skcaps.functional._precision import at_least_float32


def pixel_cross_entropy_loss(
    lengths: Tensor, masks: Tensor, class_weight: Tensor | None = None
) -> Tensor:
    r"""Binary cross entropy of every capsule at every pixel.

    .. math::
        L = -\frac{1}{N} \sum_p w_{y_p} \sum_k T_{pk} \log a_{pk}
            + (1 - T_{pk}) \log (1 - a_{pk})

    where :math:`a` is ``lengths``, :math:`y_p` the class of pixel :math:`p`, of
    :math:`N` that are known, :math:`T_{pk}` is 1 where it is class :math:`k`, and
    :math:`w` is ``class_weight``.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps, height, width)
        From 0 to 1.
    masks : Tensor of shape (batch, height, width)
        Whole numbers: 0 for the background, 1 to `caps` for the classes, negative for
        what is not known.
    class_weight : Tensor of shape (caps + 1,), optional
        Weights of the background's and the classes' pixels.

    Returns
    -------
    Tensor of shape ()
        Mean over the known pixels. In float32 for half types.

    Raises
    ------
    ValueError
        If `masks` or `class_weight` does not have the shape above.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", section 4.
    arXiv:1804.04241.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import pixel_cross_entropy_loss
    >>> lengths, masks = torch.tensor([[[[0.5, 0.9]]]]), torch.tensor([[[1, -1]]])
    >>> pixel_cross_entropy_loss(lengths, masks)
    tensor(0.6931)
    """
    wide, present = _prepare(lengths, masks)
    limits = torch.finfo(wide.dtype)
    # The cost of a length that is rounded to 0 or 1 stays finite.
    inside = wide.clamp(limits.eps, 1 - limits.eps)
    costs = present * inside.log() + (1 - present) * torch.log1p(-inside)
    return _average(-costs, masks, class_weight)


def pixel_margin_loss(
    lengths: Tensor, masks: Tensor, class_weight: Tensor | None = None
) -> Tensor:
    r"""Margin loss of every capsule at every pixel.

    The squared distance of a class's capsule to 0.9 where the class is, and half of
    that to 0.1 where it is not, beyond these margins.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps, height, width)
        From 0 to 1.
    masks : Tensor of shape (batch, height, width)
        As for `pixel_cross_entropy_loss`.
    class_weight : Tensor of shape (caps + 1,), optional
        Weights of the background's and the classes' pixels.

    Returns
    -------
    Tensor of shape ()
        Mean over the known pixels. In float32 for half types.

    Raises
    ------
    ValueError
        If `masks` or `class_weight` does not have the shape above.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 4.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import pixel_margin_loss
    >>> lengths, masks = torch.tensor([[[[0.5, 0.9]]]]), torch.tensor([[[1, 1]]])
    >>> pixel_margin_loss(lengths, masks)
    tensor(0.0800)
    """
    wide, present = _prepare(lengths, masks)
    costs = (
        present * (0.9 - wide).relu().square()
        + 0.5 * (1 - present) * (wide - 0.1).relu().square()
    )
    return _average(costs, masks, class_weight)


def dice_loss(
    lengths: Tensor, masks: Tensor, class_weight: Tensor | None = None
) -> Tensor:
    r"""One minus the Dice coefficient of lengths and masks, averaged over the classes.

    .. math::
        L = 1 - \frac{1}{\sum_k w_k} \sum_k w_k
            \frac{2 \sum_p T_{pk} a_{pk} + 1}{\sum_p T_{pk} + a_{pk} + 1}

    with the sums over the known pixels of the whole batch, and 1 for a class that no
    pixel has or is said to have.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps, height, width)
        From 0 to 1.
    masks : Tensor of shape (batch, height, width)
        As for `pixel_cross_entropy_loss`.
    class_weight : Tensor of shape (caps + 1,), optional
        Weights of the classes' coefficients; the background's is not used.

    Returns
    -------
    Tensor of shape ()
        From 0 to 1. In float32 for half types.

    Raises
    ------
    ValueError
        If `masks` or `class_weight` does not have the shape above.

    References
    ----------
    Milletari, Navab, Ahmadi (2016). "V-Net: fully convolutional neural networks for
    volumetric medical image segmentation", section 3. arXiv:1606.04797.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import dice_loss
    >>> lengths, masks = torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[0, 1]]])
    >>> dice_loss(lengths, masks)
    tensor(0.1429)
    """
    wide, present = _prepare(lengths, masks)
    known = (masks >= 0).unsqueeze(1)
    axes = (0, 2, 3)
    both = (wide * present * known).sum(axes)
    either = ((wide + present) * known).sum(axes)
    coefficients = (2 * both + 1) / (either + 1)
    if class_weight is None:
        return 1 - coefficients.mean()
    check_shape("class_weight", class_weight, (lengths.shape[1] + 1,))
    weight = class_weight[1:].to(wide.dtype)
    return 1 - coefficients @ weight / weight.sum()


def _prepare(lengths: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return lengths, and ones where a capsule's class is, in one dtype."""
    check_shape("masks", masks, (len(lengths), *lengths.shape[2:]))
    wide = at_least_float32(lengths)
    numbers = torch.arange(1, lengths.shape[1] + 1, device=masks.device)
    present = masks.unsqueeze(1) == numbers.view(-1, 1, 1)
    return wide, present.to(wide.dtype)


def _average(costs: Tensor, masks: Tensor, class_weight: Tensor | None) -> Tensor:
    """Mean over the known pixels; 0 where there is none."""
    known = masks >= 0
    weight = known.to(costs.dtype)
    if class_weight is not None:
        check_shape("class_weight", class_weight, (costs.shape[1] + 1,))
        weight = weight * class_weight.to(costs.dtype)[masks.clamp(min=0).long()]
    return (costs.sum(dim=1) * weight).sum() / known.sum().clamp(min=1)


MAP_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": pixel_cross_entropy_loss,
    "margin": pixel_margin_loss,
    "dice": dice_loss,
}
