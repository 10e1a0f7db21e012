import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:60].astype(np.float32), Y[:60]
RGB = np.random.default_rng(0).random((30, 3, 8, 8)).astype(np.float32)
LABELS = np.arange(30) % 2


def make(**params):
    return EfficientCapsNetClassifier(max_epochs=1, random_state=0, **params)


@pytest.fixture(scope="module")
def fitted():
    return make().fit(X, Y)


@pytest.fixture(scope="module")
def expected(fitted):
    return fitted.predict_proba(X)


GREY_LAYOUTS = [(-1, 64), (-1, 8, 8), (-1, 1, 8, 8)]


@pytest.mark.parametrize("shape", GREY_LAYOUTS)
def test_fit_gives_the_same_for_every_layout(shape, expected):
    clf = make().fit(X.reshape(shape), Y)
    assert clf.image_shape_ == (1, 8, 8)
    assert clf.n_features_in_ == 64
    np.testing.assert_array_equal(clf.predict_proba(X.reshape(shape)), expected)


def test_capsnet_takes_every_layout():
    clf = CapsNetClassifier(
        conv_channels=16, primary_capsules=4, max_epochs=1, random_state=0
    ).fit(X, Y)
    expected = clf.predict_proba(X)
    for shape in GREY_LAYOUTS:
        np.testing.assert_array_equal(clf.predict_proba(X.reshape(shape)), expected)


@pytest.mark.parametrize("shape", [*GREY_LAYOUTS, (-1, 8, 8, 1)])
def test_predict_takes_any_layout_of_grey_images(shape, fitted, expected):
    np.testing.assert_array_equal(fitted.predict_proba(X.reshape(shape)), expected)


@pytest.mark.parametrize("image_shape", [(8, 8), (1, 8, 8), (8, 8, 1), [8, 8]])
def test_image_shape_may_be_stated(image_shape, expected):
    clf = make(image_shape=image_shape).fit(X, Y)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_channels_last_is_channels_first():
    first = make().fit(RGB, LABELS)
    moved = np.moveaxis(RGB, 1, -1)
    last = make(image_shape=(8, 8, 3)).fit(moved, LABELS)
    axes = {"height": 8, "width": 8, "channels": 3}
    named = make(image_shape=axes).fit(moved.reshape(len(moved), -1), LABELS)
    expected = first.predict_proba(RGB)
    for clf in (last, named):
        assert clf.image_shape_ == (3, 8, 8)
        np.testing.assert_array_equal(clf.predict_proba(moved), expected)
        flat = moved.reshape(len(moved), -1)
        np.testing.assert_array_equal(clf.predict_proba(flat), expected)
    with pytest.raises(ValueError, match=r"must hold images of shape \(8, 8, 3\)"):
        last.predict(RGB)
    # The same stated shape means the same, whatever X is.
    with pytest.raises(
        ValueError,
        match=r"\(8, 8, 3\); image_shape=\(8, 8, 3\) would",
    ):
        make(image_shape=(3, 8, 8)).fit(moved, LABELS)


def test_rows_that_are_no_square_are_one_pixel_high():
    clf = make().fit(X[:, :20], Y)
    assert clf.image_shape_ == (1, 1, 20)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(8, (0, 255)), (7, (0, 112)), (1, (0, 16)), (1 / 16, (0, 1))],
    ids=["photographs", "dim", "4 bits", "masks"],
)
def test_uint8_has_a_fixed_range_where_it_is_used(factor, expected):
    clf = make().fit((X * factor).astype(np.uint8), Y)
    assert clf.input_range_ == expected


def test_an_image_that_does_not_count_does_not_make_uint8_bright():
    images = X.astype(np.uint8)
    images[3] = 255
    assert make().fit(images, Y, np.arange(len(X)) != 3).input_range_ == (0.0, 16.0)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("outlier", [1000, -1000])
def test_range_is_that_of_samples_that_count(fitted, dtype, outlier):
    assert fitted.input_range_ == (0.0, 16.0)
    changed = X.astype(dtype)
    changed[[0, 7]] = outlier
    weights = np.ones(len(X))
    weights[[0, 7]] = 0
    assert make().fit(changed, Y, weights).input_range_ == (0.0, 16.0)


