import numpy as np
import pytest
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skcaps import EfficientCapsNetClassifier
from skcaps.inspection import (
    CouplingDisplay,
    PoseSweepDisplay,
    ReconstructionDisplay,
    TrainingDisplay,
)
from skcaps.inspection._drawing import aspect_of
from skcaps.inspection._sheet import _Bands, _Blocks

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

plt = pytest.importorskip("matplotlib.pyplot")

DECODING = [ReconstructionDisplay, PoseSweepDisplay]
DISPLAYS = [*DECODING, CouplingDisplay]


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


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def row_of_texts(display, n_images, below):
    """The texts of a row in one band of pictures, counted from the first one."""
    return texts(display)[below * n_images : (below + 1) * n_images]


def drawn(artist):
    return np.ma.filled(artist.get_array(), np.nan)


@pytest.mark.parametrize("display", DISPLAYS)
def test_draws_where_told(display, fitted, data):
    figure, axes = plt.subplots(2)
    found = display.from_estimator(fitted, data[0][:2], ax=axes[1])
    assert found.ax_ is axes[1]
    assert found.figure_ is figure
    assert found.plot(ax=axes[0]) is found
    assert found.ax_ is axes[0]


@pytest.mark.parametrize("display", DISPLAYS)
def test_makes_its_own_figure(display, fitted, data):
    found = display.from_estimator(fitted, data[0][:1])
    assert found.figure_.axes == [found.ax_]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("display", DISPLAYS)
def test_unfitted(display, data):
    with pytest.raises(NotFittedError):
        display.from_estimator(EfficientCapsNetClassifier(), data[0])


def test_unfitted_training():
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(EfficientCapsNetClassifier())


@pytest.mark.parametrize("display", [*DISPLAYS, TrainingDisplay])
def test_pipelines_are_told_what_to_pass(display, fitted, data):
    X = () if display is TrainingDisplay else (data[0][:1],)
    with pytest.raises(TypeError, match=r"got Pipeline; of a pipeline pass the last"):
        display.from_estimator(make_pipeline(fitted), *X)


@pytest.mark.parametrize("display", DECODING)
def test_without_decoder(display, data):
    classifier = EfficientCapsNetClassifier(max_epochs=1, decoder=None).fit(*data)
    with pytest.raises(ValueError, match="has no decoder"):
        display.from_estimator(classifier, data[0][:1])


@pytest.mark.parametrize("display", DISPLAYS)
def test_colour_map(display, fitted, data):
    found = display.from_estimator(fitted, data[0][:1], cmap="plasma")
    assert found.pictures_[-1, 0].get_cmap().name == "plasma"


@pytest.mark.parametrize("display", DECODING)
@pytest.mark.parametrize(
    ("shape", "dtype", "params", "expected"),
    [
        ((9, 9), np.uint8, {}, (9, 9)),
        ((1, 9, 9), np.float32, {}, (9, 9)),
        ((3, 9, 7), np.int64, {}, (9, 7, 3)),
        ((9, 7, 3), np.uint8, {"image_shape": (9, 7, 3)}, (9, 7, 3)),
        ((2, 9, 7), np.float32, {}, (9, 14)),
        ((5, 9, 9), np.uint8, {}, (18, 27)),
        ((10,), np.float32, {}, (1, 10)),
        ((1, 10, 1), np.float32, {}, (1, 10)),
        ((4, 1, 10), np.uint8, {}, (1, 10, 4)),
    ],
)
def test_kinds_of_images(display, rng, shape, dtype, params, expected):
    classifier, X = fit_random(rng, shape, dtype, **params)
    found = display.from_estimator(classifier, X[:2])
    images = found.originals if display is ReconstructionDisplay else found.images
    assert images.shape[-len(expected) :] == expected
    assert found.value_range == classifier.input_range_
    artist = found.pictures_[0, 0]
    if expected[0] == 1:
        assert len(artist) == (*expected, 1)[2]
        assert len(artist[0].get_xdata()) == 10
    else:
        assert drawn(artist).shape == expected
        assert np.nanmin(drawn(artist)) >= 0
        assert np.nanmax(drawn(artist)) <= 1


@pytest.mark.parametrize("display", DISPLAYS)
def test_containers(display, fitted, data):
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(data[0][:3]), pandas.Series(data[1][:3], index=[7, 8, 9])
    first = display.from_estimator(fitted, X, y)
    second = display.from_estimator(fitted, X.to_numpy().tolist(), list(y))
    assert texts(first) == texts(second)


@pytest.mark.parametrize("n_images", [1, 10, 100])
@pytest.mark.parametrize("shape", [(8, 8), (1, 64), (4, 40), (40, 2)])
def test_sizes_are_sensible(n_images, shape):
    aspect = aspect_of(np.zeros(shape))
    bands = _Bands.of(n_images, [aspect, aspect], n_lines=4)
    blocks = _Blocks.of(max(n_images, 6), 11, aspect, label=0.5)
    for size in (bands.size, blocks.size):
        assert min(size) >= 1.2
        assert max(size) <= 20
        assert max(size) / min(size) <= 6


