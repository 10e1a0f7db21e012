"""Random parameters and data: finite outputs, or an error that names the cause."""

import numpy as np
import pytest

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.nn import ROUTINGS

N_CASES = 40
SHAPES = [
    (1,), (2,), (7,), (16,), (40,), (4, 4), (3, 9), (12, 12), (1, 5, 5), (3, 8, 8),
    (6, 2, 2), (2, 1, 30), (8, 8, 3), (20, 3, 3), (1, 1, 1), (5, 17),
]  # fmt: skip
PARAMS = {
    "routing": list(ROUTINGS),
    "share_weight": [False, True],
    "routing_iterations": [1, 2, 5, 0],
    "primary_dim": [1, 4, 8, 2**20],
    "pose_dim": [1, 3, 16, True],
    "hidden_capsules": [(), ((4, 3),), ((2, 1), (3, 2)), ((0, 1),)],
    "decoder": ["dense", "conv", None, "none"],
    "reconstruction_weight": ["auto", 0.0, 1e-3, 1e6, 1e300, -1],
    "initialization": ["auto", "calibrated", "paper"],
    "loss": ["margin", "spread", "cross_entropy"],
    "learning_rate": [1e-3, 1e-8, 1.0, 1e3, 1e30, float("nan")],
    "learning_rate_decay": ["auto", 1.0, 0.01],
    "learning_rate_warmup": [0, 20, 10**6],
    "batch_size": ["auto", 1, 3, 10**6],
    "max_epochs": [1, 2],
    "early_stopping": [False, True],
    "validation_fraction": [0.1, 0.5, 0.999],
    "augmentation": [None, "shift", "efficient", "crop_jitter"],
    "class_weight": [None, "balanced", {0: 3}, {0: 0}, {0: -1}],
    "precision": ["float32", "float64"],
}


def pick(rng, choices):
    return choices[rng.integers(len(choices))]


def draw_images(rng, n):
    images = rng.normal(size=(n, *pick(rng, SHAPES)))
    kind = rng.integers(8)
    if kind == 0:
        return (40 * images).clip(0, 255).astype(np.uint8)
    if kind == 1:
        return (1e6 * images).astype(np.int64) + 10**12
    if kind == 2:
        return images * 10.0 ** rng.integers(-40, 38)
    if kind == 3:
        return np.zeros_like(images)
    if kind == 4:
        images.flat[rng.integers(images.size)] = pick(rng, [np.nan, np.inf, 1e9])
    with np.errstate(over="ignore"):
        return images.astype(pick(rng, [np.float16, np.float32, np.float64]))


def draw_labels(rng, n):
    kind = rng.integers(6)
    n_classes = pick(rng, [2, 3, 7])
    y = rng.integers(n_classes, size=n)
    if kind == 0:
        return rng.integers(2, size=(n, n_classes))
    if kind == 1:
        return np.array(["b", "a", "c", "d", "e", "f", "g"])[y]
    if kind == 2:
        return y.astype(object)
    if kind == 3:
        return y - 3
    return y


def draw_case(seed):
    rng = np.random.default_rng(seed)
    n = pick(rng, [1, 2, 5, 33])
    if rng.random() < 0.5:
        clf = CapsNetClassifier(conv_channels=8, primary_capsules=2)
    else:
        clf = EfficientCapsNetClassifier(conv_channels=(4, 4, 4, 8))
    names = rng.choice(list(PARAMS), size=rng.integers(6), replace=False)
    clf.set_params(max_epochs=1, random_state=0)
    clf.set_params(**{name: pick(rng, PARAMS[name]) for name in names})
    return clf, draw_images(rng, n), draw_labels(rng, n)


def check_outputs(clf, X):
    proba, found = clf.predict_proba(X), clf.lengths(X)
    for values in (proba, found, clf.decision_function(X), clf.transform(X)):
        assert np.isfinite(values).all()
    assert proba.min() >= 0
    assert proba.max() <= 1
    assert found.min() >= 0
    assert found.max() < 1
    assert len(clf.predict(X)) == len(X)
    if clf.decoder is not None:
        assert np.isfinite(clf.reconstruct(X)).all()
        assert clf.reconstruct(X).shape == X.shape


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(N_CASES))
def test_finite_outputs_or_an_error(seed):
    clf, X, y = draw_case(seed)
    try:
        clf.fit(X, y)
    except (TypeError, ValueError) as error:
        assert len(str(error)) > 20  # noqa: PT017
        assert not hasattr(clf, "classes_")
    else:
        check_outputs(clf, X)