def test_constant_images():
    clf = make().fit(np.full_like(X, 3), Y)
    with pytest.warns(UserWarning, match="training images from 3 to 3"):
        proba = clf.predict_proba(X)
    assert np.isfinite(proba).all()


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "int64", "uint16", "float16", "float32", "float64"]
)
def test_dtypes(dtype, fitted, expected):
    found = fitted.predict_proba(X.astype(dtype))
    np.testing.assert_allclose(found, expected, atol=1e-6)


CONTAINERS = {
    "tensor": lambda a: torch.from_numpy(a),
    "gradient": lambda a: torch.from_numpy(a).requires_grad_(),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(),
    "tensor images": lambda a: torch.from_numpy(a).reshape(-1, 1, 8, 8),
    "list": lambda a: a.tolist(),
    "list of arrays": lambda a: list(a.reshape(-1, 8, 8)),
    "list of tensors": lambda a: list(torch.from_numpy(a).reshape(-1, 8, 8)),
    "pandas": lambda a: pd.DataFrame(a),
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1][::-1],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container, expected):
    given = CONTAINERS[container](X)
    clf = make().fit(given, Y)
    np.testing.assert_array_equal(clf.predict_proba(given), expected)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_with_names(frame, expected):
    names = [f"pixel{i}" for i in range(64)]
    given = frame(dict(zip(names, X.T, strict=True)))
    clf = make().fit(given, Y)
    assert clf.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(clf.predict_proba(given), expected)


@pytest.mark.parametrize("labels", [list, torch.from_numpy, pd.Series, pl.Series])
def test_containers_of_labels(labels, expected):
    np.testing.assert_array_equal(make().fit(X, labels(Y)).predict_proba(X), expected)


def test_labels_of_strings(expected):
    names = np.array(["c", "a", "b"])[Y]
    clf = make().fit(X, names)
    assert clf.classes_.tolist() == ["a", "b", "c"]
    assert set(clf.predict(X)) <= {"a", "b", "c"}


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_memmap(dtype, tmp_path):
    stored = np.memmap(tmp_path / "images", dtype, "w+", shape=(60, 8, 8))
    stored[:] = X.reshape(-1, 8, 8)
    stored.flush()
    opened = np.memmap(tmp_path / "images", dtype, "r", shape=(60, 8, 8))
    found = make().fit(opened, Y).predict_proba(opened)
    in_memory = np.array(opened)
    expected = make().fit(in_memory, Y).predict_proba(in_memory)
    np.testing.assert_array_equal(found, expected)


def with_value(value):
    changed = X.copy()
    changed[3, 5] = value
    return changed


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 3


BAD = {
    "NaN": (with_value(np.nan), Y, ValueError, "contains NaN"),
    "infinity": (with_value(np.inf), Y, ValueError, "contains infinity"),
    "NaN in images": (
        with_value(np.nan).reshape(-1, 8, 8),
        Y,
        ValueError,
        "contains NaN",
    ),
    "no rows": (X[:0], Y[:0], ValueError, "0 sample"),
    "no images": (X[:0].reshape(0, 8, 8), Y[:0], ValueError, "at least one image"),
    "no pixels": (np.zeros((60, 8, 0)), Y, ValueError, "at least one pixel"),
    "one class": (X, np.zeros(60), ValueError, "at least 2 classes"),
    "5 axes": (X.reshape(-1, 1, 1, 8, 8), Y, ValueError, "got shape"),
    "1 axis": (X[0], Y[:64], ValueError, "Expected 2D array"),
    "lengths": (X, Y[:-1], ValueError, "inconsistent numbers of samples"),
    "ragged": (
        [np.zeros((8, 8)), np.zeros((8, 7))],
        [0, 1],
        ValueError,
        "resize the images first",
    ),
    "channels last": (
        np.moveaxis(RGB, 1, -1),
        LABELS,
        ValueError,
        r"pass image_shape=\(8, 8, 3\)",
    ),
    "sparse": (sparse.csr_matrix(X), Y, TypeError, "[Ss]parse"),
    "Dataset": (Images(), Y[:3], TypeError, "stream them through partial_fit"),
    "continuous": (X, Y + 0.5, ValueError, "Unknown label type"),
    "several columns": (
        X,
        np.stack([Y, Y], 1),
        ValueError,
        "MultiOutputClassifier",
    ),
    "no labels": (X, None, ValueError, "requires y to be passed"),
}


