import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from skcaps import EfficientCapsNetClassifier
from skcaps.inspection import PoseSweepDisplay, ReconstructionDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

plt = pytest.importorskip("matplotlib.pyplot")

DISPLAYS = [ReconstructionDisplay, PoseSweepDisplay]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(n_class=3, return_X_y=True)
    return X[:60], y[:60]


@pytest.fixture(scope="module")
def fitted(data):
    return EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(*data)


def fit_random(rng, shape, dtype, y=None, **params):
    X = rng.uniform(0, 200, (20, *shape)).astype(dtype)
    y = np.arange(20) % 2 if y is None else y
    params = {"max_epochs": 1, "random_state": 0, **params}
    return EfficientCapsNetClassifier(**params).fit(X, y), X


def tick_texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def shown(display):
    display.figure_.canvas.draw()
    return np.ma.filled(display.im_.get_array(), np.nan)


@pytest.mark.parametrize("display", DISPLAYS)
def test_draws_where_told(display, fitted, data):
    figure, axes = plt.subplots(2)
    drawn = display.from_estimator(fitted, data[0][:2], ax=axes[1])
    assert drawn.ax_ is axes[1]
    assert drawn.figure_ is figure
    assert drawn.plot(ax=axes[0]) is drawn
    assert drawn.ax_ is axes[0]


@pytest.mark.parametrize("display", DISPLAYS)
def test_makes_its_own_figure(display, fitted, data):
    drawn = display.from_estimator(fitted, data[0][:1])
    assert drawn.figure_.axes == [drawn.ax_]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("display", DISPLAYS)
def test_unfitted(display, data):
    with pytest.raises(NotFittedError):
        display.from_estimator(EfficientCapsNetClassifier(), data[0])


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_decoder(display, data):
    classifier = EfficientCapsNetClassifier(max_epochs=1, decoder=None).fit(*data)
    with pytest.raises(ValueError, match="has no decoder"):
        display.from_estimator(classifier, data[0][:1])


@pytest.mark.parametrize("display", DISPLAYS)
def test_colour_map(display, fitted, data):
    drawn = display.from_estimator(fitted, data[0][:1], cmap="viridis")
    assert drawn.im_.get_cmap().name == "viridis"


