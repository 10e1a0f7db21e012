"""Normalizations of the Efficient-CapsNet stem."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skcaps.functional._precision import at_least_float32

# Keras' default; PyTorch's is 1e-5.
_EPS = 1e-3


class BatchNorm(nn.BatchNorm2d):
    r"""Batch normalization in which a sample of weight two counts as two.

    With sample weights :math:`w_b` the statistics of a channel are the weighted mean
    and the weighted (biased) variance over batch, height and width, so a sample of
    weight zero has no influence and an integer weight equals repetition. A batch of
    zero weights leaves the running statistics as they are.

    The running statistics follow a decay that grows with the number of batches seen,
    :math:`\min(0.99, t / (t + 9))`: they are usable after a few batches and end with
    the decay of the paper's code.

    Parameters
    ----------
    channels : int
        Number of channels.
    affine : bool, default=True
        Whether each channel has a trained scale and shift.
    eps : float, default=1e-3
        Added to the variance.

    Notes
    -----
    Shapes: ``(batch, channels, height, width)`` to the same. The running variance is
    the biased one, so that weighted and repeated samples agree.

    References
    ----------
    Ioffe and Szegedy (2015), "Batch normalization", algorithm 1. Epsilon (1e-3) and
    decay (0.99) are those of the code released with Efficient-CapsNet.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import BatchNorm
    >>> BatchNorm(4)(torch.rand(2, 4, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, *, affine: bool = True, eps: float = _EPS
    ) -> None:
        super().__init__(channels, eps=eps, momentum=0.01, affine=affine)

    def forward(self, x: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize `x`, shape ``(batch, channels, height, width)``."""
        if not self.training:
            return super().forward(x)
        if sample_weight is None and x.numel() > x.shape[1]:
            return self._plain(x)
        if sample_weight is None:
            sample_weight = x.new_ones(len(x))
        return self._weighted(x, sample_weight)

    def _plain(self, x: Tensor) -> Tensor:
        mean = torch.zeros_like(self.running_mean)
        var = torch.ones_like(self.running_var)
        # Momentum 1 hands out the statistics of this batch alone.
        out = F.batch_norm(x, mean, var, self.weight, self.bias, True, 1.0, self.eps)
        n = x.numel() // x.shape[1]
        self._track(mean, var * ((n - 1) / n))
        return out

    def _weighted(self, x: Tensor, sample_weight: Tensor) -> Tensor:
        wide = at_least_float32(x)
        total = sample_weight.sum()
        share = (sample_weight / torch.where(total > 0, total, 1)).to(wide.dtype)
        share = share[:, None, None, None] / (x.shape[2] * x.shape[3])
        mean = (share * wide).sum((0, 2, 3))
        centred = wide - mean[:, None, None]
        var = (share * centred.square()).sum((0, 2, 3))
        self._track(mean.detach(), var.detach(), total > 0)
        scale = torch.rsqrt(var + self.eps)
        if not self.affine:
            return (centred * scale[:, None, None]).to(x.dtype)
        scale = self.weight * scale
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, counts: Tensor | bool = True) -> None:
        # Tensors, not numbers: reading them back would stall a GPU.
        step = self.num_batches_tracked.to(self.running_mean.dtype)
        rate = (9 / (step + 9)).clamp_min(self.momentum) * counts
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(var.to(self.running_var.dtype), rate)
        self.num_batches_tracked += counts


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalization as in the Efficient-CapsNet for smallNORB.

    Scale and shift start uniform within 0.05 of zero, as in the released code.

    Parameters
    ----------
    channels : int
        Number of channels.

    Notes
    -----
    Shapes: ``(batch, channels, height, width)`` to the same.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky (2016), "Instance normalization".

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import InstanceNorm
    >>> InstanceNorm(4)(torch.rand(2, 4, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS, affine=True)
        nn.init.uniform_(self.weight, -0.05, 0.05)
        nn.init.uniform_(self.bias, -0.05, 0.05)

    def forward(self, x: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize every image by itself; sample weights have no part in it."""
        return super().forward(x)
