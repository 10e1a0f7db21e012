"""What training minimises."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from skcaps.estimators._machine import autocast
from skcaps.functional import (
    LOSSES,
    lengths,
    mask_by_label,
    mask_each_label,
    reconstruction_loss,
)
from skcaps.nn import CapsuleNetwork


class Batch(NamedTuple):
    """One batch on the training device.

    Attributes
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    targets : Tensor of shape (batch, n_classes)
        Zeros and ones.
    sample_weight : Tensor of shape (batch,) or None
    """

    images: Tensor
    targets: Tensor
    sample_weight: Tensor | None


class Objective(nn.Module):
    """Classification loss plus the weighted reconstruction error.

    Parameters
    ----------
    loss : str
        A key of `skcaps.functional.LOSSES`.
    reconstruction_weight : float
        Factor of the summed squared error of an image.
    weight_scale : float
        Makes the mean of all sample weights one.
    precision : str
        A key of `PRECISIONS`.
    is_multilabel : bool
        Whether an image is the sum of several classes' reconstructions.
    """

    def __init__(
        self, loss, *, reconstruction_weight, weight_scale, precision, is_multilabel
    ):
        super().__init__()
        self.loss = LOSSES[loss]
        self.reconstruction_weight = reconstruction_weight
        self.weight_scale = weight_scale
        self.precision = precision
        self.is_multilabel = is_multilabel

    def forward(self, network: CapsuleNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the loss and the capsule lengths (batch, n_classes)."""
        images, targets, sample_weight = batch
        if sample_weight is not None:
            loss_weight = sample_weight * self.weight_scale
        else:
            loss_weight = None
        with autocast(images.device, self.precision):
            poses = network(images, sample_weight).poses
            found = lengths(poses)
            loss = self.loss(found, targets, loss_weight)
            if network.decoder is not None and self.reconstruction_weight:
                drawn = self._draw(network, poses, targets).to(images.dtype)
                error = reconstruction_loss(drawn, images, loss_weight)
                loss = loss + self.reconstruction_weight * error
        return loss, found

    def accuracy(self, found: Tensor, targets: Tensor) -> Tensor:
        """Share of samples whose label, or whole set of labels, is found."""
        if self.is_multilabel:
            return ((found > 0.5) == targets.bool()).all(1).float().mean()
        return (found.argmax(1) == targets.argmax(1)).float().mean()

    def _draw(self, network: CapsuleNetwork, poses: Tensor, targets: Tensor) -> Tensor:
        if not self.is_multilabel:
            return network.reconstruct(mask_by_label(poses, targets))
        return draw_each_label(network, poses, targets)


def draw_each_label(network: CapsuleNetwork, poses: Tensor, targets: Tensor) -> Tensor:
    """Draw every true class by itself and add the images of a sample.

    So that one digit of two that overlap can later be drawn alone.

    Parameters
    ----------
    network : CapsuleNetwork
        With a decoder.
    poses : Tensor of shape (batch, n_classes, pose_dim)
    targets : Tensor of shape (batch, n_classes)
        Zeros and ones.

    Returns
    -------
    images : Tensor of shape (batch, channels, height, width)
        All zero for a sample without labels.
    """
    masked = mask_each_label(poses, targets)
    parts = network.reconstruct(masked.poses)
    whole = parts.new_zeros((len(poses), *parts.shape[1:]))
    return whole.index_add(0, masked.samples, parts)
