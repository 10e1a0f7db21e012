"""Whether a training has taught the network anything."""

from __future__ import annotations

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skcaps.estimators._warnings import warn

_IMAGES = 128
# So few show whether a training of one pass has exploded.
FEW_IMAGES = 16
# Of the activations of a class over all images; one that has learned has tenths.
_ALIKE = 0.01


@torch.no_grad()
def find_fault(network, dataset, learning_rate) -> str | None:
    """Say how the activations show that nothing was learned, if they do.

    Parameters
    ----------
    network : CapsuleNetwork
        In evaluation.
    dataset : ImageDataset
        What was trained on; some of it is looked at, drawn at random.
    learning_rate : float
        Named in the message.

    Raises
    ------
    ValueError
        If activations are infinite or NaN.
    """
    batch = dataset.sample(_IMAGES)
    found = check_output(network, batch, learning_rate)
    return _find_fault(found, dataset.labels.is_right(found, batch.targets), batch)


@torch.no_grad()
def check_output(network, batch, learning_rate) -> Tensor:
    """Return the activations of a batch, or raise a ValueError if one is none."""
    # Called as a module, a compiled network would compile once more.
    found = network.forward(batch.images).activations
    if not torch.isfinite(found).all():
        raise ValueError(
            "The trained network returns capsules that are infinite or NaN; lower "
            f"learning_rate, which is {learning_rate:g}, or look for extreme values in "
            "X."
        )
    return found


def warn_of_fault(fault: str | None, learning_rate: float) -> None:
    """Warn with what to try, if there is a fault."""
    if fault:
        warn(
            f"The network has learned nothing: {fault}. Try more max_epochs or a "
            f"learning_rate below {learning_rate:g}, and look whether X tells the "
            "classes apart.",
            ConvergenceWarning,
        )


def _find_fault(found, is_right, batch) -> str | None:
    n_images = len(found)
    if n_images > 1 and found.std(dim=0).max() < _ALIKE:
        return f"the activations are alike for all of {n_images} training images"
    weight = batch.sample_weight
    if weight is None:
        weight = torch.ones_like(found[:, 0])
    right = float(weight @ is_right.to(weight.dtype) / weight.sum())
    kinds = torch.unique(batch.targets, dim=0, return_inverse=True)[1]
    share = float(torch.bincount(kinds, weight).max() / weight.sum())
    # Where all are of one kind, nothing is better.
    if right <= share < 1:
        return (
            f"it is right for {right:.0%} of {n_images} training images, and the most "
            f"frequent labels are those of {share:.0%}"
        )
    return None
