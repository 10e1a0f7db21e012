"""Training by skorch: the one file that knows it."""

from __future__ import annotations

import contextlib
import copy
import math
import time

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, LRScheduler
from skorch.callbacks.scoring import ScoringBase
from skorch.helper import predefined_split
from tqdm.auto import tqdm

from skcaps.estimators._checkpoint import plain
from skcaps.estimators._dataset import BatchIterator
from skcaps.estimators._optimizer import Adam
from skcaps.functional import AUGMENTATIONS, MASK_AUGMENTATIONS

_SECONDS_BETWEEN_LOSSES = 1.0


class StopTraining(Exception):
    """Something has set a net's `stop_training`."""


class CapsuleNet(NeuralNet):
    """skorch's training loop over a capsule network and its objective.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    augmentation : callable or None
        Changes the images of a training batch.
    stream : dict or None
        The estimator's parameters, for a training that later calls go on with.
    n_steps : int or None
        All steps of the training, where it is known how many there will be.
    **kwargs
        As for skorch's `NeuralNet`.

    Attributes
    ----------
    stop_training : bool
        A callback sets it to end the training.
    """

    def __init__(
        self,
        module,
        criterion,
        *,
        augmentation=None,
        stream=None,
        n_steps=None,
        **kwargs,
    ):
        self.augmentation = augmentation
        self.stream = stream
        self.n_steps = n_steps
        self.stop_training = False
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        return [("duration", EpochTimer())]

    def get_iterator(self, dataset, training=False):
        """Return whole batches, shuffled for training."""
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
        if training:
            (group,) = self.optimizer_.param_groups
            self.history.record("learning_rate", group["lr"])
        begin, n_images = time.time(), 0
        totals = torch.zeros(2, device=self.device)
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch)
                totals = totals + len(batch.images) * step["means"]
                n_images += len(batch.images)
                self.notify("on_batch_end", batch=batch, training=training, **step)
        except (StopTraining, KeyboardInterrupt):
            if training and n_images:
                self._record_part(n_images / len(iterator.dataset), begin)
                self._record(prefix, totals / n_images)
            raise
        if training:
            self._record_part(1, begin)
        self._record(prefix, totals / n_images)

    def _record_part(self, fraction, begin):
        if fraction < 1:
            self.history.record("fraction", fraction)
        # Replaced by skorch's timer where the epoch comes to its end.
        self.history.record("dur", time.time() - begin)

    def _record(self, prefix, means):
        loss, accuracy = means.tolist()
        name = f"{prefix}_loss"
        before = [row[name] for row in list(self.history) if name in row]
        self.history.record(name, loss)
        self.history.record(f"{name}_best", loss < min(before, default=math.inf))
        self.history.record(f"{prefix}_accuracy", accuracy)

    def train_step_single(self, batch, **fit_params):
        """Compute loss and gradients of one batch."""
        self._set_training(True)
        loss, found = self.criterion_(self.module_, batch, self._progress())
        loss.backward()
        return self._report(batch, loss, found)

    def _progress(self):
        """Return the share of the training done with this step, if there is an end."""
        if self.n_steps is None:
            return None
        # Not a Python number, for which a compiler would compile every step anew, and
        # filled on the device, so that nothing waits for it.
        share = self.optimizer_.n_steps / self.n_steps
        return torch.full((), share, device=self.device)

    def validation_step(self, batch, **fit_params):
        """Compute the loss of one held-out batch."""
        self._set_training(False)
        with torch.no_grad():
            loss, found = self.criterion_(self.module_, batch)
        return self._report(batch, loss, found)

    def _report(self, batch, loss, found):
        accuracy = self.criterion_.accuracy(found, batch)
        means = torch.stack([loss.detach(), accuracy.to(loss.dtype)])
        return {"loss": loss, "y_pred": found, "means": means}

    def notify(self, method_name, **kwargs):
        """Tell all callbacks, and end the training if one asks for it."""
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt:
                # So it asks; from any other callback it is the user.
                if not isinstance(callback, EarlyStopping):
                    raise
                self.stop_training = True
        if self.stop_training and method_name != "on_train_end":
            raise StopTraining

    def train(self, dataset, epochs):
        """Train for some epochs, or until a callback stops.

        Unlike skorch's `partial_fit`, it lets the user's own interrupt through.
        """
        self.n_epochs_asked = epochs
        self.stop_training = False
        try:
            with contextlib.suppress(StopTraining):
                self.notify("on_train_begin", X=dataset, y=None)
                self.fit_loop(dataset, epochs=epochs)
            self.notify("on_train_end", X=dataset, y=None)
        except KeyboardInterrupt:
            self.notify("on_train_end", X=dataset, y=None)
            raise
        finally:
            self.module_.eval()

    def epochs(self):
        """Return what was recorded, one plain dict for each epoch.

        One that was stopped half-way has the "fraction" of the images trained on.
        """
        losses = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
        kept = (*losses, "learning_rate", "fraction")
        return [
            {
                "epoch": row["epoch"],
                **{name: float(row[name]) for name in kept if name in row},
                "duration": row["dur"],
            }
            for row in self.history
            if "dur" in row
        ]


