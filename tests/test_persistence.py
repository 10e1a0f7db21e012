import json
import os
import subprocess
import sys

import numpy as np
import pytest
import sklearn
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.persistence import FORMAT_VERSION, _decode, _encode, load, save


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(n_class=3, return_X_y=True)
    return X[:90], y[:90]


@pytest.fixture(scope="module")
def fitted(data):
    return EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(*data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "classifier.safetensors"


@pytest.fixture
def saved(fitted, path):
    save(fitted, path)
    return path


def content_of(path):
    with safe_open(path, framework="numpy") as stream:
        return json.loads(stream.metadata()["skcaps"])


def rewrite(path, change):
    """Change the JSON of a file and leave its weights."""
    with safe_open(path, framework="numpy") as stream:
        weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    content = content_of(path)
    change(content)
    save_file(weights, path, {"skcaps": json.dumps(content)})


def refit(fitted, data, **params):
    params = {**fitted.get_params(), **params}
    return EfficientCapsNetClassifier(**params).fit(*data)


def assert_same(loaded, estimator, X):
    assert type(loaded) is type(estimator)
    assert loaded.get_params() == estimator.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    np.testing.assert_array_equal(loaded.classes_, estimator.classes_)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.history_ == estimator.history_
    kept = set(vars(estimator)) - {"net_", "_callback_fit_ctx"}
    assert kept <= set(vars(loaded))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"precision": "float64"},
        {"augmentation": "efficient"},
        {"decoder": None, "class_weight": {0: 1, 1: 2.5, 2: np.float32(0.1)}},
        {"class_weight": "balanced", "image_shape": [8, 8], "pose_dim": np.int64(4)},
        {"hidden_capsules": ((5, 6),), "device": torch.device("cpu")},
        {"random_state": None, "routing": "learned", "early_stopping": True},
    ],
)
def test_loaded_classifier_is_the_same(fitted, data, path, params):
    estimator = refit(fitted, data, **params)
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, data[0])
    for name, value in estimator.get_params().items():
        assert type(loaded.get_params()[name]) is type(value)


def test_capsnet(data, path):
    estimator = CapsNetClassifier(
        max_epochs=1, conv_channels=16, primary_capsules=2, random_state=0
    ).fit(*data)
    save(estimator, path)
    assert_same(load(path), estimator, data[0])


@pytest.mark.parametrize("dtype", [object, "U5", float, bool, np.int16])
def test_labels_of_any_type(fitted, data, path, dtype):
    X, y = data
    labels = (y > 0) if dtype is bool else y
    labels = np.array(["no", "one", "two"])[y] if dtype in (object, "U5") else labels
    estimator = refit(fitted, (X, labels.astype(dtype)))
    save(estimator, path)
    assert_same(load(path), estimator, X)


def test_multilabel_colour_images(fitted, rng, path):
    X = rng.integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)
    y = rng.integers(0, 2, (40, 4))
    estimator = refit(fitted, (X, y), image_shape=(9, 9, 3))
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, X)
    np.testing.assert_array_equal(loaded.reconstruct(X), estimator.reconstruct(X))


def test_feature_names(fitted, data, path):
    pandas = pytest.importorskip("pandas")
    X, y = data
    X = pandas.DataFrame(X, columns=[f"pixel{i}" for i in range(X.shape[1])])
    estimator = refit(fitted, (X, y)).set_output(transform="pandas")
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, X)
    assert loaded.feature_names_in_.dtype == object
    pandas.testing.assert_frame_equal(loaded.transform(X), estimator.transform(X))


def test_training_goes_on(saved, data):
    X, y = data
    loaded = load(saved).set_params(warm_start=True)
    assert loaded.fit(X, y).n_epochs_ == 2
    assert load(saved).partial_fit(X, y).n_epochs_ == 2


def test_two_loads_go_on_alike(saved, data):
    first, second = (load(saved).partial_fit(*data) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict_proba(data[0]), second.predict_proba(data[0])
    )


def test_loading_keeps_random_state(saved):
    before = torch.random.get_rng_state()
    load(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_saving_leaves_the_estimator(fitted, data, path):
    before, names = fitted.predict_proba(data[0]), set(vars(fitted))
    save(fitted, path)
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), before)
    assert set(vars(fitted)) == names


