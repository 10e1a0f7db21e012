import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

import skcaps
from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:60], Y[:60]
CLASSIFIERS = {
    "efficient": EfficientCapsNetClassifier(max_epochs=1, random_state=0),
    "capsnet": CapsNetClassifier(
        conv_channels=16, primary_capsules=4, max_epochs=1, random_state=0
    ),
}


@pytest.fixture(scope="module", params=CLASSIFIERS)
def fitted(request):
    return clone(CLASSIFIERS[request.param]).fit(X, Y)


def test_size(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "classifier")
    size = (tmp_path / "classifier").stat().st_size
    assert size <= 1.1 * 4 * fitted.n_parameters_


def test_fresh_process_without_a_gpu(tmp_path):
    fitted = [clone(clf).fit(X, Y) for clf in CLASSIFIERS.values()]
    joblib.dump(fitted, tmp_path / "classifiers")
    joblib.dump(X, tmp_path / "X")
    code = (
        "import joblib\n"
        "X, loaded = joblib.load('X'), joblib.load('classifiers')\n"
        "joblib.dump([clf.predict_proba(X) for clf in loaded], 'found')\n"
    )
    root = str(Path(skcaps.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": root},
        check=True,
    )
    for found, clf in zip(joblib.load(tmp_path / "found"), fitted, strict=True):
        # Only on the device it was trained on are the numbers the same to the bit.
        tolerance = 0 if clf.device_ == "cpu" else 1e-4
        expected = clf.predict_proba(X)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "copy_of", [copy.deepcopy, copy.copy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_predict_the_same(copy_of, fitted):
    copied = copy_of(fitted)
    np.testing.assert_array_equal(copied.poses(X), fitted.poses(X))
    assert copied.history_ == fitted.history_
    assert not hasattr(copied, "net_")


def test_copy_trains_on(fitted):
    copied = copy.deepcopy(fitted)
    before = fitted.poses(X)
    copied.partial_fit(X, Y)
    assert copied.n_epochs_ == 2
    assert not np.array_equal(copied.poses(X), before)
    np.testing.assert_array_equal(fitted.poses(X), before)


def test_clone_is_not_fitted(fitted):
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        cloned.predict(X)


def test_unfitted_classifier_is_pickled():
    clf = pickle.loads(pickle.dumps(CLASSIFIERS["efficient"]))
    assert clf.get_params() == CLASSIFIERS["efficient"].get_params()


def test_float64_stays():
    clf = clone(CLASSIFIERS["efficient"]).set_params(precision="float64").fit(X, Y)
    copied = pickle.loads(pickle.dumps(clf))
    assert copied.predict_proba(X).dtype == np.float64
    np.testing.assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))


def test_missing_device_is_a_warning(fitted, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    moved = copy.deepcopy(fitted)
    moved.device = "cuda"
    content = io.BytesIO(pickle.dumps(moved))
    with pytest.warns(UserWarning, match="runs on the CPU"):
        loaded = pickle.load(content)
    assert loaded.device_ == "cpu"
    assert loaded.predict(X).shape == Y.shape


def test_skops_trusts_one_type(fitted):
    dumped = skops.io.dumps(fitted)
    untrusted = skops.io.get_untrusted_types(data=dumped)
    assert len(untrusted) == 1
    assert untrusted[0].endswith(type(fitted).__name__)
    loaded = skops.io.loads(dumped, trusted=untrusted)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_pickles_of_an_older_version_say_so():
    state = clone(CLASSIFIERS["efficient"]).fit(X, Y).__getstate__()
    del state["_description"]
    with pytest.raises(ValueError, match="kept by an older version of skcaps"):
        EfficientCapsNetClassifier().__setstate__(state)


def test_weights_of_another_version_say_so():
    state = clone(CLASSIFIERS["efficient"]).fit(X, Y).__getstate__()
    weights = state["_weights"]
    weights["layers.0.prior"] = weights.pop("layers.0.routing.prior")
    with pytest.raises(ValueError, match="an older or a newer one has kept them"):
        EfficientCapsNetClassifier().__setstate__(state)
