"""Masking: which capsules the decoder gets to see."""

from typing import NamedTuple

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape
from skcaps.functional._lengths import lengths


class MaskedLabels(NamedTuple):
    """What `mask_each_label` returns.

    Attributes
    ----------
    poses : Tensor of shape (n_pairs, caps, dim)
        One masked copy for each pair of a sample and one of its labels.
    samples : Tensor of shape (n_pairs,), int64
        Index of the sample that each copy came from.
    """

    poses: Tensor
    samples: Tensor


def mask_by_label(poses: Tensor, targets: Tensor) -> Tensor:
    """Zero every capsule whose target is 0.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps, dim)
        Class capsules.
    targets : Tensor of shape (batch, caps)
        Non-zero where the class is present. Several may be.

    Returns
    -------
    Tensor of shape (batch, caps, dim)
        The masked poses.

    Raises
    ------
    ValueError
        If `targets` does not have the shape above.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 4.1.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import mask_by_label
    >>> mask_by_label(torch.ones(1, 2, 3), torch.tensor([[0, 1]]))
    tensor([[[0., 0., 0.],
             [1., 1., 1.]]])
    """
    check_shape("targets", targets, poses.shape[:2])
    return poses.masked_fill((targets == 0).unsqueeze(-1), 0)


def mask_by_length(poses: Tensor) -> Tensor:
    """Zero every capsule but the longest of each sample (the first of equals).

    Parameters
    ----------
    poses : Tensor of shape (batch, caps, dim)
        Class capsules.

    Returns
    -------
    Tensor of shape (batch, caps, dim)
        The masked poses.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 4.1.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import mask_by_length
    >>> mask_by_length(torch.tensor([[[3.0, 4.0], [1.0, 0.0]]]))
    tensor([[[3., 4.],
             [0., 0.]]])
    """
    return _keep_one(poses, lengths(poses).argmax(dim=1))


def mask_each_label(poses: Tensor, targets: Tensor) -> MaskedLabels:
    """Make one masked copy of the poses for every label of every sample.

    An image with two digits is reconstructed twice, once from each digit's capsule.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps, dim)
        Class capsules.
    targets : Tensor of shape (batch, caps)
        Non-zero where the class is present. Several may be, or none.

    Returns
    -------
    MaskedLabels
        Poses (n_pairs, caps, dim) and the samples (n_pairs,) they came from, ordered
        by sample, then by label.

    Raises
    ------
    ValueError
        If `targets` does not have the shape above.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 6.2.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import mask_each_label
    >>> targets = torch.tensor([[1, 0, 1], [0, 1, 1]])
    >>> masked = mask_each_label(torch.ones(2, 3, 4), targets)
    >>> masked.poses.shape, masked.samples
    (torch.Size([4, 3, 4]), tensor([0, 0, 1, 1]))
    """
    check_shape("targets", targets, poses.shape[:2])
    samples, labels = torch.nonzero(targets, as_tuple=True)
    return MaskedLabels(_keep_one(poses[samples], labels), samples)


def _keep_one(poses: Tensor, kept: Tensor) -> Tensor:
    """Zero all capsules of each sample but one."""
    caps = torch.arange(poses.shape[1], device=poses.device)
    return poses.masked_fill((caps != kept.unsqueeze(1)).unsqueeze(-1), 0)