def test_same_bytes_in_another_process(saved, tmp_path):
    other = tmp_path / "other.safetensors"
    code = f"""if True:
        from skcaps.persistence import load, save
        save(load({str(saved)!r}), {str(other)!r})
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    assert other.read_bytes() == saved.read_bytes()


def test_path_as_str(fitted, data, path):
    save(fitted, str(path))
    assert_same(load(str(path)), fitted, data[0])


def test_content_is_strict_json(saved):
    content = content_of(saved)
    assert content["format_version"] == FORMAT_VERSION
    assert content["class"] == "EfficientCapsNetClassifier"
    assert content["params"]["conv_channels"] == {"$tuple": [32, 64, 64, 128]}


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1, 1e300, float("inf"), -float("inf"), "ä\n", "$tuple",
        (), (1, (2.0, None)), [], [1, "a"], {}, {"a": 1}, {1: (2,), "b": None},
        {"$tuple": [1]}, [{0: 1.0}, {True: 2}], np.float64(0.1), np.float32(0.1),
        np.int8(-3), np.bool_(True), np.str_("x"), torch.device("cuda:1"),
    ],
    ids=repr,
)  # fmt: skip
def test_values_round_trip(value):
    text = json.dumps(_encode(value, "value"), allow_nan=False)
    decoded = _decode(json.loads(text))
    assert type(decoded) is type(value)
    assert decoded == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.array([0.1, np.nan, -np.inf], dtype=np.float32),
        np.array(["a", "bcd"]),
        np.array(["a", 1, None, (1, 2)], dtype=object),
        np.array([True, False]),
        np.array([], dtype=float),
        np.array(5),
        np.array([1, 2], dtype=">i4"),
    ],
    ids=repr,
)
def test_arrays_round_trip(array):
    text = json.dumps(_encode(array, "array"), allow_nan=False)
    decoded = _decode(json.loads(text))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


def test_nan_round_trips():
    assert np.isnan(_decode(json.loads(json.dumps(_encode(np.nan, "value")))))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stem", torch.nn.Conv2d(1, 8, 3)),
        ("augmentation", torch.nn.Identity()),
        ("augmentation", abs),
        ("callbacks", [object()]),
        ("random_state", np.random.RandomState(0)),
        ("random_state", np.random.default_rng(0)),
        ("class_weight", {0: np.datetime64("2020")}),
    ],
)
def test_refuses_what_json_cannot_hold(saved, path, name, value):
    before = path.read_bytes()
    estimator = load(saved).set_params(**{name: value})
    with pytest.raises(TypeError, match=rf"{name}=.*joblib\.dump"):
        save(estimator, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_refuses_unfitted(path):
    with pytest.raises(NotFittedError):
        save(EfficientCapsNetClassifier(), path)
    assert not path.exists()


class Subclass(EfficientCapsNetClassifier):
    pass


@pytest.mark.parametrize(
    "estimator", [StandardScaler(), Subclass(), EfficientCapsNetClassifier, None]
)
def test_refuses_other_classes(estimator, path):
    with pytest.raises(TypeError, match="must be one of CapsNetClassifier"):
        save(estimator, path)


def test_failed_write_leaves_the_old_file(fitted, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save(fitted, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_save_needs_the_folder(fitted, tmp_path):
    with pytest.raises(FileNotFoundError):
        save(fitted, tmp_path / "none" / "file.safetensors")


def test_missing_file(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            load(path)


@pytest.mark.parametrize("cut", [0, 4, 500, -1])
def test_cut_file(saved, cut):
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(ValueError, match="damaged"):
        load(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors(path, metadata):
    save_file({"weight": np.zeros(3)}, path, metadata)
    with pytest.raises(ValueError, match=r"skcaps\.save did not write it"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000])
def test_damaged_json(path, text):
    save_file({"weight": np.zeros(3)}, path, {"skcaps": text})
    with pytest.raises(ValueError, match="damaged"):
        load(path)


def test_later_format(saved):
    rewrite(saved, lambda content: content.update(format_version=FORMAT_VERSION + 1))
    with pytest.raises(ValueError, match="upgrade skcaps"):
        load(saved)


def test_older_format(saved):
    rewrite(saved, lambda content: content.update(format_version=1))
    with pytest.raises(ValueError, match=r"an older skcaps, .* or fit again"):
        load(saved)


@pytest.mark.parametrize("version", [0, "1", None, 1.0, True])
def test_wrong_format_version(saved, version):
    rewrite(saved, lambda content: content.update(format_version=version))
    with pytest.raises(ValueError, match="positive integer"):
        load(saved)


@pytest.mark.parametrize("name", ["os.system", "Pipeline", "", None, ["x"]])
def test_only_known_classes_are_built(saved, name):
    rewrite(saved, lambda content: content.update({"class": name}))
    with pytest.raises(ValueError, match="can be loaded"):
        load(saved)


def network_of(content):
    return content["fitted"]["_description"]


def classes_of(content):
    return network_of(content)["classes"]["$array"]


def drop_architecture(content):
    del network_of(content)["architecture"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["params"].update(unknown=1),
        lambda content: content["params"].update(stem={"$module": "os"}),
        lambda content: network_of(content)["architecture"].update(pose_dim=7),
        lambda content: network_of(content)["architecture"].update(unknown="eval"),
        lambda content: classes_of(content).update(dtype="M8[s]"),
        lambda content: classes_of(content).update(shape=[99]),
        lambda content: content.update(params=[]),
        lambda content: content.pop("fitted"),
        drop_architecture,
    ],
)
def test_content_that_does_not_fit(saved, change):
    rewrite(saved, change)
    with pytest.raises(ValueError, match="does not fit this version"):
        load(saved)


def test_requests_are_refused(tmp_path):
    X, y = load_digits(n_class=2, return_X_y=True)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0)
        clf.set_fit_request(sample_weight=True).fit(X, y)
        with pytest.raises(TypeError, match=r"What set_fit_request .* has set cannot"):
            save(clf, tmp_path / "file")


def test_missing_folder(tmp_path):
    X, y = load_digits(n_class=2, return_X_y=True)
    clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*missing"):
        save(clf, tmp_path / "missing" / "file")
