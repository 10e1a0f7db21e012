"""What all classifiers share: arrays in, arrays out."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _fitting, _inputs
from skcaps.estimators._callbacks import with_callbacks
from skcaps.estimators._fitted import class_activations, class_lengths
from skcaps.estimators._labels import allows_several
from skcaps.estimators._machine import PRECISIONS
from skcaps.estimators._parameters import CapsuleEstimator
from skcaps.estimators._range import from_unit
from skcaps.estimators._served import ServedNetwork


class BaseCapsuleClassifier(
    ServedNetwork, ClassifierMixin, TransformerMixin, CapsuleEstimator
):
    """Train a capsule network with skorch and serve it as scikit-learn expects.

    A subclass is its parameters, the function that builds its network, and a docstring.
    """

    _recipe = _fitting.CLASSIFICATION
    _fit_arguments = ("sample_weight", "sources", "source_target")

    @with_callbacks
    def fit(
        self, X, y, sample_weight=None, *, sources=None, source_target=None, **unknown
    ):
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
        sources : array-like of shape (n_samples, n_sources, ...), default=None
            For an indicator `y`: the images that lie over each other in each one of
            `X`, such as `make_multimnist` returns them. The decoder then aims at each
            source, as in the papers, instead of at their clipped sum.
        source_target : array-like of shape (n_samples, n_sources), default=None
            The classes of the sources, columns of `y`.
        **unknown : object
            Refused: everything else is a parameter of the classifier.

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
            If `X` is sparse or a torch Dataset, or for an unknown argument.

        Warns
        -----
        ConvergenceWarning
            If all activations end alike, or the training images are classified no
            better than by the most frequent class.
        """
        self._refuse(unknown)
        self._validate_params()
        _fitting.fit(self, X, y, sample_weight, (sources, source_target))
        return self

    def partial_fit(
        self,
        X,
        y,
        classes=None,
        sample_weight=None,
        *,
        sources=None,
        source_target=None,
    ):
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
        sources : array-like of shape (n_samples, n_sources, ...), default=None
            For an indicator `y`: the images that lie over each other in each one of
            `X`, as in `fit`.
        source_target : array-like of shape (n_samples, n_sources), default=None
            The classes of the sources, columns of `y`.

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
        sources = (sources, source_target)
        _fitting.partial_fit(self, X, y, classes, sample_weight, sources)
        return self

    def activations(self, X):
        """Return how present each class is, the network's own score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        activations : ndarray of shape (n_samples, n_classes)
            In [0, 1], float32 (float64 with ``precision="float64"``): the lengths of
            the class capsules where the routing shortens them to say so, and what it
            computes beside the poses where it does ("em", "vb", "self",
            "inverted_attention").

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return self._map(class_activations, X)

    def lengths(self, X):
        """Return the lengths of the class capsules' poses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        lengths : ndarray of shape (n_samples, n_classes)
            Not negative, float32 (float64 with ``precision="float64"``). Below 1 where
            they are the `activations`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return self._map(class_lengths, X)

    def poses(self, X):
        """Return the pose vectors of the class capsules.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        poses : ndarray of shape (n_samples, n_classes, pose_dim)
            Vectors; of length below 1 where lengths are the `activations`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return self._map(lambda routed: routed.poses, X)

    def couplings(self, X):
        """Return the routing coefficients of the last capsule layer.

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
        return self._map(lambda routed: routed.coupling, X)

    def coupling_entropy(self, X):
        """Compute how evenly the routing spreads the capsules below over the classes.

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
        return self._map(lambda routed: _entropy(routed.coupling), X)

    def transform(self, X):
        """Return the pose vectors, flat.

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
        """Return the names of `transform`'s columns.

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
        pose_dim = self._fitted.architecture["pose_dim"]
        names = [f"{c}_pose{d}" for c in self.classes_ for d in range(pose_dim)]
        return np.asarray(names, dtype=object)

    def predict_proba(self, X):
        """Return class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes)
            Each activation is read as the probability that its class is there, and
            exactly one is: in proportion to ``activation / (1 - activation)``. With
            ``loss="cross_entropy"`` the softmax that it trains, and for multilabel `y`
            the activations themselves.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        fitted = self._checked()
        return self._map(
            lambda routed: fitted.labels.probabilities(
                class_activations(routed), fitted.loss
            ),
            X,
        )

    def decision_function(self, X):
        """Return scores that rank like `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Activations; for two classes the logarithm of the ratio of their
            probabilities, positive for the second; for multilabel `y` activations
            minus 0.5.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        fitted = self._checked()
        return self._map(
            lambda routed: fitted.labels.scores(class_activations(routed), fitted.loss),
            X,
        )

    def predict(self, X):
        """Return the most active class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels; for multilabel `y` an indicator of the activations above 0.5.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        labels = self._checked().labels
        encoded = self._map(lambda routed: labels.decide(class_activations(routed)), X)
        return labels.to_labels(encoded)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            The true labels, or the indicator.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Share of samples whose label, or whole set of labels, is predicted.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return super().score(X, _inputs.as_labels(y), sample_weight)

    def reconstruct(self, X, y=None):
        """Decode class capsules to images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The class whose capsule is decoded, or an indicator of several, which are
            decoded one by one and added; by default the predicted ones.

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
        decoded = self._decode(
            lambda routed, unit, *y: self._in_units(routed, *y), X, y
        )
        return decoded.reshape(len(decoded), *_inputs.sample_shape(X))

    def reconstruction_error(self, X, y=None):
        """Compute how far images are from what is decoded from their capsules.

        What looks like no training image is decoded badly, so this is a score of
        anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The class whose capsule is decoded, or an indicator of several; by default
            the predicted ones.

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
        fitted = self._checked()

        def error(routed, unit, *encoded):
            difference = fitted.decode(routed, *encoded) - unit
            return difference.square().flatten(1).sum(dim=1)

        return self._decode(error, X, y)

    def sweep_pose(self, X, dimension, values, y=None):
        """Decode images while one dimension of a pose is changed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        dimension : int or sequence of int
            Which dimension of the pose, from 0.
        values : array-like of shape (n_values,)
            What is added to it; the paper uses 11 values from -0.25 to 0.25.
        y : array-like of shape (n_samples,), default=None
            The class whose capsule is decoded; by default the predicted one.

        Returns
        -------
        images : ndarray of shape (n_samples, n_values, ...)
            In the units of the training images, each of the shape that a sample of `X`
            has. Several dimensions have an axis before that of the values.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If the classifier has no decoder, there is no such dimension, or
            `dimension` or `values` is empty or has several axes.

        References
        ----------
        Sabour, Frosst, Hinton (2017), section 5.1 and figure 4.
        """
        fitted = self._checked()
        pose_dim = fitted.architecture["pose_dim"]
        dimensions = [
            _check_dimension(d, pose_dim) for d in _as_list("dimension", dimension)
        ]
        values = _as_list("values", np.asarray(values, dtype=float))

        def sweep(routed, unit, *encoded):
            # The classes that are decoded stay those of the unchanged poses.
            if not encoded:
                encoded = (fitted.labels.decide(class_activations(routed)),)
            changes = itertools.product(dimensions, values)
            rows = [
                self._in_units(_add(routed, *change), *encoded) for change in changes
            ]
            return torch.stack(rows, dim=1)

        swept = self._decode(sweep, X, y)
        n_dimensions = () if np.ndim(dimension) == 0 else (len(dimensions),)
        return swept.reshape(
            len(swept), *n_dimensions, len(values), *_inputs.sample_shape(X)
        )

    def _map(self, part, X):
        """Run the network over batches and join what a function makes of its result."""
        fitted = self._checked()
        rows = self._rows(X)
        return fitted.map(lambda images: part(fitted.run(images)), rows)

    def _decode(self, function, X, y):
        """Join what a function makes of capsules, images and, where given, classes."""
        fitted = self._checked()
        rows = self._rows(X)
        beside = () if y is None else (self._encode(y, len(rows)),)
        if fitted.network.decoder is None:
            raise ValueError(
                'This classifier has no decoder; fit it with decoder="dense" or "conv".'
            )
        return fitted.map(
            lambda images, *encoded: function(fitted.run(images), images, *encoded),
            rows,
            *beside,
        )

    def _encode(self, y, n_samples):
        labels = self._fitted.labels
        y = labels.check(_inputs.as_labels(y))
        if len(y) != n_samples:
            raise ValueError(
                f"y must name the classes to decode of {n_samples} images, got "
                f"{len(y)}."
            )
        return labels.encode(y)

    def _in_units(self, routed, *encoded):
        """Decode capsules to rows in the training images' units."""
        fitted = self._fitted
        images = from_unit(fitted.decode(routed, *encoded), fitted.input_range)
        return fitted.layout.to_rows(images)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = allows_several(self.loss, self.routing)
        dtype = PRECISIONS.get(self.precision, torch.float32)
        tags.transformer_tags.preserves_dtype = [str(dtype).removeprefix("torch.")]
        return tags


def _entropy(coupling):
    """Return the mean entropy of the children's couplings, 1 where they are uniform."""
    shares = coupling.clamp(min=0)
    shares = shares / shares.sum(dim=2, keepdim=True)
    entropy = torch.special.entr(shares).sum(dim=2).mean(dim=1)
    return entropy / np.log(shares.shape[2])


def _as_list(name, values):
    """Return a number or a sequence of some as a list."""
    if np.ndim(values) > 1 or np.size(values) == 0:
        raise ValueError(
            f"{name} must be a number or a sequence of at least one, got the shape "
            f"{np.shape(values)}."
        )
    return np.atleast_1d(values).tolist()


def _check_dimension(dimension, pose_dim):
    if dimension not in range(pose_dim):
        raise ValueError(
            f"dimension must be from 0 to {pose_dim - 1}, got {dimension}."
        )
    return int(dimension)


def _add(routed, dimension, value):
    """Change one dimension of all poses."""
    changed = routed.poses.clone()
    changed[..., dimension] += value
    return routed._replace(poses=changed)
