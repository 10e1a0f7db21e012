"""Losses on capsule lengths, or activations, and the reconstruction loss.

Sample weights are not renormalized: a batch gives
``sum(sample_weight * loss) / batch``, so that the batches of one epoch add up to the
weighted objective.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape
from skcaps.functional._precision import at_least_float32

Loss = Callable[..., Tensor]
# Lengths lie in [0, 1), which alone could not make the softmax confident.
CROSS_ENTROPY_SCALE = 10.0


def margin_loss(
    lengths: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None = None,
    *,
    m_plus: float = 0.9,
    m_minus: float = 0.1,
    down_weight: float = 0.5,
) -> Tensor:
    r"""Margin loss: true capsules long, the others short, each class on its own.

    .. math::
        L = \sum_k T_k \max(0, m^+ - \lVert v_k \rVert)^2
            + \lambda (1 - T_k) \max(0, \lVert v_k \rVert - m^-)^2

    where :math:`\lVert v_k \rVert` is ``lengths``, :math:`T_k` is ``targets``,
    :math:`m^+` is ``m_plus``, :math:`m^-` is ``m_minus`` and :math:`\lambda` is
    ``down_weight``.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps)
        Length of each class capsule, or its activation where that is no length.
    targets : Tensor of shape (batch, caps)
        1 where the class is present, else 0. Several may be.
    sample_weight : Tensor of shape (batch,), optional
        Weight of each sample; not renormalized.
    m_plus : float, default=0.9
        A true capsule at least this long costs nothing.
    m_minus : float, default=0.1
        A false capsule at most this long costs nothing.
    down_weight : float, default=0.5
        Weight of the false capsules.

    Returns
    -------
    Tensor of shape ()
        Sum over the classes, then ``sum(sample_weight * loss) / batch``. In float32
        for half types.

    Raises
    ------
    ValueError
        If `targets` or `sample_weight` does not have the shape above.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 4.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import margin_loss
    >>> lengths = torch.tensor([[0.8, 0.2, 0.0]])
    >>> targets = torch.tensor([[1.0, 0.0, 0.0]])
    >>> round(margin_loss(lengths, targets).item(), 4)
    0.015
    """
    wide, targets = _prepare(lengths, targets)
    present = (m_plus - wide).relu().square()
    absent = (wide - m_minus).relu().square()
    per_class = targets * present + down_weight * (1 - targets) * absent
    return _average(per_class.sum(dim=1), sample_weight)


def spread_loss(
    lengths: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None = None,
    *,
    margin: float | Tensor = 0.9,
) -> Tensor:
    r"""Spread loss: every true capsule longer than every other by a margin.

    .. math::
        L = \sum_{t \,:\, T_t = 1} \ \sum_{i \,:\, T_i = 0}
            \max\big(0, m - (a_t - a_i)\big)^2

    where :math:`a` is ``lengths``, :math:`T` is ``targets`` and :math:`m` is
    ``margin``. The paper has one true class; with several the pairs are summed.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps)
        Length of each class capsule, or its activation where that is no length.
    targets : Tensor of shape (batch, caps)
        1 where the class is present, else 0. Several may be.
    sample_weight : Tensor of shape (batch,), optional
        Weight of each sample; not renormalized.
    margin : float or Tensor of shape (), default=0.9
        The wanted gap. The paper raises it from 0.2 to 0.9 during training, and so do
        the classifiers.

    Returns
    -------
    Tensor of shape ()
        Sum over the pairs, then ``sum(sample_weight * loss) / batch``. In float32 for
        half types.

    Raises
    ------
    ValueError
        If `targets` or `sample_weight` does not have the shape above.

    References
    ----------
    Hinton, Sabour, Frosst (2018). "Matrix capsules with EM routing", equation 3.
    International Conference on Learning Representations.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import spread_loss
    >>> lengths = torch.tensor([[0.8, 0.2, 0.0]])
    >>> targets = torch.tensor([[1.0, 0.0, 0.0]])
    >>> round(spread_loss(lengths, targets).item(), 4)
    0.1
    """
    wide, targets = _prepare(lengths, targets)
    gaps = wide.unsqueeze(2) - wide.unsqueeze(1)
    pairs = targets.unsqueeze(2) * (1 - targets).unsqueeze(1)
    per_pair = pairs * (margin - gaps).relu().square()
    return _average(per_pair.sum(dim=(1, 2)), sample_weight)


def cross_entropy_loss(
    lengths: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None = None,
    *,
    scale: float = CROSS_ENTROPY_SCALE,
) -> Tensor:
    r"""Cross entropy of the softmax over scaled lengths.

    .. math::
        L = -\sum_k \frac{T_k}{\sum_l T_l} \log \operatorname{softmax}_k(\alpha a_k)

    where :math:`a` is ``lengths``, :math:`T` is ``targets`` and :math:`\alpha` is
    ``scale``. A sample without a label costs 0.

    Parameters
    ----------
    lengths : Tensor of shape (batch, caps)
        Length of each class capsule, or its activation where that is no length.
    targets : Tensor of shape (batch, caps)
        1 where the class is present, else 0. Several may be.
    sample_weight : Tensor of shape (batch,), optional
        Weight of each sample; not renormalized.
    scale : float, default=10.0
        Lengths lie in [0, 1), which alone could not make the softmax confident.

    Returns
    -------
    Tensor of shape ()
        ``sum(sample_weight * loss) / batch``. In float32 for half types.

    Raises
    ------
    ValueError
        If `targets` or `sample_weight` does not have the shape above.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import cross_entropy_loss
    >>> lengths = torch.tensor([[0.8, 0.2, 0.0]])
    >>> targets = torch.tensor([[1.0, 0.0, 0.0]])
    >>> round(cross_entropy_loss(lengths, targets).item(), 4)
    0.0028
    """
    wide, targets = _prepare(lengths, targets)
    count = targets.sum(dim=1, keepdim=True)
    shares = targets / torch.where(count == 0, 1, count)
    log_likelihood = shares * torch.log_softmax(scale * wide, dim=1)
    return _average(-log_likelihood.sum(dim=1), sample_weight)


def reconstruction_loss(
    reconstructions: Tensor, images: Tensor, sample_weight: Tensor | None = None
) -> Tensor:
    r"""Sum the squared errors of each image.

    .. math::
        L = \sum_p (\hat x_p - x_p)^2

    where :math:`\hat x` is ``reconstructions``, :math:`x` is ``images`` and :math:`p`
    runs over channels, rows and columns: a sum, not a mean, so a weight for it that
    suits one image size means something else on another.

    Parameters
    ----------
    reconstructions : Tensor of shape (batch, ...)
        Reconstructed images.
    images : Tensor of shape (batch, ...)
        The images, of the same shape.
    sample_weight : Tensor of shape (batch,), optional
        Weight of each sample; not renormalized.

    Returns
    -------
    Tensor of shape ()
        ``sum(sample_weight * loss) / batch``. In float32 for half types.

    Raises
    ------
    ValueError
        If `images` or `sample_weight` does not have the shape above.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 4.1.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import reconstruction_loss
    >>> reconstruction_loss(torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))
    tensor(16.)
    """
    check_shape("images", images, reconstructions.shape)
    error = at_least_float32(reconstructions) - at_least_float32(images)
    return _average(error.square().flatten(1).sum(dim=1), sample_weight)


LOSSES: dict[str, Loss] = {
    "margin": margin_loss,
    "spread": spread_loss,
    "cross_entropy": cross_entropy_loss,
}


def _prepare(lengths: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Bring both to one dtype; class indices as targets would broadcast silently."""
    check_shape("targets", targets, lengths.shape)
    wide = at_least_float32(lengths)
    return wide, targets.to(wide.dtype)


def _average(per_sample: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Weighted sum over the batch size; an empty batch costs 0, not NaN."""
    if sample_weight is not None:
        check_shape("sample_weight", sample_weight, per_sample.shape)
        per_sample = per_sample * sample_weight.to(per_sample.dtype)
    return per_sample.sum() / max(len(per_sample), 1)