def test_figures_hold_the_sheet():
    images = np.zeros((10, 4, 4))
    display = ReconstructionDisplay(images, images, y_true=range(10)).plot()
    bands = _Bands.of(10, [1.0, 1.0], n_lines=1)
    size = display.figure_.get_size_inches()
    assert np.all(size > bands.size)
    assert np.all(size < np.add(bands.size, 1.5))


def test_pictures_do_not_overlap():
    images = np.zeros((100, 8, 8))
    display = ReconstructionDisplay(images, images, y_true=range(100)).plot()
    boxes = [artist.get_extent() for artist in display.pictures_.flat]
    boxes = np.array([(left, top, right, low) for left, right, low, top in boxes])
    apart = (boxes[:, None, :2] >= boxes[None, :, 2:]).any(axis=2)
    assert (apart | apart.T | np.eye(200, dtype=bool)).all()
    right, bottom = display.ax_.get_xlim()[1], display.ax_.get_ylim()[0]
    assert boxes[:, 2].max() <= right + 1e-9
    assert boxes[:, 3].max() < bottom


def test_reconstructions_are_the_estimators(fitted, data):
    X, y = data[0][:4], data[1][:4]
    display = ReconstructionDisplay.from_estimator(fitted, *data, n_images=4)
    np.testing.assert_array_equal(display.originals, X.reshape(4, 8, 8))
    np.testing.assert_array_equal(
        display.reconstructions.reshape(4, -1), fitted.reconstruct(X, y)
    )
    np.testing.assert_allclose(
        display.errors, fitted.reconstruction_error(X, y), rtol=1e-5
    )
    expected = fitted.activations(X)[np.arange(4), y]
    np.testing.assert_allclose(display.activations, expected)
    assert row_of_texts(display, 4, 0) == [str(label) for label in y]
    assert row_of_texts(display, 4, 2) == [f"{a:.2f}" for a in expected]
    names = ["image", "reconstruction", "true class", "predicted", "activation"]
    assert texts(display)[-6:] == [*names, "error"]


def test_predicted_class_is_the_default(fitted, data):
    display = ReconstructionDisplay.from_estimator(fitted, data[0])
    predicted = fitted.predict(data[0][:10])
    np.testing.assert_array_equal(display.y_pred, predicted)
    assert display.y_true is None
    np.testing.assert_array_equal(
        display.reconstructions.reshape(10, -1), fitted.reconstruct(data[0][:10])
    )
    assert "true class" not in texts(display)


@pytest.mark.parametrize("make", [ReconstructionDisplay, CouplingDisplay])
def test_mistakes_are_marked(make):
    images = np.zeros((3, 4, 4))
    other = {"images": images} if make is CouplingDisplay else {}
    args = (images[:, None],) if make is CouplingDisplay else (images, images)
    display = make(*args, **other, y_true=["a", "b", "c"], y_pred=["a", "c", "c"])
    display.plot()
    assert row_of_texts(display, 3, 0) == ["a", "b", "c"]
    assert row_of_texts(display, 3, 1) == ["a", "\N{BALLOT X} c", "c"]
    bold = [
        text.get_text() for text in display.ax_.texts if text.get_weight() == "bold"
    ]
    assert bold == ["b", "\N{BALLOT X} c"]
    (frame,) = display.ax_.lines
    left, right, bottom, top = display.pictures_[0, 1].get_extent()
    assert set(frame.get_xdata()) == {left, right}
    assert set(frame.get_ydata()) == {top, bottom}


def test_originals_lie_above_reconstructions():
    images = np.zeros((1, 4, 4))
    display = ReconstructionDisplay(images, images + 1, value_range=(0, 1)).plot()
    above, below = display.pictures_[:, 0]
    assert np.all(drawn(above) == 0)
    assert np.all(drawn(below) == 1)
    # Inches are counted downwards.
    assert above.get_extent()[2] < below.get_extent()[3]


def test_series_rise_upwards():
    images = np.linspace(0, 1, 5).reshape(1, 1, 5)
    display = ReconstructionDisplay(images, images).plot()
    (line,) = display.pictures_[0, 0]
    places = display.ax_.transData.transform(line.get_xydata())
    assert np.all(np.diff(places, axis=0) > 0)


def test_constant_images_can_be_shown():
    images = np.full((1, 4, 4), 3.0)
    display = ReconstructionDisplay(images, images).plot()
    assert np.all(drawn(display.pictures_[0, 0]) == 0)


def test_errors_of_predictions(rng):
    images = rng.integers(0, 255, (2, 4, 5, 3)).astype(np.uint8)
    decoded = rng.uniform(0, 255, images.shape)
    display = ReconstructionDisplay.from_predictions(images, decoded)
    expected = [
        sum(((i - d) / 255) ** 2 for i, d in zip(a.ravel(), b.ravel(), strict=True))
        for a, b in zip(images.astype(float), decoded, strict=True)
    ]
    np.testing.assert_allclose(display.errors, expected)


