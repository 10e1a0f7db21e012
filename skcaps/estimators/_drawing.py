"""Images that a fitted classifier's decoder draws from poses."""

from __future__ import annotations

import numpy as np
import torch

from skcaps.estimators import _inputs, _targets
from skcaps.estimators._objective import draw_each_label, find_pairs
from skcaps.estimators._prediction import PREDICTION_BATCH, PredictionMixin
from skcaps.functional import mask_by_label


class DrawingMixin(PredictionMixin):
    """The methods that need a decoder."""

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
        drawn = self._draw(poses, self._encode(poses, y))
        return _inputs.like_input(drawn, X, self._layout)

    def reconstruction_error(self, X, y=None):
        """Say how far images are from what is drawn from their capsules.

        What looks like no training image is drawn badly, so this is a score of anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The class whose capsule is drawn, or an indicator of several; by default the
            predicted ones.

        Returns
        -------
        error : ndarray of shape (n_samples,)
            Squared differences summed over the image, whose values are from 0 to 1.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If the classifier has no decoder, `X` does not fit the training images, or
            `y` holds an unknown label.

        References
        ----------
        Sabour, Frosst, Hinton (2017), section 4.1.
        """
        drawn = self.reconstruct(X, y)
        difference = drawn - np.asarray(_inputs.to_numpy(X), dtype=drawn.dtype)
        low, high = self.input_range_
        unit = difference.reshape(len(drawn), -1) / drawn.dtype.type(high - low or 1.0)
        return np.square(unit).sum(axis=1)

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
        if dimension not in range(poses.shape[2]):
            raise ValueError(
                f"dimension must be from 0 to {poses.shape[2] - 1}, got {dimension}."
            )
        dimension = int(dimension)
        y = self._encode(poses, y)
        values = np.atleast_1d(np.asarray(values, dtype=poses.dtype))
        swept = np.repeat(poses[:, None], len(values), axis=1)
        swept[..., dimension] += values[:, None]
        drawn = self._draw(
            swept.reshape(-1, *poses.shape[1:]), np.repeat(y, len(values), axis=0)
        )
        return drawn.numpy().reshape(len(poses), len(values), *drawn.shape[1:])

    def _encode(self, poses, y):
        """Check the classes to draw, by default those that the poses say."""
        if y is None:
            y = self._to_labels(self._decide(torch.from_numpy(poses)).numpy())
        y = _targets.check_same_kind(_inputs.to_numpy(y), self._multilabel)
        if len(y) != len(poses):
            raise ValueError(
                f"y must name the classes to draw of {len(poses)} images, got {len(y)}."
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
        for start in range(0, len(poses), PREDICTION_BATCH):
            part = slice(start, start + PREDICTION_BATCH)
            batch = torch.from_numpy(poses[part]).to(device)
            targets = torch.from_numpy(encoded[part]).to(device)
            if self._multilabel:
                pairs = find_pairs(targets)
                unit = draw_each_label(self.network_, batch, pairs).clamp(max=1)
            else:
                targets = _targets.to_rows(targets, len(self.classes_), batch.dtype)
                unit = self.network_.reconstruct(mask_by_label(batch, targets))
            drawn.append(_inputs.from_unit(unit, self.input_range_).cpu())
        return torch.cat(drawn)
