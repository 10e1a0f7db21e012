import numpy as np
import pytest

from skcaps import EfficientCapsNetClassifier
from skcaps.inspection import TrainingDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def history(n_epochs, *parts):
    return [
        {
            f"{part}_{measure}": 1 / n
            for part in parts
            for measure in ("loss", "accuracy")
        }
        for n in range(1, n_epochs + 1)
    ]


def legend(display):
    return [text.get_text() for text in display.ax_[1].get_legend().get_texts()]


def test_curves_are_the_estimators(rng):
    X, y = rng.random((40, 6, 6)), np.arange(40) % 2
    classifier = EfficientCapsNetClassifier(
        max_epochs=3, early_stopping=True, decoder=None, random_state=0
    ).fit(X, y)
    display = TrainingDisplay.from_estimator(classifier)
    assert sorted(display.lines_) == [
        "train_accuracy",
        "train_loss",
        "valid_accuracy",
        "valid_loss",
    ]
    for key, line in display.lines_.items():
        expected = [row[key] for row in classifier.history_]
        np.testing.assert_array_equal(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        assert line.axes is display.ax_[int(key.endswith("accuracy"))]
    assert [ax.get_ylabel() for ax in display.ax_] == ["loss", "accuracy"]
    name = "EfficientCapsNetClassifier"
    assert legend(display) == [f"{name}, training", f"{name}, validation"]


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        (None, ["train"], ["training"]),
        ("a", ["train"], ["a"]),
        (None, ["train", "valid"], ["training", "validation"]),
    ],
)
def test_legend(name, parts, expected):
    assert legend(TrainingDisplay(history(2, *parts), name=name).plot()) == expected


def test_parts_of_epochs_end_where_they_were_stopped():
    rows = history(4, "train")
    rows[1]["fraction"] = 0.25
    display = TrainingDisplay(rows).plot()
    np.testing.assert_allclose(
        display.lines_["train_loss"].get_xdata(), [1, 1.25, 2.25, 3.25]
    )


def test_a_stopped_epoch_has_no_validation():
    rows = [*history(2, "train", "valid"), {**history(1, "train")[0], "fraction": 0.5}]
    display = TrainingDisplay(rows).plot()
    np.testing.assert_allclose(display.lines_["valid_loss"].get_xdata(), [1, 2])
    np.testing.assert_allclose(display.lines_["train_loss"].get_xdata(), [1, 2, 2.5])


def test_several_differ_in_colour_and_mark():
    first = TrainingDisplay(history(3, "train", "valid"), name="a").plot()
    second = TrainingDisplay(history(3, "train"), name="b").plot(first.ax_)
    assert second.figure_ is first.figure_
    looks = {
        (line.get_color(), line.get_marker())
        for line in (first.lines_["train_loss"], second.lines_["train_loss"])
    }
    assert len({colour for colour, _ in looks}) == 2
    assert len({marker for _, marker in looks}) == 2
    assert legend(second) == ["a, training", "a, validation", "b"]


def test_validation_is_dashed():
    lines = TrainingDisplay(history(3, "train", "valid")).plot().lines_
    assert lines["train_loss"].get_linestyle() == "-"
    assert lines["valid_loss"].get_linestyle() == "--"
    assert lines["train_loss"].get_color() == lines["valid_loss"].get_color()


def test_number_of_axes():
    _, axes = plt.subplots(3)
    with pytest.raises(ValueError, match=r"one axes, or two .* got 3"):
        TrainingDisplay(history(3, "train")).plot(axes)


def test_line_kw():
    display = TrainingDisplay(history(3, "train")).plot(line_kw={"linewidth": 5})
    assert display.lines_["train_loss"].get_linewidth() == 5


@pytest.mark.parametrize(
    "make", [lambda figure: figure.add_axes((0.1, 0.1, 0.8, 0.8)), plt.Figure.subplots]
)
def test_one_axes_is_divided(make):
    whole = make(plt.figure())
    display = TrainingDisplay(history(3, "train")).plot(ax=whole)
    assert display.figure_ is whole.figure
    assert [ax.get_ylabel() for ax in display.ax_] == ["loss", "accuracy"]
    left, right = (ax.get_window_extent() for ax in display.ax_)
    outer = whole.get_window_extent()
    assert outer.x0 <= left.x0 < left.x1 < right.x0 < right.x1 <= outer.x1 + 1
