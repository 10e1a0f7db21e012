import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ._small import X, Y, make, make_capsnet

BRIGHT = (X * 15).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted():
    return make(max_epochs=3).fit(BRIGHT, Y)


@pytest.mark.parametrize(
    ("other", "low", "high"),
    [
        (BRIGHT / 255, "0", "0.941176"),
        (BRIGHT[:1] / 255, "0", "0.882353"),
        (X.astype(np.uint8), "0", "16"),
        (BRIGHT * 257.0, "0", "61680"),
        (BRIGHT - 256.0, "-256", "-16"),
    ],
    ids=["unit", "one", "16 levels", "16 bits", "below"],
)
@pytest.mark.parametrize("method", ["predict", "reconstruct", "partial_fit"])
def test_drift_is_told(fitted, method, other, low, high):
    labels = [Y[: len(other)]] if method == "partial_fit" else []
    clf = make(max_epochs=1).fit(BRIGHT, Y) if labels else fitted
    message = f"values of X are from {low} to {high}, .* from 0 to 255, .* same units"
    with pytest.warns(UserWarning, match=message) as caught:
        getattr(clf, method)(other, *labels)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_drift_after_a_dark_first_batch():
    clf = make().partial_fit(np.zeros_like(X[:3]), Y[:3], classes=[0, 1, 2])
    with pytest.warns(UserWarning, match="from 0 to 0, which become 0 and 1"):
        clf.partial_fit(X, Y)


@pytest.mark.parametrize("size", [1, 3, 20, 90])
@pytest.mark.parametrize("load", [load_digits, load_iris])
def test_no_word_about_ordinary_data(load, size):
    X, y = load(return_X_y=True)
    clf = make().fit(X[::2], y[::2])
    rest = X[1::2][:90]
    for start in range(0, len(rest), size):
        clf.predict(rest[start : start + size])
    clf.predict(np.zeros_like(X[:1]))


def test_a_hot_pixel_is_told():
    spoiled = X / 16
    spoiled[3, 5] = 100
    with pytest.warns(
        UserWarning, match="0 to 100, .* half of its images lie within 1 "
    ):
        clf = make().fit(spoiled, Y)
    with pytest.warns(UserWarning, match="from 0 to 1, .* images from 0 to 100"):
        clf.predict(X / 16)


def test_samples_that_do_not_count_stretch_nothing():
    spoiled = X / 16
    spoiled[:60] /= 1000
    make().fit(spoiled, Y, np.arange(90) >= 60)


def test_one_hot_images_have_no_hot_pixel():
    rows = np.zeros((90, 100))
    rows[np.arange(90), np.arange(90)] = 1
    make().fit(rows, Y).predict(rows)


def test_columns_of_other_units_are_told():
    wine, labels = load_wine(return_X_y=True)
    with pytest.warns(UserWarning, match=r"2\d{3}-fold, .* StandardScaler") as caught:
        make().fit(wine, labels)
    assert len(caught) == 1
    make_pipeline(StandardScaler(), make()).fit(wine, labels)
    # Whoever says that it is an image knows what it is.
    make(image_shape=(1, 1, 13)).fit(wine, labels)


@pytest.mark.parametrize("offset", [0, 1_700_000_000, -(2**52)])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_large_offset_loses_nothing(dtype, offset):
    plain = make(max_epochs=2).fit(X.astype(dtype), Y)
    moved = make(max_epochs=2).fit(X.astype(dtype) + dtype(offset), Y)
    np.testing.assert_array_equal(
        plain.predict_proba(X.astype(dtype)),
        moved.predict_proba(X.astype(dtype) + dtype(offset)),
    )


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint16, np.int8, np.bool_])
def test_integers_are_what_float64_is(dtype):
    small = (X > 8).astype(dtype) * (1 if dtype in (np.int8, np.bool_) else 3)
    one = make().fit(small, Y).predict_proba(small)
    other = make().fit(small.astype(float), Y).predict_proba(small.astype(float))
    np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The values of X")
@pytest.mark.parametrize("method", ["predict", "predict_proba", "poses", "reconstruct"])
@pytest.mark.parametrize("value", [1e18, 1e25, 1e30, 1e38, 1e300])
@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_huge_values_give_finite_results_or_an_error(factory, value, method):
    clf = factory().fit(X, Y)
    huge = value * np.random.default_rng(0).normal(size=(3, 64))
    is_error = False
    try:
        found = getattr(clf, method)(huge)
    except ValueError as error:
        is_error = "output is not finite" in str(error)
    assert is_error or (value < 1e300 and np.isfinite(found).all())


@pytest.mark.parametrize("levels", [2, 16])
def test_uint8_of_few_levels_is_what_float_is(levels):
    few = (X * (levels - 1) / 16).round()
    one = make(max_epochs=2).fit(few.astype(np.uint8), Y)
    other = make(max_epochs=2).fit(few, Y)
    assert one.input_range_ == (0, levels - 1)
    np.testing.assert_array_equal(
        one.predict_proba(few.astype(np.uint8)), other.predict_proba(few)
    )
