"""What both classifiers share: arrays in, arrays out."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skcaps.estimators import _inputs, _state, _targets
from skcaps.estimators._callbacks import (
    CallbackSupportMixin,
    EpochTasks,
    fit_task,
    with_callbacks,
)
from skcaps.estimators._convergence import warn_if_nothing_learned
from skcaps.estimators._dataset import ImageDataset, find_batch_size
from skcaps.estimators._drawing import DrawingMixin
from skcaps.estimators._initialization import INITIALIZATIONS
from skcaps.estimators._machine import (
    PRECISIONS,
    compile_if,
    draw_seed,
    isolated_random_state,
    place,
    resolve_device,
    runs_in_bfloat16,
    warn_without_bfloat16,
)
from skcaps.estimators._objective import Objective
from skcaps.estimators._training import build_net
from skcaps.nn import CapsuleNetwork, calibrate

# Enough for means of whole layers, and as few as a training step takes.
_CALIBRATION_IMAGES = 64


class BaseCapsuleClassifier(CallbackSupportMixin, DrawingMixin, BaseEstimator):
    """Train a capsule network with skorch and serve it as scikit-learn expects."""

    network_: CapsuleNetwork

    @abstractmethod
    def _describe_architecture(self) -> dict:
        """Give the builder's name and the arguments that parameters set."""

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images of any numeric type and range; see `image_shape`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels of any type, or an indicator of zeros and ones if an image may
            belong to several classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, at least one positive.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If a parameter, `X`, `y` or `sample_weight` is out of range, or if the loss
            becomes infinite or NaN.
        TypeError
            If `X` is sparse or a torch Dataset.

        Warns
        -----
        ConvergenceWarning
            If all capsule lengths end alike, or the training images are classified no
            better than by the most frequent class.
        """
        self._validate_params()
        with _kept_if_failing(self), torch.inference_mode(False):
            if self.warm_start and hasattr(self, "network_"):
                dataset = self._continue_with(X, y, sample_weight)
            else:
                dataset = self._start_with(X, y, sample_weight)
            with self._random_state(), fit_task(self, self.max_epochs) as context:
                self._train_by_schedule(dataset, EpochTasks(self, context))
        # What was trained is kept, also where warnings are errors.
        with self._random_state():
            warn_if_nothing_learned(
                self.network_, self.net_.criterion_, dataset, self.learning_rate
            )
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one pass over the given samples, at a constant learning rate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images; the first call decides the layout and the range of values.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels or indicator.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or changes later, if
            `early_stopping` is set, or for what `fit` raises it.
        """
        self._validate_params()
        if self.early_stopping:
            raise ValueError(
                "partial_fit cannot hold out samples; set early_stopping=False."
            )
        _check_classes(self, classes)
        with _kept_if_failing(self), torch.inference_mode(False):
            if hasattr(self, "network_"):
                dataset = self._continue_with(X, y, sample_weight)
            else:
                dataset = self._start_with(X, y, sample_weight, classes)
            with self._random_state():
                self._train_one_pass(dataset)
        return self

    def _start_with(self, X, y, sample_weight, classes=None):
        """Check the first data, decide all that depends on them, build the network."""
        device = resolve_device(self.device)
        rows, y, layout = _inputs.check_fit_input(self, X, y)
        y, is_multilabel = _targets.check_targets(y)
        classes = _targets.find_classes(
            y if classes is None else classes, is_multilabel
        )
        _targets.check_loss(self.loss, is_multilabel)
        weights = self._check_weights(sample_weight, rows, y)
        encoded = _targets.encode(y, classes, is_multilabel)
        self.classes_, self._multilabel = classes, is_multilabel
        self.image_shape_, self._channels_last = layout
        self.input_range_ = _inputs.input_range(rows, weights)
        self.device_ = str(device)
        self._seed, self._step = draw_seed(self.random_state), 0
        self.history_, self.n_epochs_ = [], 0
        dataset = self._dataset(rows, encoded, weights)
        self._build_network(dataset)
        return dataset

    def _continue_with(self, X, y, sample_weight):
        """Check later data and parameters against what the first decided."""
        self._check_same_network()
        rows, y = _inputs.check_more_input(self, X, y, self._layout)
        y = _targets.check_same_kind(y, self._multilabel)
        weights = self._check_weights(sample_weight, rows, y)
        encoded = _targets.encode(y, self.classes_, self._multilabel)
        # Loading has said already where a classifier runs instead.
        if self.device != getattr(self, "_missing_device", None):
            self.device_ = str(resolve_device(self.device))
        self._step += 1
        return self._dataset(rows, encoded, weights)

    def _check_same_network(self):
        """Raise a ValueError if parameters no longer describe the trained network."""
        changed = [
            name
            for name, value in self._describe_architecture().items()
            if value != self._architecture[name]
        ]
        if PRECISIONS[self.precision] != next(self.network_.parameters()).dtype:
            changed.append("precision")
        if changed:
            raise ValueError(
                f"The parameters {', '.join(changed)} have changed since the first "
                "training, and its network does not fit them; set them back, or clone "
                "the classifier to begin anew."
            )

    def _build_network(self, dataset):
        self._architecture = {
            **self._describe_architecture(),
            "image_shape": self.image_shape_,
            "n_classes": len(self.classes_),
        }
        with self._random_state():
            network = _state.build_network(self._architecture)
            self._place(network.to(dtype=PRECISIONS[self.precision]))
            if INITIALIZATIONS[self.initialization](**self._architecture):
                batch = dataset.sample(_CALIBRATION_IMAGES)
                calibrate(network, batch.images, batch.targets, batch.sample_weight)
        self._step += 1
        self.n_parameters_ = sum(
            p.numel() for p in self.network_.parameters() if p.requires_grad
        )
        self.__dict__.pop("net_", None)

    def _place(self, network):
        self.network_ = network
        place(network, torch.device(self.device_), self.compile)

    def _train_by_schedule(self, dataset, tasks):
        valid = None
        if self.early_stopping:
            dataset, valid = dataset.split(self.validation_fraction, self._seed)
        self.net_ = self._net(dataset, valid, tasks)
        self._train(dataset, self.max_epochs)

    def _train_one_pass(self, dataset):
        # The optimiser goes on as long as no parameter changes.
        params = self.get_params(deep=False)
        if getattr(getattr(self, "net_", None), "streams", None) != params:
            self.net_ = self._net(dataset, None, None)
            self.net_.streams = params
        self._train(dataset, 1)

    def _train(self, dataset, epochs):
        before = len(self.net_.epochs())
        try:
            self.net_.train(dataset, epochs)
        finally:
            for row in self.net_.epochs()[before:]:
                row = {**row, "epoch": len(self.history_) + 1}
                self.history_ = [*self.history_, row]
            self.n_epochs_ = len(self.history_)
            self.loss_curve_ = [row["train_loss"] for row in self.history_]

    def _net(self, dataset, valid, tasks):
        device = torch.device(self.device_)
        warn_without_bfloat16(device, self.precision)
        # These parameters may have changed since the last training.
        place(self.network_, device, self.compile)
        objective = Objective(
            self.loss,
            reconstruction_weight=self.reconstruction_weight,
            weight_scale=1.0 if tasks is None else 1 / dataset.mean_weight(),
            in_bfloat16=runs_in_bfloat16(device, self.precision),
        )
        before = getattr(self, "net_", None)
        if before is not None and before.criterion.options == objective.options:
            # It may be compiled.
            objective = before.criterion
        compile_if(self.compile, objective)
        return build_net(
            self.network_,
            objective,
            self.get_params(deep=False),
            device=device,
            batch_size=find_batch_size(self.batch_size, len(dataset)),
            n_images=len(dataset),
            valid=valid,
            tasks=tasks,
        )

    def _dataset(self, rows, encoded, weights):
        return ImageDataset(
            rows,
            encoded,
            weights,
            self._layout,
            self.input_range_,
            len(self.classes_),
            torch.device(self.device_),
            PRECISIONS[self.precision],
        )

    def _check_weights(self, sample_weight, rows, y):
        if sample_weight is not None:
            sample_weight = _inputs.check_weights(sample_weight, rows)
        return _targets.apply_class_weight(self.class_weight, y, sample_weight)

    def _random_state(self):
        return isolated_random_state(self._seed, self._step, torch.device(self.device_))

    @property
    def _layout(self):
        return _inputs.ImageLayout(self.image_shape_, self._channels_last)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        dtype = PRECISIONS.get(self.precision, torch.float32)
        tags.transformer_tags.preserves_dtype = [str(dtype).removeprefix("torch.")]
        return tags

    def __getstate__(self):
        return _state.get_state(super().__getstate__())

    def __setstate__(self, state):
        with torch.inference_mode(False):
            super().__setstate__(_state.set_state(state))
            if "network_" in self.__dict__:
                self.device_ = str(self._device_here())
                self._place(self.network_)

    def _device_here(self):
        try:
            return resolve_device(self.device)
        except ValueError:
            warnings.warn(
                f"device={self.device!r} is not here; the classifier runs on the CPU.",
                stacklevel=4,
            )
            self._missing_device = self.device
            return torch.device("cpu")


@contextmanager
def _kept_if_failing(estimator):
    """Give an estimator back its attributes and weights if a block raises an error.

    An interrupt by the user keeps what was trained until then.
    """
    before = dict(vars(estimator))
    network = before.get("network_", torch.nn.Identity())
    weights = copy.deepcopy(network.state_dict())
    try:
        yield
    except Exception:
        has_moved = vars(estimator).get("device_") != before.get("device_")
        if has_moved and "network_" in before:
            network.to(before["device_"])
        if has_moved or not _has_values(network, weights):
            network.load_state_dict(weights)
            # Its optimiser has followed the training that failed.
            before.pop("net_", None)
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _has_values(network, weights):
    found = network.state_dict()
    return all(torch.equal(found[name], value) for name, value in weights.items())


def _check_classes(estimator, classes):
    """Hold scikit-learn's rules for `partial_fit`'s classes."""
    if hasattr(estimator, "network_"):
        if classes is not None and not np.array_equal(
            estimator.classes_, np.unique(classes)
        ):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} is not the same as in the "
                f"first call: {estimator.classes_.tolist()}."
            )
    elif classes is None:
        raise ValueError("classes must be passed on the first call to partial_fit.")