def test_several_labels(rng):
    y = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]] * 5)
    classifier, X = fit_random(rng, (9, 9), np.uint8, y)
    display = ReconstructionDisplay.from_estimator(classifier, X[:3], y[:3])
    assert row_of_texts(display, 3, 0) == ["0+1", "none", "2"]
    found = classifier.activations(X[:3])
    expected = [found[0, :2].min(), np.nan, found[2, 2]]
    np.testing.assert_allclose(display.activations, expected)
    assert PoseSweepDisplay.from_estimator(classifier, X[:1], dimension=0) is not None
    assert CouplingDisplay.from_estimator(classifier, X[:1], y[:1]) is not None


@pytest.mark.parametrize("display", [ReconstructionDisplay, CouplingDisplay])
@pytest.mark.parametrize("n_images", [0, -1])
def test_n_images_must_be_positive(display, fitted, data, n_images):
    with pytest.raises(ValueError, match="n_images must be at least 1"):
        display.from_estimator(fitted, data[0], n_images=n_images)


def test_shapes_must_agree():
    display = ReconstructionDisplay(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="one shape"):
        display.plot()


def test_all_dimensions_and_the_papers_values(fitted, data):
    display = PoseSweepDisplay.from_estimator(fitted, data[0][:1], dimension="all")
    assert display.images.shape == (16, 11, 8, 8)
    np.testing.assert_allclose(display.values, np.linspace(-0.25, 0.25, 11))
    assert texts(display) == [str(d) for d in range(16)]
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert "0" in ticks
    assert display.ax_.get_xlabel() == "added to the dimension of the pose"


def test_dimensions_that_change_most(fitted, data):
    X, y = data[0][:2], data[1][:2]
    values = [-1, 0.5, 2]
    display = PoseSweepDisplay.from_estimator(
        fitted, X, y, n_dimensions=3, values=values
    )
    swept = fitted.sweep_pose(X, range(16), values, y)
    expected = []
    for sample in range(2):
        change = [sum(swept[sample, d].std(axis=0) ** 2) for d in range(16)]
        expected += [(sample, d) for d in np.argsort(change)[::-1][:3]]
    assert texts(display) == [f"{y[sample]}, {d}" for sample, d in expected]
    rows = np.array([swept[place] for place in expected])
    np.testing.assert_array_equal(display.images, rows.reshape(6, 3, 8, 8))


@pytest.mark.parametrize(("n_images", "n_rows"), [(1, 6), (2, 12), (5, 10), (20, 20)])
def test_number_of_rows(fitted, data, n_images, n_rows):
    display = PoseSweepDisplay.from_estimator(fitted, data[0][:n_images])
    assert len(display.images) == n_rows


def test_large_images_are_swept_one_by_one(fitted, data, monkeypatch):
    whole = PoseSweepDisplay.from_estimator(fitted, data[0][:3])
    monkeypatch.setattr("skcaps.inspection._pose_sweep._SWEEP_BYTES", 1)
    parts = PoseSweepDisplay.from_estimator(fitted, data[0][:3])
    np.testing.assert_array_equal(whole.images, parts.images)
    assert texts(whole) == texts(parts)


def test_rows_are_the_estimators_sweeps(fitted, data):
    X, y = data
    display = PoseSweepDisplay.from_estimator(
        fitted, X[:2], y[:2], dimension=(3, 1), values=[-1, 0, 1]
    )
    for row, (sample, dimension) in enumerate([(0, 3), (0, 1), (1, 3), (1, 1)]):
        swept = fitted.sweep_pose(X[:2], dimension, [-1, 0, 1], y[:2])
        expected = swept[sample].reshape(display.images[row].shape)
        np.testing.assert_array_equal(display.images[row], expected)
    assert texts(display) == ["0, 3", "0, 1", "1, 3", "1, 1"]


def test_one_dimension_of_several_images(fitted, data):
    display = PoseSweepDisplay.from_estimator(
        fitted, data[0][:3], data[1][:3], dimension=2
    )
    assert texts(display) == ["0", "1", "2"]
    assert "dimension 2" in display.ax_.get_ylabel()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": -1}, "dimension must be from 0 to 15"),
        ({"dimension": [0, 16]}, "dimension must be from 0 to 15"),
        ({"dimension": "most"}, 'must be "auto", "all", an int'),
        ({"dimension": 1, "n_dimensions": 2}, 'n_dimensions=2 is for dimension="auto"'),
        ({"n_dimensions": 0}, "n_dimensions must be at least 1, got 0"),
        ({"values": [0.1]}, "compares the drawings of two values or more"),
    ],
)
def test_options_of_the_sweep(fitted, data, options, message):
    with pytest.raises(ValueError, match=message):
        PoseSweepDisplay.from_estimator(fitted, data[0][:1], **options)


def test_binary_classifiers_work_with_scikit_learns_calibration(data):
    binary = data[1] < 2
    X, y = data[0][binary], data[1][binary]
    classifier = EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    display = CalibrationDisplay.from_estimator(classifier, X, y, n_bins=3)
    np.testing.assert_array_equal(display.y_prob, classifier.predict_proba(X)[:, 1])
