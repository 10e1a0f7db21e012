import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.persistence import load, save


def refit(fitted, data, **params):
    params = {**fitted.get_params(), **params}
    return EfficientCapsNetClassifier(**params).fit(*data)


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
def test_loaded_classifier_is_the_same(fitted, data, path, params, assert_same):
    estimator = refit(fitted, data, **params)
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, data[0])
    for name, value in estimator.get_params().items():
        assert type(loaded.get_params()[name]) is type(value)


def test_capsnet(data, path, assert_same):
    estimator = CapsNetClassifier(
        max_epochs=1, conv_channels=16, primary_capsules=2, random_state=0
    ).fit(*data)
    save(estimator, path)
    assert_same(load(path), estimator, data[0])


@pytest.mark.parametrize(
    "names",
    [
        np.array(["no", "one", "two"]),
        np.array(["no", "one", "two"], dtype=object),
        np.array(["", "\0a", "\ud800"], dtype="U1000"),
        np.array([False, True, True]),
        np.array([0.0, 1.0, 2.0]),
        np.array([-1, 0, 300], dtype=np.int16),
        np.array([0, 2**63, 2**64 - 1], dtype=np.uint64),
        np.array(["1969-12-31", "2020-01-01", "2020-01-02"], dtype="M8[D]"),
        np.array(["2020-01-01T00:00:00.5", "2021", "2022"], dtype="M8[25ms]"),
        np.array([-1, 0, 5], dtype="m8[ns]"),
        np.array([1, 2, 3], dtype=">m8"),
    ],
    ids=repr,
)
def test_labels_of_any_type(fitted, data, path, names, assert_same):
    X, y = data
    estimator = refit(fitted, (X, names[y]))
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, X)
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X), strict=True)


def test_multilabel_colour_images(fitted, rng, path, assert_same):
    X = rng.integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)
    y = rng.integers(0, 2, (40, 4))
    estimator = refit(fitted, (X, y), image_shape=(9, 9, 3))
    save(estimator, path)
    loaded = load(path)
    assert_same(loaded, estimator, X)
    np.testing.assert_array_equal(loaded.reconstruct(X), estimator.reconstruct(X))


def test_feature_names(fitted, data, path, assert_same):
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


@pytest.mark.parametrize("name", ["trunc_normal_", "uniform_"])
def test_loading_draws_nothing(saved, monkeypatch, name):
    draw, devices = getattr(torch.nn.init, name), set()

    def watched(tensor, *args, **kwargs):
        devices.add(tensor.device.type)
        return draw(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.nn.init, name, watched)
    load(saved)
    assert devices == {"meta"}


@pytest.fixture
def defaults():
    """Torch's defaults may be changed, and are put back."""
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("copy", ["file", "pickle"])
def test_loading_ignores_defaults(
    defaults, fitted, saved, data, device, dtype, copy, assert_same
):
    pickled = pickle.dumps(fitted)
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)
    loaded = load(saved) if copy == "file" else pickle.loads(pickled)
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    assert_same(loaded, fitted, data[0])


@pytest.mark.parametrize("estimator", [CapsNetClassifier, EfficientCapsNetClassifier])
@pytest.mark.parametrize("decoder", ["dense", "conv", None])
@pytest.mark.parametrize("image_shape", [(1, 28, 28), (2, 48, 48)])
def test_weights_are_all_that_a_network_holds(estimator, decoder, image_shape):
    """A buffer that is not kept would be random after loading."""
    with torch.device("meta"):
        network = estimator._build_network(image_shape, 5, decoder=decoder)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    assert {name for name, _ in tensors} == network.state_dict().keys()


def test_order_of_axes_in_memory_stays(data, path):
    """Convolutions round, and take their time, by it."""
    estimator = CapsNetClassifier(
        max_epochs=1, conv_channels=64, primary_capsules=8, random_state=0
    ).fit(*data)
    save(estimator, path)
    strides = [
        {name: tensor.stride() for name, tensor in clf.network_.state_dict().items()}
        for clf in (estimator, load(path))
    ]
    assert strides[0] == strides[1]


@pytest.mark.parametrize("device", ["meta", "mps", "xla"])
def test_device_that_is_not_here(rewrite, fitted, data, device):
    """Some are known to torch, and yet not there."""
    saved = rewrite(lambda content: content["params"].update(device=device))
    with pytest.warns(UserWarning, match=f"device='{device}' is not here"):
        loaded = load(saved)
    np.testing.assert_array_equal(
        loaded.predict_proba(data[0]), fitted.predict_proba(data[0])
    )


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


def test_path_as_str(fitted, data, path, assert_same):
    save(fitted, str(path))
    assert_same(load(str(path)), fitted, data[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stem", torch.nn.Conv2d(1, 8, 3)),
        ("augmentation", torch.nn.Identity()),
        ("augmentation", abs),
        ("callbacks", [object()]),
        ("random_state", np.random.RandomState(0)),
        ("random_state", np.random.default_rng(0)),
        ("class_weight", {0: np.longdouble(1)}),
    ],
)
def test_refuses_what_json_cannot_hold(saved, path, name, value):
    before = path.read_bytes()
    estimator = load(saved).set_params(**{name: value})
    with pytest.raises(TypeError, match=rf"{name}=.*joblib\.dump"):
        save(estimator, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}])
def test_refuses_what_is_nested_too_deeply(saved, wrap):
    value = 0
    for _ in range(500):
        value = wrap(value)
    estimator = load(saved).set_params(class_weight=[value])
    with pytest.raises(TypeError, match=r"class_weight .* at most 20 levels deep"):
        save(estimator, saved)


def test_refuses_a_list_within_itself(saved):
    value = []
    value.append(value)
    with pytest.raises(TypeError, match=r"class_weight .* at most 20 levels deep"):
        save(load(saved).set_params(class_weight=value), saved)


def break_weights(estimator):
    next(estimator.network_.parameters()).data[0] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clf: clf.set_params(learning_rate=-1), "learning_rate"),
        (lambda clf: vars(clf).pop("history_"), "include history_"),
        (lambda clf: setattr(clf, "n_epochs_", 5), "n_epochs_ must be 1"),
        (lambda clf: setattr(clf, "predict", None), "must not replace"),
        (break_weights, "weights must be finite"),
    ],
)
def test_refuses_what_could_not_be_loaded(saved, change, message):
    before, estimator = saved.read_bytes(), load(saved)
    change(estimator)
    with pytest.raises(ValueError, match=message):
        save(estimator, saved)
    assert saved.read_bytes() == before


def test_own_attributes_come_along(saved):
    estimator = load(saved)
    estimator.note = {"trained": np.datetime64("2020-02-03"), "by": ("a", 1)}
    save(estimator, saved)
    assert load(saved).note == estimator.note


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


@pytest.mark.parametrize("name", ["none", ""])
def test_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load(tmp_path / name)


def test_empty_path(fitted):
    with pytest.raises(ValueError, match=r'path must name a file, got ""'):
        save(fitted, "")
    with pytest.raises(ValueError, match=r'path must name a file, got ""'):
        load("")


def test_requests_are_refused(tmp_path):
    X, y = load_digits(n_class=2, return_X_y=True)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0)
        clf.set_fit_request(sample_weight=True).fit(X, y)
        with pytest.raises(TypeError, match=r"What set_fit_request .* has set cannot"):
            save(clf, tmp_path / "file")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has such modes")
def test_save_keeps_the_mode(fitted, path):
    path.touch(0o600)
    save(fitted, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size > 1000
