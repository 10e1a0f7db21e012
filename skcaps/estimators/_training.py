"""Training by skorch: the one file that knows it."""

from __future__ import annotations

import contextlib
import copy
import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochTimer,
    LRScheduler,
    PassthroughScoring,
)
from skorch.helper import predefined_split
from tqdm.auto import tqdm

from skcaps.estimators import _inputs, _targets
from skcaps.estimators._objective import Batch

# With learning_rate_decay="auto" the rate ends at this share of where it started.
_AUTO_DECAY = 0.01


class ImageDataset(torch.utils.data.Dataset):
    """Rows, encoded labels and weights, handed out in whole batches.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Left where it is, on disk too; only batches are copied.
    targets : ndarray
        As `_targets.encode` gives them.
    sample_weight : ndarray of shape (n_samples,) or None
    layout : ImageLayout
    bounds : tuple of float
        Values that become 0 and 1.
    n_classes : int
    """

    def __init__(self, rows, targets, sample_weight, layout, bounds, n_classes):
        self.rows = rows
        self.targets = targets
        self.sample_weight = sample_weight
        self.layout = layout
        self.bounds = bounds
        self.n_classes = n_classes
        self.indices = np.arange(len(rows))

    def __len__(self):
        return len(self.indices)

    def subset(self, indices):
        """Give the dataset of some samples, sharing the arrays."""
        part = copy.copy(self)
        part.indices = self.indices[indices]
        return part

    def split(self, validation_fraction, generator):
        """Hold out a part, with every class in both parts if `y` has classes."""
        labels = self.targets[self.indices]
        stratify = labels if labels.ndim == 1 else None
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
        return self.subset(train), self.subset(valid)

    def mean_weight(self):
        """Give the mean sample weight, 1 without weights."""
        if self.sample_weight is None:
            return 1.0
        return float(self.sample_weight[self.indices].mean())

    def batch(self, positions, device, dtype) -> Batch:
        """Copy some samples to the device as one batch."""
        indices = self.indices[positions]
        rows = _inputs.as_tensor(self.rows[indices]).to(device)
        images = self.layout.to_images(_inputs.to_unit(rows, self.bounds).to(dtype))
        targets = torch.from_numpy(self.targets[indices]).to(device)
        sample_weight = None
        if self.sample_weight is not None:
            sample_weight = torch.from_numpy(self.sample_weight[indices])
            sample_weight = sample_weight.to(device, dtype)
        targets = _targets.to_rows(targets, self.n_classes, dtype)
        return Batch(images, targets, sample_weight)


class BatchIterator:
    """Slice a dataset into whole batches of nearly equal size.

    Parameters
    ----------
    dataset : ImageDataset
    batch_size : int
        The largest size of a batch.
    shuffle : bool
        Draw a new order, from torch's random state, for every pass.
    device, dtype
        Where and as what the batches are made.
    augmentation : callable or None
        Changes the images of a batch.
    """

    def __init__(self, dataset, batch_size, *, shuffle, device, dtype, augmentation):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.device = device
        self.dtype = dtype
        self.augmentation = augmentation

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        n = len(self.dataset)
        order = torch.randperm(n).numpy() if self.shuffle else np.arange(n)
        for positions in np.array_split(order, len(self)):
            batch = self.dataset.batch(positions, self.device, self.dtype)
            if self.augmentation is not None:
                batch = batch._replace(images=self.augmentation(batch.images))
            yield batch


class StopTraining(Exception):
    """A callback asked for the end of training."""


