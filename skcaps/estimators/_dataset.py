"""Images and labels, handed out in whole batches."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from skcaps.estimators import _inputs
from skcaps.estimators._labels import Labels
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._machine import Machine, fits_on
from skcaps.estimators._objective import Batch
from skcaps.estimators._range import to_unit
from skcaps.estimators._sources import Sources
from skcaps.functional import AUGMENTATIONS

# With batch_size="auto" an epoch has so many batches, of sizes between these.
_AUTO_BATCHES = 64
_SMALLEST_AUTO, _LARGEST_AUTO = 16, 64
# So few images are one batch, in which a weight of two is the same as repetition.
_WHOLE = 32


class ImageDataset(torch.utils.data.Dataset):
    """Rows, encoded labels and weights, handed out in whole batches.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Moved to a GPU as a whole if they fit there; otherwise left where they are, on
        disk too, and copied batch by batch.
    encoded : ndarray
        Labels, as from `Labels.encode`.
    sample_weight : ndarray of shape (n_samples,) or None
    layout : ImageLayout
    input_range : tuple of float
        Values that become 0 and 1.
    labels : Labels
    machine : Machine
        Where batches are made, and the dtype of images, targets and weights.
    sources : Sources, optional
        As from `find_sources`.
    """

    def __init__(
        self,
        rows: np.ndarray,
        encoded: np.ndarray,
        sample_weight: np.ndarray | None,
        *,
        layout: ImageLayout,
        input_range: tuple[float, float],
        labels: Labels,
        machine: Machine,
        sources: Sources | None = None,
    ):
        device, dtype = machine.device, machine.dtype
        self.rows = _inputs.move(rows, device) if fits_on(device, rows) else rows
        self.targets = torch.from_numpy(encoded).to(device)
        self.sample_weight = (
            None
            if sample_weight is None
            else torch.tensor(sample_weight, dtype=dtype, device=device)
        )
        self.sources = sources
        self.layout = layout
        self.input_range = input_range
        self.labels = labels
        self.device = device
        self.dtype = dtype
        # On the CPU, so that nothing waits for a GPU to name rows and labels.
        self.encoded = torch.from_numpy(encoded)
        self.indices = torch.arange(len(rows), device="cpu")

    def __len__(self):
        return len(self.indices)

    def subset(self, positions):
        """Return the dataset of some samples, sharing the arrays."""
        part = copy.copy(self)
        part.indices = self.indices[torch.from_numpy(positions)]
        return part

    def split(self, validation_fraction, generator):
        """Hold out a part, with every class in both parts if `y` has classes."""
        encoded = self.encoded[self.indices].numpy()
        stratify = encoded if encoded.ndim == 1 else None
        if stratify is not None:
            self._check_members(encoded)
        try:
            train, valid = train_test_split(
                np.arange(len(self)),
                test_size=validation_fraction,
                random_state=generator,
                stratify=stratify,
            )
        except ValueError as error:
            raise ValueError(
                "early_stopping=True needs a validation part that holds every class: "
                f"{len(self)} samples with validation_fraction={validation_fraction} "
                "are too few; increase either, or set early_stopping=False."
            ) from error
        parts = self.subset(train), self.subset(valid)
        if not all(part.mean_weight() for part in parts):
            raise ValueError(
                "early_stopping=True needs samples of positive sample_weight in the "
                "training and in the validation part; set early_stopping=False."
            )
        return parts

    def _check_members(self, encoded):
        numbers, counts = np.unique(encoded, return_counts=True)
        if counts.min() == 1:
            alone = self.labels.classes[numbers[counts == 1]].tolist()
            raise ValueError(
                "early_stopping=True needs every class in the training and in the "
                f"validation part, and the classes {alone} have one sample; add "
                "samples of them, or set early_stopping=False."
            )

    def mean_weight(self):
        """Return the mean sample weight, 1 without weights."""
        if self.sample_weight is None:
            return 1.0
        return float(self.sample_weight[self.indices].double().mean())

    def sample(self, n_samples) -> Batch:
        """Draw a batch of at most `n_samples`, only of those that count."""
        positions = torch.arange(len(self), device="cpu")
        if self.sample_weight is not None:
            positions = positions[self.sample_weight[self.indices].cpu() > 0]
        return self.batch(positions[torch.randperm(len(positions))[:n_samples]])

    def batch(self, positions) -> Batch:
        """Make a batch of the samples at some positions, a tensor on the CPU."""
        indices = self.indices[positions]
        there = self._send(indices)
        images = self._to_images(self._take(indices, there))
        targets = self.labels.to_rows(self.targets[there], self.dtype)
        weights = None if self.sample_weight is None else self.sample_weight[there]
        marks = self.labels.mark(self.encoded[indices])
        marks = tuple(map(self._send, marks))
        return Batch(images, targets, weights, marks, self._take_sources(indices))

    def augment(self, batch: Batch, augmentation) -> Batch:
        """Change the images of a batch."""
        images = batch.images
        augmented = augmentation(images)
        if not isinstance(augmented, torch.Tensor) or augmented.shape != images.shape:
            is_tensor = isinstance(augmented, torch.Tensor)
            got = tuple(augmented.shape) if is_tensor else type(augmented).__name__
            raise ValueError(
                "augmentation must map a tensor of images to one of the same shape, "
                f"{tuple(images.shape)}, got {got}."
            )
        is_own = augmentation not in AUGMENTATIONS.values()
        if is_own and not torch.isfinite(augmented).all():
            raise ValueError(
                "augmentation must return finite images, got some that are infinite or "
                "NaN."
            )
        return batch._replace(images=augmented.to(images))

    def _to_images(self, rows) -> torch.Tensor:
        unit = to_unit(rows, self.input_range)
        return self.layout.to_images(unit.to(self.dtype))

    def _take_sources(self, indices) -> torch.Tensor | None:
        if self.sources is None:
            return None
        rows = _inputs.as_tensor(self.sources.take(indices.numpy()))
        return self._to_images(self._send(rows))

    def _take(self, indices, there) -> torch.Tensor:
        if isinstance(self.rows, torch.Tensor):
            return self.rows[there]
        return self._send(_inputs.as_tensor(self.rows[indices.numpy()]))

    def _send(self, values: torch.Tensor) -> torch.Tensor:
        """Copy to the device; from pinned memory nothing waits for that."""
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)


def find_batch_size(batch_size, n_samples) -> int:
    """Return the largest size of a batch; "auto" lets small sets have enough steps."""
    if batch_size != "auto":
        return batch_size
    if n_samples <= _WHOLE:
        return _WHOLE
    return min(max(n_samples // _AUTO_BATCHES, _SMALLEST_AUTO), _LARGEST_AUTO)


class BatchIterator:
    """Slice a dataset into whole batches of nearly equal size.

    Parameters
    ----------
    dataset : ImageDataset
    batch_size : int
        The largest size of a batch.
    shuffle : bool
        Draw a new order, from torch's random state, for every pass.
    augmentation : callable or None
        Changes the images of a batch.
    """

    def __init__(self, dataset, batch_size, *, shuffle, augmentation):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augmentation = augmentation

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        n = len(self.dataset)
        # Drawn on the CPU, so that every device sees the same order.
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for positions in order.tensor_split(len(self)):
            batch = self.dataset.batch(positions)
            if self.augmentation is not None:
                batch = self.dataset.augment(batch, self.augmentation)
            yield batch
