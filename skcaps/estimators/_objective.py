"""What training minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.estimators._targets import to_one_hot
from skcaps.functional import (
    LOSSES,
    lengths,
    mask_by_label,
    reconstruction_loss,
)
from skcaps.nn import CapsuleNetwork


class LabelPairs(NamedTuple):
    """Every label of every sample.

    Attributes
    ----------
    samples, labels : Tensor of shape (n_pairs,)
    """

    samples: Tensor
    labels: Tensor


def find_pairs(targets: Tensor) -> LabelPairs:
    """Name the labels of samples from an indicator (batch, n_classes)."""
    return LabelPairs(*torch.nonzero(targets, as_tuple=True))


class Batch(NamedTuple):
    """One batch on the training device.

    Attributes
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    targets : Tensor of shape (batch, n_classes)
        Zeros and ones.
    sample_weight : Tensor of shape (batch,) or None
    pairs : LabelPairs or None
        Where `y` is an indicator.
    """

    images: Tensor
    targets: Tensor
    sample_weight: Tensor | None
    pairs: LabelPairs | None = None


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
    in_bfloat16 : bool
        Whether convolutions run in bfloat16.
    """

    def __init__(self, loss, *, reconstruction_weight, weight_scale, in_bfloat16):
        super().__init__()
        self.loss = LOSSES[loss]
        self.reconstruction_weight = reconstruction_weight
        self.weight_scale = weight_scale
        self.in_bfloat16 = in_bfloat16

    @property
    def options(self) -> tuple[object, ...]:
        """All that distinguishes it from another objective."""
        weights = (self.reconstruction_weight, self.weight_scale)
        return (self.loss, *weights, self.in_bfloat16)

    def forward(self, network: CapsuleNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the loss and the capsule lengths (batch, n_classes)."""
        images, sample_weight = batch.images, batch.sample_weight
        if sample_weight is not None:
            loss_weight = sample_weight * self.weight_scale
        else:
            loss_weight = None
        with torch.autocast(images.device.type, torch.bfloat16, self.in_bfloat16):
            poses = network(images, sample_weight).poses
            found = lengths(poses)
            loss = self.loss(found, batch.targets, loss_weight)
            if network.decoder is not None and self.reconstruction_weight:
                drawn = _draw(network, poses, batch).to(images.dtype)
                error = reconstruction_loss(drawn, images, loss_weight)
                loss = loss + self.reconstruction_weight * error
        return loss, found

    def accuracy(self, found: Tensor, batch: Batch) -> Tensor:
        """Share of samples whose label, or whole set of labels, is found."""
        return self.is_right(found, batch).float().mean()

    def is_right(self, found: Tensor, batch: Batch) -> Tensor:
        """Return for which samples the label, or the whole set of labels, is found."""
        if batch.pairs is None:
            return found.argmax(1) == batch.targets.argmax(1)
        return ((found > 0.5) == batch.targets.bool()).all(1)


def _draw(network: CapsuleNetwork, poses: Tensor, batch: Batch) -> Tensor:
    if batch.pairs is None:
        return network.reconstruct(mask_by_label(poses, batch.targets))
    return draw_each_label(network, poses, batch.pairs)


def draw_each_label(
    network: CapsuleNetwork, poses: Tensor, pairs: LabelPairs
) -> Tensor:
    """Draw every true class by itself and add the images of a sample.

    So that one digit of two that overlap can later be drawn alone.

    Parameters
    ----------
    network : CapsuleNetwork
        With a decoder.
    poses : Tensor of shape (batch, n_classes, pose_dim)
    pairs : LabelPairs
        Found beforehand: a GPU that counts labels makes the host wait.

    Returns
    -------
    images : Tensor of shape (batch, channels, height, width)
        All zero for a sample without labels.
    """
    drawn = to_one_hot(pairs.labels, poses.shape[1])
    parts = network.reconstruct(mask_by_label(poses[pairs.samples], drawn))
    whole = parts.new_zeros((len(poses), *parts.shape[1:]))
    return whole.index_add(0, pairs.samples, parts)
