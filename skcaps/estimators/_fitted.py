"""A trained network with all that belongs to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skcaps.estimators import _inputs
from skcaps.estimators._labels import Labels
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._machine import Machine, undisturbed
from skcaps.estimators._range import from_unit, to_unit
from skcaps.functional import Routed, lengths
from skcaps.nn import CapsuleNetwork

# Large enough to fill a CPU or GPU, small enough for large images.
_BATCH = 128
# The rounding of a matrix product depends on its number of rows. For images of few
# numbers it is cheap to keep that number fixed, so that a sample's results do not
# depend on the samples beside it.
_FEW_FEATURES = 64
_FIXED_BATCH = 32


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """What a classifier knows after `fit`.

    Attributes
    ----------
    network : CapsuleNetwork
    architecture : dict
        The arguments of the function that built the network.
    layout : ImageLayout
    input_range : tuple of float
        Values that become 0 and 1.
    labels : Labels
    machine : Machine
    loss : str
        That trained the lengths, a key of `skcaps.functional.LOSSES`.
    seed : int
        Of all random draws.
    n_trainings : int
        Calls of `fit` and `partial_fit` so far; each draws anew.
    """

    network: CapsuleNetwork
    architecture: dict[str, Any]
    layout: ImageLayout
    input_range: tuple[float, float]
    labels: Labels
    machine: Machine
    loss: str
    seed: int
    n_trainings: int = 0

    @torch.inference_mode()
    def map(
        self, function: Callable[..., Tensor], rows: np.ndarray, *beside: np.ndarray
    ) -> np.ndarray:
        """Apply a function to batches of images and join the results.

        Parameters
        ----------
        function : callable
            Maps images (batch, channels, height, width), values from 0 to 1, and the
            parts of `beside` to a tensor (batch, ...).
        rows : ndarray of shape (n_samples, n_features)
        *beside : ndarray of shape (n_samples, ...)
            Handed out together with the rows.

        Returns
        -------
        results : ndarray of shape (n_samples, ...)
            Of the machine's dtype, or what is no floating-point number as it is.
        """
        device, dtype = self.machine.device, self.machine.dtype

        def apply(batch: list[Tensor]) -> Tensor:
            part, *others = (tensor.to(device) for tensor in batch)
            unit = to_unit(part, self.input_range).to(dtype)
            found = function(self.layout.to_images(unit), *others)
            return (found.to(dtype) if found.is_floating_point() else found).cpu()

        with undisturbed(device):
            batches = _batches(rows, *beside, most=self._most_images())
            return _join(map(apply, batches), len(rows)).numpy()

    def _most_images(self) -> int:
        """Return how many images are mapped at a time."""
        pixels = getattr(self.network, "pixels_at_a_time", None)
        _, height, width = self.layout.shape
        return _BATCH if pixels is None else max(1, pixels // (height * width))

    def run(self, images: Tensor) -> Any:
        """Call the network, its convolutions in bfloat16 if they should.

        What is made of its result is not: the images of a decoder would have 8 bits.

        Raises
        ------
        ValueError
            If a pose or an activation is infinite or NaN.
        """
        with self.machine.autocast():
            routed = self.network(images)
        found = (routed.poses, _filled_in(routed))
        if not all(torch.isfinite(values).all() for values in found):
            low, high = from_unit(torch.stack(images.aminmax()), self.input_range)
            raise ValueError(
                "The network's output is not finite for images of X with values from "
                f"{low:g} to {high:g}; those of the training images are from "
                f"{self.input_range[0]:g} to {self.input_range[1]:g}."
            )
        return routed

    def decode(self, routed: Routed, encoded: Tensor | None = None) -> Tensor:
        """Decode capsules to images (batch, channels, height, width).

        Parameters
        ----------
        routed : Routed
            Poses (batch, n_classes, pose_dim) and activations.
        encoded : Tensor, optional
            The classes, as from `Labels.encode`; by default the active ones.
        """
        poses = routed.poses
        if encoded is None:
            encoded = self.labels.decide(class_activations(routed))
        targets = self.labels.to_rows(encoded, poses.dtype)
        marks = self.labels.mark(encoded)
        return self.labels.decode(self.network, poses, targets, marks)


def class_activations(routed: Routed) -> Tensor:
    """Return activations below 1; rounding may make one of a long capsule larger."""
    found = _filled_in(routed)
    return found.clamp(max=1 - torch.finfo(found.dtype).eps / 2)


def class_lengths(routed: Routed) -> Tensor:
    """Return lengths; where they are the activations, below 1."""
    found = lengths(routed.poses)
    return torch.where(found == _filled_in(routed), class_activations(routed), found)


def _filled_in(routed: Routed) -> Tensor:
    """Return the activations, which a capsule layer fills in where it has to."""
    assert routed.activations is not None
    return routed.activations


def _join(parts, n_rows):
    """Copy parts below each other, up to so many rows, and keep none of them."""
    first = next(parts)
    joined = first.new_empty(n_rows, *first.shape[1:])
    start = 0
    for part in itertools.chain([first], parts):
        target = joined[start : start + len(part)]
        target.copy_(part[: len(target)])
        start += len(target)
    return joined


def _batches(rows, *beside, most=_BATCH):
    """Yield lists of tensors; after the last row its copies may follow."""
    fixed = rows.shape[1] <= _FEW_FEATURES
    size = _FIXED_BATCH if fixed else most
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        batch = [_inputs.as_tensor(rows[part])]
        batch += [torch.from_numpy(other[part]) for other in beside]
        yield [_pad(tensor, size) for tensor in batch] if fixed else batch


def _pad(batch, size):
    missing = size - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
