"""Training by skorch: the one file that knows it."""

from __future__ import annotations

import contextlib
import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, LRScheduler
from skorch.helper import predefined_split
from tqdm.auto import tqdm

from skcaps.estimators._dataset import BatchIterator
from skcaps.functional import AUGMENTATIONS

# With learning_rate_decay="auto" the rate ends at this share of where it started.
_AUTO_DECAY = 0.01


class StopTraining(Exception):
    """A callback asked for the end of training."""


class CapsuleNet(NeuralNet):
    """skorch's training loop over a capsule network and its objective.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    augmentation : callable or None
        Changes the images of a training batch.
    **kwargs
        As for skorch's `NeuralNet`.
    """

    def __init__(self, module, criterion, *, augmentation=None, **kwargs):
        self.augmentation = augmentation
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        return [("duration", EpochTimer())]

    def get_iterator(self, dataset, training=False):
        """Give whole batches, shuffled for training."""
        return BatchIterator(
            dataset,
            self.batch_size,
            shuffle=training,
            augmentation=self.augmentation if training else None,
        )

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Go through all batches; read the losses once, after the last one.

        skorch reads the loss of every batch, for which a GPU has to stop each time.
        """
        if iterator is None:
            return
        totals = 0.0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            totals = totals + len(batch.images) * step["means"]
            self.notify("on_batch_end", batch=batch, training=training, **step)
        loss, accuracy = (totals / len(iterator.dataset)).tolist()
        self.history.record(f"{prefix}_loss", loss)
        self.history.record(f"{prefix}_accuracy", accuracy)

    def train_step_single(self, batch, **fit_params):
        """Compute loss and gradients of one batch."""
        self._set_training(True)
        loss, lengths = self.criterion_(self.module_, batch)
        loss.backward()
        return self._report(batch, loss, lengths)

    def validation_step(self, batch, **fit_params):
        """Compute the loss of one held-out batch."""
        self._set_training(False)
        with torch.no_grad():
            loss, lengths = self.criterion_(self.module_, batch)
        return self._report(batch, loss, lengths)

    def _report(self, batch, loss, lengths):
        accuracy = self.criterion_.accuracy(lengths, batch.targets)
        means = torch.stack([loss.detach(), accuracy.to(loss.dtype)])
        return {"loss": loss, "y_pred": lengths, "means": means}

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


def build_net(network, objective, params, *, device, n_batches, valid, tasks):
    """Make the skorch net that trains a network as an estimator's parameters say.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    params : dict
        The estimator's parameters.
    device : torch.device
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
        augmentation=_augmentation(params),
        device=device,
        verbose=0,
    )
    return net.initialize()


def _augmentation(params):
    chosen = params["augmentation"]
    return AUGMENTATIONS[chosen] if isinstance(chosen, str) else chosen


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
