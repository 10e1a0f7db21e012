"""What a fitted classifier says of images: lengths, poses, couplings and labels."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _inputs
from skcaps.estimators._machine import autocast
from skcaps.functional import lengths

# Large enough to fill a CPU or GPU, small enough for large images.
PREDICTION_BATCH = 128
# The rounding of a matrix product depends on its number of rows. For images of few
# numbers it is cheap to keep that number fixed, so that a sample's results do not
# depend on the samples beside it.
_FEW_FEATURES = 64
_FIXED_BATCH = 32


class PredictionMixin(ClassifierMixin, TransformerMixin):
    """The methods that need a fitted network and change nothing."""

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
        return self._predict(X, lambda routed: lengths(routed.poses))

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

    def coupling_entropy(self, X):
        """Say how evenly the routing spreads the capsules below over the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        entropy : ndarray of shape (n_samples,)
            Mean over the capsules below of the entropy of their couplings, divided by
            that of the uniform distribution: 0 where each has chosen one class, 1 where
            the routing decides nothing. Couplings below 0, which a trained prior may
            give, count as 0, and each capsule's are scaled to a sum of 1.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """

        def mean_entropy(routed):
            shares = routed.coupling.clamp(min=0)
            shares = shares / shares.sum(dim=2, keepdim=True)
            entropy = torch.special.entr(shares).sum(dim=2).mean(dim=1)
            return entropy / np.log(shares.shape[2])

        return self._predict(X, mean_entropy)

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
        return self._predict(X, lambda routed: self._probabilities(routed.poses))

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
        decided = self._predict(X, lambda routed: self._decide(routed.poses))
        return self._to_labels(decided)

    def _predict(self, X, part):
        """Run the network over batches and join what a function makes of its result."""
        check_is_fitted(self)
        rows = _inputs.check_input(self, X, self._layout)
        return run_over_batches(
            lambda images: part(self.network_(images)),
            rows,
            self._layout,
            self.input_range_,
            next(self.network_.parameters()),
            self.precision,
        )

    def _probabilities(self, poses):
        found = lengths(poses)
        if self._multilabel:
            return found
        # The floor makes a sample without any length uniform instead of NaN.
        found = found.clamp(min=torch.finfo(found.dtype).tiny)
        return found / found.sum(dim=1, keepdim=True)

    def _decide(self, poses):
        """Give the number of the longest capsule, or whether each is long enough."""
        found = lengths(poses)
        return found > 0.5 if self._multilabel else found.argmax(1)

    def _to_labels(self, decided):
        return decided.astype(int) if self._multilabel else self.classes_[decided]


@torch.inference_mode()
def run_over_batches(function, rows, layout, bounds, like, precision):
    """Apply a function to batches of images and join the results.

    Parameters
    ----------
    function : callable
        Maps a tensor (batch, channels, height, width) to a tensor (batch, ...).
    rows : ndarray of shape (n_samples, n_features)
    layout : ImageLayout
    bounds : tuple of float
        Values that become 0 and 1.
    like : Tensor
        The images get its device and dtype.
    precision : str
        A key of `PRECISIONS`.

    Returns
    -------
    results : ndarray of shape (n_samples, ...)
        Of the dtype of `like`, or what is no floating-point number as it is.
    """

    def run(batch):
        unit = _inputs.to_unit(batch.to(like.device), bounds)
        with autocast(like.device, precision):
            found = function(layout.to_images(unit.to(like.dtype)))
        return (found.to(like.dtype) if found.is_floating_point() else found).cpu()

    return _join(map(run, _prediction_batches(rows)), len(rows)).numpy()


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


def _prediction_batches(rows):
    """Give tensors of rows; zeros may follow the last row."""
    fixed = rows.shape[1] <= _FEW_FEATURES
    size = _FIXED_BATCH if fixed else PREDICTION_BATCH
    for start in range(0, len(rows), size):
        batch = _inputs.as_tensor(rows[start : start + size])
        missing = size - len(batch) if fixed else 0
        yield torch.nn.functional.pad(batch, (0, 0, 0, missing))
