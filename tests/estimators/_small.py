"""Small classifiers and comparisons of their weights."""

import numpy as np
from sklearn.datasets import load_digits

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:90], Y[:90]


def make(**params):
    params = {"max_epochs": 1, "random_state": 0, **params}
    return EfficientCapsNetClassifier(**params)


def make_capsnet(**params):
    params = {"max_epochs": 1, "random_state": 0, **params}
    return CapsNetClassifier(conv_channels=16, primary_capsules=4, **params)


def weights_of(clf):
    return {k: v.cpu().numpy().copy() for k, v in clf.network_.state_dict().items()}


def assert_same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def differ(one, other):
    one, other = weights_of(one), weights_of(other)
    return any(not np.array_equal(one[name], other[name]) for name in one)