class Progress(Callback):
    """Show one bar over all batches, with loss, accuracy and the time left."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar."""
        batches = len(net.get_iterator(X, training=True))
        self.bar_ = tqdm(total=net.n_epochs_asked * batches, unit="batch")
        self.first_ = len(net.history)
        self.shown_ = time.monotonic()

    def on_batch_end(self, net, means=None, training=None, **kwargs):
        """Move on by one batch, and show its loss now and then."""
        if not training:
            return
        self.bar_.update()
        # Reading a loss makes a GPU wait.
        if time.monotonic() - self.shown_ > _SECONDS_BETWEEN_LOSSES:
            self._show(net, *means.tolist())

    def on_epoch_end(self, net, **kwargs):
        """Show what the epoch reached."""
        row = net.history[-1]
        part = "valid" if "valid_loss" in row else "train"
        self._show(net, row[f"{part}_loss"], row[f"{part}_accuracy"])

    def _show(self, net, loss, accuracy):
        epoch = len(net.history) - self.first_
        self.bar_.set_description(f"epoch {epoch}/{net.n_epochs_asked}", refresh=False)
        self.bar_.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.4f}")
        self.shown_ = time.monotonic()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()


class FiniteLoss(Callback):
    """Stop with a message when the loss is no longer a number."""

    def __init__(self, advice):
        self.advice = advice

    def on_epoch_end(self, net, **kwargs):
        """Look at the epoch's mean loss."""
        loss = net.history[-1, "train_loss"]
        if not math.isfinite(loss):
            raise ValueError(
                f"The training loss became {loss} in epoch {len(net.history)}; "
                f"{self.advice}, or look for extreme values in X."
            )


class FiniteWeights(Callback):
    """Look at the weights that are handed out: no loss has seen the last step."""

    def __init__(self, advice):
        self.advice = advice

    def on_train_end(self, net, **kwargs):
        """Raise a ValueError for a weight that is no number."""
        weights = net.module_.state_dict().values()
        if not all(torch.isfinite(weight).all() for weight in weights):
            raise ValueError(
                "The last training step has made weights that are infinite or NaN; "
                f"{self.advice}."
            )


