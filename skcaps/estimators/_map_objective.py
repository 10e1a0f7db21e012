"""What the training of a segmenter minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.estimators._masks import MaskLabels
from skcaps.estimators._objective import Batch
from skcaps.functional import MAP_LOSSES
from skcaps.nn import SegmentationNetwork


class MapSettings(NamedTuple):
    """All that distinguishes an objective from another.

    Attributes
    ----------
    labels : MaskLabels
    loss : str
        A key of `skcaps.functional.MAP_LOSSES`.
    reconstruction_weight : float
        Factor of the mean squared error of the known pixels.
    class_weight : tuple of float or None
        Of the background and each capsule's class.
    in_bfloat16 : bool
        Whether convolutions run in bfloat16.
    """

    labels: MaskLabels
    loss: str
    reconstruction_weight: float
    class_weight: tuple[float, ...] | None
    in_bfloat16: bool


class MapObjective(nn.Module):
    """A loss on the lengths at every pixel, plus the weighted reconstruction error."""

    def __init__(self, settings: MapSettings):
        super().__init__()
        self.settings = settings

    def forward(
        self,
        network: SegmentationNetwork,
        batch: Batch,
        progress: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the lengths (batch, caps, height, width).

        No loss of maps changes with `progress`, the share of the training that is done.
        """
        _, loss_name, reconstruction_weight, weight, in_bfloat16 = self.settings
        images, masks, *_ = batch
        class_weight = None if weight is None else images.new_tensor(weight)
        with torch.autocast(images.device.type, torch.bfloat16, in_bfloat16):
            poses, _, found = network(images)
            loss = MAP_LOSSES[loss_name](found, masks, class_weight)
            if network.decoder is not None and reconstruction_weight:
                decoded = network.reconstruct(mask_poses(poses, masks))
                error = _reconstruction_error(decoded.to(images.dtype), images, masks)
                loss = loss + reconstruction_weight * error
        return loss, found

    def accuracy(self, found: Tensor, batch: Batch) -> Tensor:
        """Return the share of known pixels whose class is found."""
        return self.settings.labels.is_right(found, batch.targets).float().mean()


def mask_poses(poses: Tensor, masks: Tensor) -> Tensor:
    """Set the poses of all capsules to zero but those of each pixel's class."""
    numbers = torch.arange(1, poses.shape[1] + 1, device=masks.device)
    chosen = masks.unsqueeze(1) == numbers.view(-1, 1, 1)
    return poses * chosen.unsqueeze(2)


def _reconstruction_error(decoded: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """Mean squared error of the known pixels; of the background nothing should be."""
    known = (masks >= 0).unsqueeze(1)
    wanted = images * (masks > 0).unsqueeze(1)
    errors = (decoded - wanted).square().mean(dim=1, keepdim=True) * known
    return errors.sum() / known.sum().clamp(min=1)
