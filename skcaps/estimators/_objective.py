"""What training minimises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.estimators._labels import Labels, MultiLabel
from skcaps.functional import LOSSES, reconstruction_loss
from skcaps.nn import CapsuleNetwork

# Of the mean squared error of an image: the papers' 0.0005 for the sum over 28x28.
_WEIGHT_OF_MEAN = 0.392


def find_reconstruction_weight(chosen: str | float, image_shape) -> float:
    """Return the factor of the summed squared error of an image of this shape."""
    if isinstance(chosen, str):
        return _WEIGHT_OF_MEAN / math.prod(image_shape)
    return chosen


def find_loss(chosen: str, routing: str, labels: Labels) -> str:
    """Return the loss of the routing's paper, unless one is chosen."""
    if chosen != "auto":
        return chosen
    if isinstance(labels, MultiLabel):
        return "margin"
    return {"em": "spread", "vb": "cross_entropy"}[routing]


def _raised_margin(progress: Tensor) -> dict[str, Tensor]:
    """Raise the margin from 0.2 to 0.9, so that no capsule dies at the start."""
    return {"margin": 0.2 + 0.7 * progress}


# Of a loss that changes while a network is trained: from the share of the training that
# is done, 0 to 1, to what the loss takes.
SCHEDULES: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {"spread": _raised_margin}


class Batch(NamedTuple):
    """One batch on the training device.

    Attributes
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Values in [0, 1].
    targets : Tensor of shape (batch, n_classes)
        Zeros and ones.
    sample_weight : Tensor of shape (batch,) or None
    marks : tuple of Tensor
        As from `Labels.mark`.
    sources : Tensor of shape (marks, channels, height, width) or None
        What lies over each other in the images, in the order of the marks.
    """

    images: Tensor
    targets: Tensor
    sample_weight: Tensor | None
    marks: tuple[Tensor, ...]
    sources: Tensor | None = None


class Settings(NamedTuple):
    """All that distinguishes an objective from another.

    Attributes
    ----------
    labels : Labels
    loss : str
        A key of `skcaps.functional.LOSSES`.
    reconstruction_weight : float
        Factor of the summed squared error of an image.
    weight_scale : float
        Makes the mean of all sample weights one.
    in_bfloat16 : bool
        Whether convolutions run in bfloat16.
    """

    labels: Labels
    loss: str
    reconstruction_weight: float
    weight_scale: float
    in_bfloat16: bool


class Objective(nn.Module):
    """Classification loss plus the weighted reconstruction error."""

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings

    def forward(
        self, network: CapsuleNetwork, batch: Batch, progress: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the activations (batch, n_classes).

        Without `progress`, the share of the training that is done, a loss that changes
        is that of the end.
        """
        labels, loss_name, reconstruction_weight, weight_scale, in_bfloat16 = (
            self.settings
        )
        images, targets, sample_weight, *_ = batch
        if sample_weight is not None:
            loss_weight = sample_weight * weight_scale
        else:
            loss_weight = None
        with torch.autocast(images.device.type, torch.bfloat16, in_bfloat16):
            poses, _, found = network(images, sample_weight)
            options = {}
            if progress is not None and loss_name in SCHEDULES:
                options = SCHEDULES[loss_name](progress)
            loss = LOSSES[loss_name](found, targets, loss_weight, **options)
            if network.decoder is not None and reconstruction_weight:
                decoded, wanted = _decode(labels, network, poses, batch)
                error = reconstruction_loss(
                    decoded.to(images.dtype), wanted, loss_weight
                )
                loss = loss + reconstruction_weight * error
        return loss, found

    def accuracy(self, found: Tensor, batch: Batch) -> Tensor:
        """Return the share of samples whose label, or whole set of labels, is found."""
        right = self.settings.labels.is_right(found, batch.targets)
        return right.float().mean()


def _decode(
    labels: Labels, network: CapsuleNetwork, poses: Tensor, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Return the decoded images of a batch, and what they should be."""
    if batch.sources is None or not isinstance(labels, MultiLabel):
        decoded = labels.decode(network, poses, batch.targets, batch.marks)
        return decoded, batch.images
    shape = (len(batch.images), -1)
    parts = labels.decode_parts(network, poses, batch.marks)
    return parts.reshape(shape), batch.sources.reshape(shape)