class StopWhenFlat(EarlyStopping):
    """skorch's early stopping, which keeps the weights of the lowest loss.

    skorch's own are those of the last fall by more than its threshold.
    """

    lowest_ = math.inf
    best_weights_ = None

    def on_epoch_end(self, net, **kwargs):
        """Look at the epoch's loss."""
        loss = net.history[-1, self.monitor]
        if loss < self.lowest_:
            self.lowest_ = loss
            self.best_weights_ = copy.deepcopy(net.module_.state_dict())
        super().on_epoch_end(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        """Load the best weights, if there are any."""
        if self.best_weights_ is not None:
            net.module_.load_state_dict(self.best_weights_)


class KeepState(Callback):
    """Keep the state of a training in a file; it comes after all that have one."""

    def __init__(self, checkpoint, seed):
        self.checkpoint = checkpoint
        self.seed = seed

    def on_train_begin(self, net, **kwargs):
        """Go on where the training was killed."""
        state = self.checkpoint.state
        if state is None:
            return
        for name, callback in net.callbacks_:
            # What was not there before begins now.
            if name in state["callbacks"]:
                _load_state(callback, state["callbacks"][name])
        self.checkpoint.restore(net)

    def on_epoch_end(self, net, **kwargs):
        """Replace the file."""
        states = {
            name: _get_state(callback)
            for name, callback in net.callbacks_
            if isinstance(callback, (EarlyStopping, LRScheduler))
        }
        self.checkpoint.keep(net, self.seed, states)


def _get_state(callback):
    if isinstance(callback, LRScheduler):
        return callback.lr_scheduler_.state_dict()
    # skorch marks what a training finds like scikit-learn.
    found = vars(callback).items()
    return {name: plain(value) for name, value in found if name.endswith("_")}


def _load_state(callback, state):
    if isinstance(callback, LRScheduler):
        callback.lr_scheduler_.load_state_dict(state)
        return
    for name, value in state.items():
        setattr(callback, name, value)


class EpochReport(Callback):
    """Forward epochs to scikit-learn's callbacks."""

    def __init__(self, tasks):
        self.tasks = tasks

    def on_epoch_begin(self, net, **kwargs):
        """Open a task."""
        self.tasks.begin()

    def on_epoch_end(self, net, **kwargs):
        """Close the task; a callback may ask to stop."""
        net.stop_training |= self.tasks.end()

    def on_train_end(self, net, **kwargs):
        """Close the task of an epoch that was stopped half-way."""
        self.tasks.end()


def build_net(
    network,
    objective,
    params,
    *,
    device,
    batch_size,
    n_images,
    valid,
    tasks,
    kept=None,
):
    """Make the skorch net that trains a network as an estimator's parameters say.

    Parameters
    ----------
    network : CapsuleNetwork
    objective : Objective
    params : dict
        The estimator's parameters.
    device : torch.device
    batch_size : int
        Largest number of images in a batch.
    n_images : int
        Training images in an epoch.
    valid : ImageDataset or None
        The held-out part.
    tasks : EpochTasks or None
        None where no schedule can be followed, in `partial_fit`.
    kept : KeepState or None
        Where the state is kept after every epoch.

    Returns
    -------
    net : CapsuleNet
        Initialized.
    """
    advice = _advice(params)
    callbacks = [FiniteLoss(advice), *[Progress()] * bool(params["verbose"])]
    if tasks is not None:
        # First, since a validation loss is that of the weights before the user's
        # callbacks change them or interrupt.
        callbacks += _stopping(params, valid)
    callbacks += check_callbacks(params["callbacks"], has_valid=valid is not None)
    n_batches = math.ceil(n_images / batch_size)
    if tasks is not None:
        callbacks += [("decay", _decay(params, n_batches)), EpochReport(tasks)]
    callbacks += [FiniteWeights(advice), *([] if kept is None else [kept])]
    net = CapsuleNet(
        network,
        objective,
        optimizer=Adam,
        optimizer__fused=True,
        optimizer__warmup_steps=params["learning_rate_warmup"],
        lr=params["learning_rate"],
        max_epochs=params["max_epochs"],
        batch_size=batch_size,
        stream=params if tasks is None else None,
        n_steps=None if tasks is None else n_batches * params["max_epochs"],
        train_split=None if valid is None else predefined_split(valid),
        callbacks=callbacks,
        augmentation=_augmentation(params),
        device=device,
        verbose=0,
    )
    return net.initialize()


def check_callbacks(callbacks, *, has_valid):
    """Return the user's callbacks as a list.

    Raises
    ------
    TypeError
        If one is no skorch callback, or one that scores predictions, which skorch can
        only do for its own data sets.
    ValueError
        If one watches the loss of a validation part, and there is none.
    """
    callbacks = list(callbacks or ())
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                "callbacks must hold skorch callbacks, or pairs of a name and one, got "
                f"{item!r}."
            )
        if issubclass(kind, ScoringBase):
            raise TypeError(
                f"callbacks must not hold {kind.__name__}, since skorch cannot score "
                "activations; read net.history[-1] in a callback of your own: it "
                "has the loss and the accuracy of training and validation."
            )
        monitor = getattr(callback, "monitor", None)
        if not has_valid and isinstance(monitor, str) and monitor.startswith("valid"):
            raise ValueError(
                f"callbacks holds {kind.__name__}(monitor={monitor!r}), and without "
                "early_stopping=True nothing is held out; set it, or monitor "
                f"{monitor.replace('valid', 'train', 1)!r}."
            )
    return callbacks


def _advice(params):
    """Name the parameters that make a training explode."""
    advice = f"lower learning_rate, which is {params['learning_rate']:g}"
    weight = params.get("reconstruction_weight", "auto")
    if isinstance(weight, str):
        return advice
    return f"{advice}, or reconstruction_weight, which is {weight:g}"


def _augmentation(params):
    chosen = params["augmentation"]
    named = {**AUGMENTATIONS, **MASK_AUGMENTATIONS}
    return named[chosen] if isinstance(chosen, str) else chosen


def _decay(params, n_batches):
    """Lower the rate after every batch, by `learning_rate_decay` in an epoch."""
    decay, max_epochs = params["learning_rate_decay"], params["max_epochs"]
    if decay == "auto":
        decay = _last_share(max_epochs * n_batches) ** (1 / max_epochs)
    return LRScheduler(
        "ExponentialLR",
        gamma=decay ** (1 / n_batches),
        step_every="batch",
        event_name=None,
    )


def _last_share(n_steps):
    """Return the share of its start at which the rate ends by itself.

    A rate that falls to a hundredth within tens of steps falls before anything is
    learned.
    """
    return min(max(10 / n_steps, 0.01), 0.3)


def _stopping(params, valid):
    if valid is None:
        return []
    return [
        StopWhenFlat(
            monitor="valid_loss",
            patience=params["n_iter_no_change"],
            threshold=params["tol"],
            threshold_mode="abs",
        )
    ]