@pytest.mark.parametrize("display", DISPLAYS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize(
    ("shape", "params", "expected"),
    [
        ((9, 9), {}, (9, 9)),
        ((1, 9, 9), {}, (9, 9)),
        ((3, 9, 7), {}, (9, 7, 3)),
        ((9, 7, 3), {"image_shape": (9, 7, 3)}, (9, 7, 3)),
        ((2, 9, 7), {}, (9, 14)),
        ((10,), {}, (1, 10)),
    ],
)
def test_kinds_of_images(display, rng, dtype, shape, params, expected):
    classifier, X = fit_random(rng, shape, dtype, **params)
    drawn = display.from_estimator(classifier, X[:2])
    images = drawn.originals if display is ReconstructionDisplay else drawn.images
    assert images.shape[-len(expected) :] == expected
    assert drawn.value_range == classifier.input_range_
    picture = shown(drawn)
    assert np.nanmin(picture) >= 0
    assert np.nanmax(picture) <= 1


@pytest.mark.parametrize("display", DISPLAYS)
def test_containers(display, fitted, data, rng):
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(data[0][:3]), pandas.Series(data[1][:3], index=[7, 8, 9])
    assert display.from_estimator(fitted, X, y) is not None
    assert display.from_estimator(fitted, X.to_numpy().tolist(), list(y)) is not None


def test_reconstructions_are_the_estimators(fitted, data):
    X, y = data
    display = ReconstructionDisplay.from_estimator(fitted, X, y, n_images=4)
    np.testing.assert_array_equal(display.originals, X[:4].reshape(4, 8, 8))
    np.testing.assert_array_equal(
        display.reconstructions.reshape(4, -1), fitted.reconstruct(X[:4], y[:4])
    )
    assert tick_texts(display.ax_.xaxis) == [str(label) for label in y[:4]]
    assert tick_texts(display.ax_.yaxis) == ["image", "reconstruction"]


def test_predicted_class_is_the_default(fitted, data):
    display = ReconstructionDisplay.from_estimator(fitted, data[0])
    np.testing.assert_array_equal(display.labels, fitted.predict(data[0][:10]))


def test_originals_lie_above_reconstructions():
    images = np.zeros((1, 4, 4))
    display = ReconstructionDisplay(images, images + 1, value_range=(0, 1)).plot()
    picture = shown(display)
    assert np.all(picture[:4] == 0)
    assert np.all(np.isnan(picture[4]))
    assert np.all(picture[5:] == 1)


def test_gaps_of_colour_images_are_transparent():
    images = np.full((2, 4, 4, 3), 255, dtype=np.uint8)
    picture = shown(ReconstructionDisplay(images, images).plot())
    assert picture.shape == (9, 9, 4)
    assert np.all(picture[:4, :4] == 1)
    assert np.all(picture[4, :, 3] == 0)


def test_constant_images_can_be_shown():
    images = np.full((1, 4, 4), 3.0)
    assert np.nanmax(shown(ReconstructionDisplay(images, images).plot())) == 0


def test_without_labels(rng):
    images = rng.normal(size=(2, 4, 4))
    display = ReconstructionDisplay(images, images).plot()
    assert display.ax_.get_xlabel() == ""
    assert tick_texts(display.ax_.xaxis) == ["", ""]


def test_several_labels(rng):
    y = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]] * 5)
    classifier, X = fit_random(rng, (9, 9), np.uint8, y)
    display = ReconstructionDisplay.from_estimator(classifier, X[:3], y[:3])
    assert tick_texts(display.ax_.xaxis) == ["0+1", "none", "2"]
    assert PoseSweepDisplay.from_estimator(classifier, X[:1], dimension=0) is not None


@pytest.mark.parametrize("n_images", [0, -1])
def test_n_images_must_be_positive(fitted, data, n_images):
    with pytest.raises(ValueError, match="n_images must be at least 1"):
        ReconstructionDisplay.from_estimator(fitted, data[0], n_images=n_images)


def test_shapes_must_agree():
    display = ReconstructionDisplay(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="one shape"):
        display.plot()


def test_all_dimensions_and_the_papers_values(fitted, data):
    display = PoseSweepDisplay.from_estimator(fitted, data[0][:1])
    assert display.images.shape == (16, 11, 8, 8)
    np.testing.assert_allclose(display.values, np.linspace(-0.25, 0.25, 11))
    assert tick_texts(display.ax_.yaxis) == [str(d) for d in range(16)]
    assert tick_texts(display.ax_.xaxis)[::5] == ["-0.25", "0", "0.25"]


def test_rows_are_the_estimators_sweeps(fitted, data):
    X, y = data
    display = PoseSweepDisplay.from_estimator(
        fitted, X[:2], y[:2], dimension=(3, 1), values=[-1, 0, 1]
    )
    for row, (sample, dimension) in enumerate([(0, 3), (0, 1), (1, 3), (1, 1)]):
        swept = fitted.sweep_pose(X[:2], dimension, [-1, 0, 1], y[:2])
        expected = swept[sample].reshape(display.images[row].shape)
        np.testing.assert_array_equal(display.images[row], expected)
    assert tick_texts(display.ax_.yaxis) == ["0, 3", "0, 1", "1, 3", "1, 1"]


def test_one_dimension_of_several_images(fitted, data):
    display = PoseSweepDisplay.from_estimator(
        fitted, data[0][:3], data[1][:3], dimension=2
    )
    assert tick_texts(display.ax_.yaxis) == ["0", "1", "2"]
    assert "dimension 2" in display.ax_.get_ylabel()


@pytest.mark.parametrize("dimension", [-1, 16, [0, 16]])
def test_unknown_dimension(fitted, data, dimension):
    with pytest.raises(ValueError, match="dimension must be from 0 to 15"):
        PoseSweepDisplay.from_estimator(fitted, data[0][:1], dimension=dimension)
