import numpy as np
import pytest
from sklearn.datasets import load_digits

from skcaps import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    MatrixCapsNetClassifier,
)

X, Y = load_digits(n_class=3, return_X_y=True)
SMALL = {
    CapsNetClassifier: {"conv_channels": 8, "primary_capsules": 2},
    EfficientCapsNetClassifier: {"conv_channels": (4, 8, 8, 16)},
    MatrixCapsNetClassifier: {
        "conv_channels": 8,
        "primary_capsules": 2,
        "hidden_capsules": ((3, 16),),
    },
}


@pytest.fixture
def images():
    """Images (n, channels, height, width) of three channels."""
    grey = X.reshape(-1, 8, 8)
    return np.stack([grey, 16 - grey, grey[:, ::-1]], axis=1)


@pytest.fixture
def labels():
    return Y


@pytest.fixture
def fit():
    """A function that fits a small classifier of a class, with some parameters."""

    def fit_small(kind, X, y, **params):
        params = {"max_epochs": 1, "random_state": 0, "decoder": None, **params}
        return kind(pose_dim=4, **SMALL[kind], **params).fit(X[:90], y[:90])

    return fit_small
