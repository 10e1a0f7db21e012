"""What the class capsules get from the capsules below them."""

from __future__ import annotations

import numpy as np

from skcaps.functional import lengths
from skcaps.inspection._receptive_fields import spread_over_image
from skcaps.nn import PrimaryCapsules


def has_places(network):
    """Return whether the capsules below the classes lie on a grid over the image."""
    is_grid = isinstance(network.primary, PrimaryCapsules)
    return is_grid and len(network.layers) == 1 and network.primary.grid != (1, 1)


def votes_over_image(estimator, X, couplings):
    """Return how much of each place goes to each class, at every pixel.

    Parameters
    ----------
    estimator : BaseCapsuleClassifier
        Whose network `has_places`.
    X : array-like of shape (n_samples, n_features) or images
    couplings : ndarray of shape (n_samples, caps_in, n_classes)

    Returns
    -------
    maps : ndarray of shape (n_samples, n_classes, height, width)
        Couplings times the activations of the children, summed over the types of
        capsules at a place, and spread over the pixels that it reads.
    """
    network = estimator._fitted.network
    weights = couplings * _activations(estimator, X)[..., None]
    places = (len(weights), *network.primary.grid, -1, weights.shape[2])
    summed = weights.reshape(places).sum(axis=3)
    return spread_over_image(np.moveaxis(summed, 3, 1), network, estimator.image_shape_)


def _activations(estimator, X):
    """Return how present each primary capsule is, (n_samples, caps)."""
    fitted = estimator._fitted

    def apply(images):
        with fitted.machine.autocast():
            poses = fitted.network.encode(images)
        return lengths(poses.to(images.dtype))

    return fitted.map(apply, estimator._rows(X))
