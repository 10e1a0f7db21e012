import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.export import to_onnx

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytestmark = [
    pytest.mark.skipif(torch.__version__ < (2, 6), reason="needs torch 2.6"),
    # What the exporter warns of is its own doing.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture
def session(tmp_path):
    """A function that exports and loads."""

    def export(clf, *images):
        to_onnx(clf, tmp_path / "classifier.onnx", *images)
        return onnxruntime.InferenceSession(tmp_path / "classifier.onnx")

    return export


def assert_same(session, clf, X):
    for size in (1, 7, 300):
        label, probabilities = session.run(["label", "probabilities"], {"X": X[:size]})
        np.testing.assert_allclose(
            probabilities, clf.predict_proba(X[:size]), atol=1e-5
        )
        np.testing.assert_array_equal(label, clf.predict(X[:size]))


# Each layout, network and kind of label once, with the routings whose operators differ
# most; the rest are built of the same ones.
def flat_rows(images):
    return images[:, 0].reshape(len(images), -1)


def test_dynamic_on_flat_rows_with_names(fit, session, images, labels):
    X, y = flat_rows(images), np.array(["nought", "one", "zwölf"])[labels]
    clf = fit(CapsNetClassifier, X, y)
    exported = session(clf, X)
    assert_same(exported, clf, X)
    meta = exported.get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == ["nought", "one", "zwölf"]
    assert json.loads(meta["image_shape"]) == [1, 8, 8]
    assert json.loads(meta["input_range"]) == [0.0, 16.0]
    assert meta["estimator"] == "CapsNetClassifier"


def test_self_attention_on_bytes_with_channels_last(fit, session, images, labels):
    X = (15 * images.transpose(0, 3, 2, 1)).astype(np.uint8)
    axes = {"width": 8, "height": 8, "channels": 3}
    clf = fit(EfficientCapsNetClassifier, X, 10 + labels, image_shape=axes)
    assert_same(session(clf, X), clf, X)


def test_variational_bayes_of_several_labels(fit, session, images, labels):
    X = images.astype(np.float32)
    indicator = np.stack([labels == 0, labels != 1, labels == 2], axis=1).astype(int)
    clf = fit(EfficientCapsNetClassifier, X, indicator, routing="vb")
    # Without images, the file takes float32 of the whole shape.
    exported = session(clf)
    assert exported.get_inputs()[0].shape == ["batch", 3, 8, 8]
    assert_same(exported, clf, X)


def test_em_trained_by_cross_entropy(fit, session, images, labels):
    X = images[:, 0].astype(np.float32)
    params = {"routing": "em", "loss": "cross_entropy", "precision": "float64"}
    clf = fit(CapsNetClassifier, X, labels, **params)
    assert_same(session(clf, X), clf, X)


def test_faint_images_keep_their_probabilities(fit, session, images, labels):
    """The odds of short capsules are as exact as their lengths."""
    X = flat_rows(images).astype(np.float32)
    clf = fit(EfficientCapsNetClassifier, X, labels)
    with torch.no_grad():
        clf.network_.layers[0].weight *= 1e-6
    assert clf.lengths(X).max() < 1e-4
    assert_same(session(clf, X), clf, X)


def test_classifier_must_be_of_skcaps(tmp_path):
    pipeline = make_pipeline(MinMaxScaler(), CapsNetClassifier())
    with pytest.raises(TypeError, match=r"got Pipeline; .*pass the classifier in it"):
        to_onnx(pipeline, tmp_path / "file.onnx")


def test_classifier_must_be_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        to_onnx(CapsNetClassifier(), tmp_path / "file.onnx")


def test_images_must_fit(fit, images, labels, tmp_path):
    clf = fit(CapsNetClassifier, images, labels)
    with pytest.raises(ValueError, match="images of shape"):
        to_onnx(clf, tmp_path / "file.onnx", images.transpose(0, 2, 3, 1))
    assert not list(tmp_path.iterdir())


def test_old_torch_is_told(fit, images, labels, tmp_path, monkeypatch):
    clf = fit(CapsNetClassifier, images, labels)
    old = torch.torch_version.TorchVersion("2.4.0")
    monkeypatch.setattr(torch, "__version__", old)
    with pytest.raises(ImportError, match=r"needs PyTorch 2\.6 or newer, got 2\.4\.0"):
        to_onnx(clf, tmp_path / "file.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_package_is_named(package, fit, images, labels, tmp_path, monkeypatch):
    clf = fit(CapsNetClassifier, images, labels)

    def find(name):
        if name == package:
            raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("importlib.import_module", find)
    message = rf'the package {package}, .*pip install "skcaps\[onnx\]"'
    with pytest.raises(ImportError, match=message):
        to_onnx(clf, tmp_path / "file.onnx")


def test_export_is_there_and_loads_nothing():
    code = "import sys, skcaps; skcaps.export.to_onnx; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    loaded = run.stdout.split()
    assert not {"onnx", "onnxscript", "onnxruntime", "skops"}.intersection(loaded)