class CapsuleNet(NeuralNet):
    """skorch's training loop over a capsule network and its objective.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    dtype : torch.dtype
        Of the images.
    augmentation : callable or None
    **kwargs
        As for skorch's `NeuralNet`.
    """

    def __init__(self, module, criterion, *, dtype, augmentation=None, **kwargs):
        self.dtype = dtype
        self.augmentation = augmentation
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        scores = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
        return [
            ("duration", EpochTimer()),
            *(
                (name, PassthroughScoring(name, on_train=name.startswith("train")))
                for name in scores
            ),
        ]

    def get_iterator(self, dataset, training=False):
        """Give whole batches, shuffled for training."""
        return BatchIterator(
            dataset,
            self.batch_size,
            shuffle=training,
            device=self.device,
            dtype=self.dtype,
            augmentation=self.augmentation if training else None,
        )

    def train_step_single(self, batch, **fit_params):
        """Compute loss and gradients of one batch."""
        self._set_training(True)
        loss, lengths = self.criterion_(self.module_, batch)
        loss.backward()
        return self._step(batch, loss, lengths, "train")

    def validation_step(self, batch, **fit_params):
        """Compute the loss of one held-out batch."""
        self._set_training(False)
        with torch.no_grad():
            loss, lengths = self.criterion_(self.module_, batch)
        return self._step(batch, loss, lengths, "valid")

    def _step(self, batch, loss, lengths, prefix):
        accuracy = self.criterion_.accuracy(lengths, batch.targets)
        self.history.record_batch(f"{prefix}_accuracy", accuracy.item())
        return {"loss": loss, "y_pred": lengths}

    def notify(self, method_name, **kwargs):
        """Tell the callbacks; one that raises KeyboardInterrupt wants to stop."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise StopTraining from interrupt

    def train(self, dataset, epochs):
        """Train for some epochs, or until a callback stops.

        Unlike skorch's `partial_fit`, it lets the user's own interrupt through.
        """
        self.notify("on_train_begin", X=dataset, y=None)
        with contextlib.suppress(StopTraining):
            self.fit_loop(dataset, epochs=epochs)
        self.notify("on_train_end", X=dataset, y=None)
        self.module_.eval()

    def epochs(self):
        """Give what was recorded, as a list of plain dicts, one for each epoch."""
        kept = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
        return [
            {
                "epoch": row["epoch"],
                **{name: float(row[name]) for name in kept if name in row},
                "learning_rate": float(row.get("event_lr", self.lr)),
                "duration": row["dur"],
            }
            for row in self.history
        ]


class Progress(Callback):
    """Show one bar over all batches, with loss, accuracy and the time left."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar."""
        batches = len(net.get_iterator(X, training=True))
        self.bar_ = tqdm(total=net.max_epochs * batches, unit="batch")

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        """Move on by one batch."""
        if training:
            self.bar_.update()

    def on_epoch_end(self, net, **kwargs):
        """Show what the epoch reached."""
        row = net.history[-1]
        part = "valid" if "valid_loss" in row else "train"
        self.bar_.set_description(f"epoch {row['epoch']}/{net.max_epochs}")
        self.bar_.set_postfix(
            loss=f"{row[f'{part}_loss']:.4f}",
            accuracy=f"{row[f'{part}_accuracy']:.4f}",
        )

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()


class FiniteLoss(Callback):
    """Stop with a message when the loss is no longer a number."""

    def on_epoch_end(self, net, **kwargs):
        """Look at the epoch's mean loss."""
        loss = net.history[-1, "train_loss"]
        if not math.isfinite(loss):
            raise ValueError(
                f"The training loss became {loss} in epoch {len(net.history)}; lower "
                f"learning_rate, which is {net.lr}, or look for extreme values in X."
            )


class EpochReport(Callback):
    """Forward epochs to scikit-learn's callbacks."""

    def __init__(self, tasks):
        self.tasks = tasks

    def on_epoch_begin(self, net, **kwargs):
        """Open a task."""
        self.tasks.begin()

    def on_epoch_end(self, net, **kwargs):
        """Close the task; a callback may ask to stop."""
        if self.tasks.end():
            raise KeyboardInterrupt


def build_net(network, objective, params, *, device, dtype, n_batches, valid, tasks):
    """Make the skorch net that trains a network as an estimator's parameters say.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    params : dict
        The estimator's parameters.
    device : torch.device
    dtype : torch.dtype
        Of the images.
    n_batches : int
        Training batches in an epoch.
    valid : ImageDataset or None
        The held-out part.
    tasks : EpochTasks or None
        None where no schedule can be followed, in `partial_fit`.

    Returns
    -------
    net : CapsuleNet
        Initialized.
    """
    callbacks = [FiniteLoss()]
    if tasks is not None:
        callbacks += [_decay(params, n_batches), *_stopping(params, valid)]
        callbacks += [Progress()] * bool(params["verbose"]) + [EpochReport(tasks)]
    net = CapsuleNet(
        network,
        objective,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=params["learning_rate"],
        max_epochs=params["max_epochs"],
        batch_size=params["batch_size"],
        train_split=None if valid is None else predefined_split(valid),
        callbacks=callbacks + list(params["callbacks"] or ()),
        augmentation=params["augmentation"],
        dtype=dtype,
        device=device,
        verbose=0,
    )
    return net.initialize()


def _decay(params, n_batches):
    """Lower the rate after every batch, by `learning_rate_decay` in an epoch."""
    decay = params["learning_rate_decay"]
    if decay == "auto":
        decay = _AUTO_DECAY ** (1 / params["max_epochs"])
    return LRScheduler(
        "ExponentialLR", gamma=decay ** (1 / n_batches), step_every="batch"
    )


def _stopping(params, valid):
    if valid is None:
        return []
    return [
        EarlyStopping(
            monitor="valid_loss",
            patience=params["n_iter_no_change"],
            threshold=params["tol"],
            threshold_mode="abs",
            load_best=True,
        )
    ]
