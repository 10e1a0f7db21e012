"""What both classifiers share: arrays in, arrays out."""

from __future__ import annotations

import warnings
from abc import abstractmethod

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _inputs, _state, _targets
from skcaps.estimators._callbacks import (
    CallbackSupportMixin,
    EpochTasks,
    fit_task,
    with_callbacks,
)
from skcaps.estimators._machine import (
    PRECISIONS,
    draw_seed,
    isolated_random_state,
    resolve_device,
)
from skcaps.estimators._objective import Objective, draw_each_label
from skcaps.estimators._training import ImageDataset, build_net
from skcaps.functional import lengths, mask_by_label
from skcaps.nn import CapsuleNetwork

# Large enough to fill a CPU or GPU, small enough for large images.
_PREDICTION_BATCH = 128
# The rounding of a matrix product depends on its number of rows. For images of few
# numbers it is cheap to keep that number fixed, so that a sample's results do not
# depend on the samples beside it.
_FEW_FEATURES = 64
_FIXED_BATCH = 32


class BaseCapsuleClassifier(
    CallbackSupportMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
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
        """
        self._validate_params()
        if self.warm_start and hasattr(self, "network_"):
            dataset = self._continue_with(X, y, sample_weight)
        else:
            dataset = self._start_with(X, y, sample_weight)
        with self._random_state(), fit_task(self, self.max_epochs) as context:
            self._train_by_schedule(dataset, EpochTasks(self, context))
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one pass over the given samples, at a constant learning rate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images; the first call decides the layout and, unless they are uint8, the
            range of values.
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
        if hasattr(self, "network_"):
            dataset = self._continue_with(X, y, sample_weight)
        else:
            dataset = self._start_with(X, y, sample_weight, classes)
        with self._random_state():
            self._train_one_pass(dataset)
        return self

    def lengths(self, X):
        """Give the lengths of the class capsules, the network's own score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        lengths : ndarray of shape (n_samples, n_classes)
            In [0, 1), float32 (float64 with ``precision="float64"``).

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return lengths(torch.from_numpy(self.poses(X))).numpy()

    def poses(self, X):
        """Give the pose vectors of the class capsules.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        poses : ndarray of shape (n_samples, n_classes, pose_dim)
            Vectors of length below 1.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return self._predict(X, lambda routed: routed.poses)

    def couplings(self, X):
        """Give the routing coefficients of the last capsule layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        couplings : ndarray of shape (n_samples, caps_in, n_classes)
            Summing to 1 over the classes; with self-attention, to 1 plus the trained
            prior.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return self._predict(X, lambda routed: routed.coupling)

    def transform(self, X):
        """Give the pose vectors, flat.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_classes * pose_dim)
            Named by `get_feature_names_out`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        poses = self.poses(X)
        return poses.reshape(len(poses), -1)

    def get_feature_names_out(self, input_features=None):
        """Give the names of `transform`'s columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Checked against the names seen in `fit`, otherwise unused.

        Returns
        -------
        names : ndarray of str objects
            "<class>_pose<dimension>".

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `input_features` are not those of `fit`.
        """
        check_is_fitted(self)
        _inputs.check_feature_names(self, input_features)
        pose_dim = self._architecture["pose_dim"]
        names = [f"{c}_pose{d}" for c in self.classes_ for d in range(pose_dim)]
        return np.asarray(names, dtype=object)

    def predict_proba(self, X):
        """Give class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes)
            Lengths over their sum; for multilabel `y` the lengths themselves.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        found = self.lengths(X)
        if self._multilabel:
            return found
        # The floor makes a sample without any length uniform instead of NaN.
        found = np.maximum(found, np.finfo(found.dtype).tiny)
        return found / found.sum(axis=1, keepdims=True)

    def decision_function(self, X):
        """Give scores that rank like `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Lengths; for two classes the logarithm of their ratio, positive for the
            second; for multilabel `y` lengths minus 0.5.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        found = self.lengths(X)
        if self._multilabel:
            return found - found.dtype.type(0.5)
        if len(self.classes_) > 2:
            return found
        logs = np.log(np.maximum(found, np.finfo(found.dtype).tiny))
        return logs[:, 1] - logs[:, 0]

    def predict(self, X):
        """Give the class of the longest capsule.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels; for multilabel `y` an indicator of the capsules longer than 0.5.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        found = self.lengths(X)
        if self._multilabel:
            return (found > 0.5).astype(int)
        return self.classes_[found.argmax(axis=1)]

    def reconstruct(self, X, y=None):
        """Draw images from class capsules.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The class whose capsule is drawn, or an indicator of several, which are
            drawn one by one and added; by default the predicted ones.

        Returns
        -------
        images : ndarray of the shape of X
            In the units of the training images.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If the classifier has no decoder, `X` does not fit the training images, or
            `y` holds an unknown label.
        """
        poses = self.poses(X)
        y = self._predict_from(poses) if y is None else y
        drawn = self._draw(poses, self._encode(y))
        return _inputs.like_input(drawn, X, self._layout)

    def sweep_pose(self, X, dimension, values, y=None):
        """Draw images while one dimension of a pose is changed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        dimension : int
            Which dimension of the pose, from 0.
        values : array-like of shape (n_values,)
            What is added to it; the paper uses 11 values from -0.25 to 0.25.
        y : array-like of shape (n_samples,), default=None
            The class whose capsule is drawn; by default the predicted one.

        Returns
        -------
        images : ndarray of shape (n_samples, n_values, channels, height, width)
            In the units of the training images.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If the classifier has no decoder, or there is no such dimension.

        References
        ----------
        Sabour, Frosst, Hinton (2017), section 5.1 and figure 4.
        """
        poses = self.poses(X)
        if not 0 <= dimension < poses.shape[2]:
            raise ValueError(
                f"dimension must be from 0 to {poses.shape[2] - 1}, got {dimension}."
            )
        y = self._encode(self._predict_from(poses) if y is None else y)
        values = np.asarray(values, dtype=poses.dtype)
        swept = np.repeat(poses[:, None], len(values), axis=1)
        swept[..., dimension] += values[:, None]
        drawn = self._draw(
            swept.reshape(-1, *poses.shape[1:]), np.repeat(y, len(values), axis=0)
        )
        return drawn.numpy().reshape(len(poses), len(values), *drawn.shape[1:])

    def _start_with(self, X, y, sample_weight, classes=None):
        """Check the first data, decide all that depends on them, build the network."""
        device = resolve_device(self.device)
        rows, y, layout = _inputs.check_fit_input(self, X, y)
        y, is_multilabel = _targets.check_targets(y)
        classes = _targets.find_classes(
            y if classes is None else classes, is_multilabel
        )
        weights = self._check_weights(sample_weight, rows, y)
        encoded = _targets.encode(y, classes, is_multilabel)
        self.classes_, self._multilabel = classes, is_multilabel
        self.image_shape_, self._channels_last = layout
        self.input_range_ = _inputs.input_range(rows, weights)
        self.device_ = str(device)
        self._seed, self._step = draw_seed(self.random_state), 0
        self.history_, self.n_epochs_ = [], 0
        self._build_network(device)
        return self._dataset(rows, encoded, weights)

    def _continue_with(self, X, y, sample_weight):
        """Check later data against what the first decided."""
        rows, y = _inputs.check_more_input(self, X, y, self._layout)
        y, is_multilabel = _targets.check_targets(y)
        if is_multilabel != self._multilabel:
            raise ValueError(
                "y must stay a vector of labels or an indicator, as in the first call."
            )
        weights = self._check_weights(sample_weight, rows, y)
        encoded = _targets.encode(y, self.classes_, is_multilabel)
        self._step += 1
        return self._dataset(rows, encoded, weights)

    def _build_network(self, device):
        self._architecture = {
            **self._describe_architecture(),
            "image_shape": self.image_shape_,
            "n_classes": len(self.classes_),
        }
        with self._random_state():
            network = _state.build_network(self._architecture)
        self._step += 1
        self.network_ = network.to(device, PRECISIONS[self.precision])
        if self.compile:
            self.network_.compile()
        self.n_parameters_ = sum(
            p.numel() for p in self.network_.parameters() if p.requires_grad
        )
        self.__dict__.pop("net_", None)

    def _train_by_schedule(self, dataset, tasks):
        valid = None
        if self.early_stopping:
            dataset, valid = dataset.split(self.validation_fraction, self._seed)
        self.net_ = self._net(dataset, valid, tasks)
        self.net_.streams = False
        self._train(dataset, self.max_epochs)

    def _train_one_pass(self, dataset):
        if not getattr(getattr(self, "net_", None), "streams", False):
            self.net_ = self._net(dataset, None, None)
            self.net_.streams = True
        self._train(dataset, 1)

    def _train(self, dataset, epochs):
        before = len(self.net_.history)
        self.net_.train(dataset, epochs)
        for row in self.net_.epochs()[before:]:
            self.history_.append({**row, "epoch": len(self.history_) + 1})
        self.n_epochs_ = len(self.history_)
        self.loss_curve_ = [row["train_loss"] for row in self.history_]

    def _net(self, dataset, valid, tasks):
        objective = Objective(
            self.loss,
            reconstruction_weight=self.reconstruction_weight,
            weight_scale=1.0 if tasks is None else 1 / dataset.mean_weight(),
            autocast=self.precision == "bfloat16",
            is_multilabel=self._multilabel,
        )
        return build_net(
            self.network_,
            objective,
            self.get_params(deep=False),
            device=torch.device(self.device_),
            dtype=PRECISIONS[self.precision],
            n_batches=-(-len(dataset) // self.batch_size),
            valid=valid,
            tasks=tasks,
        )

    def _dataset(self, rows, encoded, weights):
        return ImageDataset(
            rows, encoded, weights, self._layout, self.input_range_, len(self.classes_)
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

    @torch.inference_mode()
    def _predict(self, X, part):
        """Run the network over batches and join one part of what it returns."""
        check_is_fitted(self)
        rows = _inputs.check_input(self, X, self._layout)
        parameter = next(self.network_.parameters())
        results = []
        for batch in _prediction_batches(rows):
            unit = _inputs.to_unit(batch.to(parameter.device), self.input_range_)
            images = self._layout.to_images(unit.to(parameter.dtype))
            with self._autocast(parameter.device):
                results.append(part(self.network_(images)).cpu())
        return torch.cat(results)[: len(rows)].numpy()

    def _autocast(self, device):
        enabled = self.precision == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled)

    def _predict_from(self, poses):
        found = lengths(torch.from_numpy(poses)).numpy()
        if self._multilabel:
            return (found > 0.5).astype(np.uint8)
        return self.classes_[found.argmax(axis=1)]

    def _encode(self, y):
        y, _ = (
            _targets.check_targets(_inputs.to_numpy(y))
            if self._multilabel
            else (np.asarray(_inputs.to_numpy(y)), False)
        )
        return _targets.encode(y, self.classes_, self._multilabel)

    @torch.inference_mode()
    def _draw(self, poses, encoded):
        """Draw images (n, channels, height, width) in the training images' units."""
        if self.network_.decoder is None:
            raise ValueError(
                'This classifier has no decoder; fit it with decoder="dense" or "conv".'
            )
        device = next(self.network_.parameters()).device
        drawn = []
        for start in range(0, len(poses), _PREDICTION_BATCH):
            part = slice(start, start + _PREDICTION_BATCH)
            batch = torch.from_numpy(poses[part]).to(device)
            targets = torch.from_numpy(encoded[part]).to(device)
            targets = _targets.to_rows(targets, len(self.classes_), batch.dtype)
            if self._multilabel:
                unit = draw_each_label(self.network_, batch, targets).clamp(max=1)
            else:
                unit = self.network_.reconstruct(mask_by_label(batch, targets))
            drawn.append(_inputs.from_unit(unit, self.input_range_).cpu())
        return torch.cat(drawn)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self):
        return _state.get_state(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(_state.set_state(state))
        if "network_" in self.__dict__:
            self.device_ = str(self._device_here())
            self.network_.to(self.device_)

    def _device_here(self):
        try:
            return resolve_device(self.device)
        except ValueError:
            warnings.warn(
                f"device={self.device!r} is not here; the classifier runs on the CPU.",
                stacklevel=4,
            )
            return torch.device("cpu")


def _prediction_batches(rows):
    """Give tensors of rows; zeros may follow the last row."""
    fixed = rows.shape[1] <= _FEW_FEATURES
    size = _FIXED_BATCH if fixed else _PREDICTION_BATCH
    for start in range(0, len(rows), size):
        batch = _inputs.as_tensor(rows[start : start + size])
        missing = size - len(batch) if fixed else 0
        yield torch.nn.functional.pad(batch, (0, 0, 0, missing))


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
