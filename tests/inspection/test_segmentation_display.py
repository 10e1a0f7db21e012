import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skcaps import SegCapsSegmenter
from skcaps.inspection import ReconstructionDisplay, SegmentationDisplay
from skcaps.inspection._drawing import MISTAKE_COLOUR

IMAGES = np.linspace(0, 1, 3 * 6 * 8).reshape(3, 6, 8)
TRUE = (IMAGES > 0.5).astype(int)
FOUND = (IMAGES > 0.6).astype(int)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def difference(display):
    """The last row of pictures."""
    return np.stack([picture.get_array() for picture in display.pictures_[-1]])


def is_wrong(shown):
    return np.isclose(shown, to_rgb(MISTAKE_COLOUR)).all(axis=-1)


def test_shows_where_masks_differ():
    display = SegmentationDisplay.from_predictions(IMAGES, TRUE, FOUND)
    names = [text.get_text() for text in display.ax_.texts]
    assert names == ["image", "mask", "prediction", "difference"]
    assert_array_equal(is_wrong(difference(display)), TRUE != FOUND)


@pytest.mark.parametrize(
    ("masks", "ignored"),
    [
        (np.where(TRUE != FOUND, -1, TRUE), -1),
        (np.where(TRUE != FOUND, "?", TRUE.astype(str)), "?"),
    ],
)
def test_unknown_pixels_are_never_wrong(masks, ignored):
    found = FOUND.astype(masks.dtype)
    display = SegmentationDisplay.from_predictions(
        IMAGES, masks, found, ignore_label=ignored
    )
    shown = difference(display)
    assert not is_wrong(shown).any()
    assert (np.isclose(shown[..., 0], 0.6)).sum() == (masks == ignored).sum()


def test_colour_images_keep_their_colours():
    images = np.random.default_rng(0).random((1, 4, 4, 3))
    masks = np.zeros((1, 4, 4), int)
    display = SegmentationDisplay(images, masks, masks, value_range=(0, 1)).plot()
    assert_allclose(display.pictures_[0, 0].get_array(), images[0])


def test_shows_the_first_images_of_an_estimator():
    segmenter = SegCapsSegmenter(variant="encoder", max_epochs=1, random_state=0)
    flat = IMAGES.reshape(3, -1)
    segmenter.set_params(image_shape=(6, 8)).fit(flat, TRUE)
    display = SegmentationDisplay.from_estimator(segmenter, flat, TRUE, n_images=2)
    assert display.y_pred.shape == (2, 6, 8)
    assert display.pictures_.shape == (4, 2)


@pytest.fixture(scope="module")
def segmenter():
    """A segmenter of images of two channels."""
    segmenter = SegCapsSegmenter(variant="encoder", max_epochs=1, random_state=0)
    return segmenter.fit(np.stack([IMAGES, 0 * IMAGES], axis=1), TRUE)


def test_other_channels_are_shown_by_their_mean(segmenter):
    images = np.stack([IMAGES, 0 * IMAGES], axis=1)
    display = SegmentationDisplay.from_estimator(segmenter, images, TRUE)
    assert_allclose(display.images, IMAGES / 2)


def test_says_what_is_wrong_with_an_estimator(segmenter):
    show = SegmentationDisplay.from_estimator
    images = np.stack([IMAGES, 0 * IMAGES], axis=1)
    with pytest.raises(ValueError, match=r"masks of shape \(6, 8\) .* got \(6, 7\)"):
        show(segmenter, images, TRUE[:, :, 1:])
    with pytest.raises(TypeError, match="which has background_label_, got Pipeline"):
        show(make_pipeline(segmenter), images, TRUE)
    with pytest.raises(TypeError, match="reconstruction_error, got SegCapsSegmenter"):
        ReconstructionDisplay.from_estimator(segmenter, images)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"shape of the images, \(3, 6, 8\), got"):
        SegmentationDisplay(IMAGES, TRUE[:2], FOUND).plot()
    with pytest.raises(ValueError, match="n_images must be at least 1, got 0"):
        SegmentationDisplay.from_predictions(IMAGES, TRUE, FOUND, n_images=0)
    with pytest.raises(NotFittedError):
        SegmentationDisplay.from_estimator(SegCapsSegmenter(), IMAGES, TRUE)