@pytest.mark.parametrize("case", BAD)
def test_fit_rejects(case):
    images, labels, error, message = BAD[case]
    with pytest.raises(error, match=message):
        make().fit(images, labels)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(60), "positive entry|at least one non-zero"),
        (-np.ones(60), "[Nn]egative"),
        (np.ones(59), "sample_weight.shape"),
        (np.full(60, np.nan), "contains NaN"),
    ],
)
def test_fit_rejects_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, Y, weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X[:, :63], "63 features, but EfficientCapsNetClassifier is expecting 64"),
        (X.reshape(-1, 4, 16), r"got images of shape \(4, 16\)"),
        (X.reshape(-1, 4, 4, 4), r"got images of shape \(4, 4, 4\)"),
        (with_value(np.nan), "contains NaN"),
        (with_value(-np.inf), "contains infinity"),
        (X[:0], "0 sample"),
    ],
)
def test_predict_rejects(given, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.predict(given)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"routing": "cubic"}, "'routing' parameter"),
        ({"loss": "hinge"}, "'loss' parameter"),
        ({"decoder": "mlp"}, "'decoder' parameter"),
        ({"precision": "float16"}, "'precision' parameter"),
        ({"image_shape": "square"}, "'image_shape' parameter"),
        ({"image_shape": (7, 7)}, "which is no image of 1"),
        ({"image_shape": (8,)}, "image_shape must be"),
        ({"image_shape": (8, 8.0)}, "image_shape must be"),
        ({"learning_rate": 0}, "'learning_rate' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"device": "abacus"}, "device must be"),
        ({"stem": "resnet"}, "'stem' parameter"),
    ],
)
def test_fit_rejects_option(params, message):
    with pytest.raises(ValueError, match=message):
        make(**params).fit(X, Y)


def test_reconstructions_have_the_layout_of_the_input(fitted):
    for shape in [*GREY_LAYOUTS, (-1, 8, 8, 1)]:
        given = X[:5].reshape(shape)
        assert fitted.reconstruct(given).shape == given.shape
    drawn = fitted.sweep_pose(X[:2], 1, [-0.25, 0, 0.25])
    assert drawn.shape == (2, 3, 64)
    np.testing.assert_allclose(drawn[:, 1], fitted.reconstruct(X[:2]), atol=1e-5)
    for shape in GREY_LAYOUTS:
        given = X[:2].reshape(shape)
        swept = fitted.sweep_pose(given, [1, 3], [-0.25, 0, 0.25])
        assert swept.shape == (2, 2, 3, *given.shape[1:])
        np.testing.assert_allclose(swept[:, 0].reshape(drawn.shape), drawn, atol=1e-5)
    with pytest.raises(ValueError, match="dimension must be from 0 to 15"):
        fitted.sweep_pose(X[:2], 16, [0])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_that_seem_to_be_last_are_asked_for(channels):
    images = np.zeros((6, 8, 9, channels))
    message = rf"channels last, .* pass image_shape=\(8, 9, {channels}\) to confirm"
    with pytest.raises(ValueError, match=message):
        make().fit(images, [0, 1] * 3)
    clf = make(image_shape=(8, 9, channels)).fit(images + np.eye(9)[:, :1], [0, 1] * 3)
    assert clf.image_shape_ == (channels, 8, 9)


def test_five_channels_are_no_channels():
    images = np.random.default_rng(0).random((6, 8, 9, 5))
    assert make().fit(images, [0, 1] * 3).image_shape_ == (8, 9, 5)


def test_lists_of_any_tensors_are_reconstructed(fitted):
    images = [torch.from_numpy(row).view(8, 8) for row in X[:3]]
    expected = fitted.reconstruct(X[:3]).reshape(3, 8, 8)
    for given in (
        [image.bfloat16() for image in images],
        [image.clone().requires_grad_() for image in images],
        pd.DataFrame(X[:3]),
    ):
        found = fitted.reconstruct(given)
        np.testing.assert_allclose(found.reshape(3, 8, 8), expected, atol=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"values": []}, {"values": [[0.1]]}, {"dimension": []}], ids=str
)
def test_what_cannot_be_swept(fitted, wrong):
    given = {"dimension": 0, "values": [0.1], **wrong}
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a number or a sequence"):
        fitted.sweep_pose(X[:2], **given)
