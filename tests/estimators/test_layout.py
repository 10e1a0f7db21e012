import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from skcaps.estimators._layout import find_layout

from ._small import X, Y, make

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 2
LAST = ("height", "width", "channels")


@pytest.mark.parametrize(
    "shape",
    [
        (200, 3, 3), (5, 4, 4), (6, 2, 2), (16, 8, 4), (16, 4, 4), (512, 2, 2),
        (3, 8, 8), (1, 9, 3), (8, 1, 30),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_stated", [True, False])
def test_four_axes_are_channels_first(shape, is_stated):
    layout = find_layout(shape if is_stated else "auto", shape, np.prod(shape))
    assert layout.shape == shape
    images = RNG.random((12, *shape))
    clf = make(image_shape=shape if is_stated else "auto", decoder=None)
    clf.fit(images, LABELS)
    assert clf.image_shape_ == shape
    flat = images.reshape(12, -1)
    np.testing.assert_array_equal(clf.predict_proba(images), clf.predict_proba(flat))


@pytest.mark.parametrize(
    ("sizes", "if_last", "if_first"),
    [
        ((8, 9, 3), "(8, 9, 3)", "{'channels': 8, 'height': 9, 'width': 3}"),
        ((28, 28, 1), "(28, 28, 1)", "{'channels': 28, 'height': 28, 'width': 1}"),
        ((4, 100, 3), "{'height': 4, 'width': 100, 'channels': 3}", "(4, 100, 3)"),
    ],
)
def test_channels_that_seem_to_come_last_are_asked_for(sizes, if_last, if_first):
    images = RNG.random((12, *sizes))
    with pytest.raises(ValueError, match="seems to hold its channels last") as caught:
        make().fit(images, LABELS)
    message = str(caught.value)
    assert f"pass image_shape={if_last} to confirm" in message
    assert f"image_shape={if_first} if the channels come first" in message
    first, second, third = sizes
    stated = make(image_shape=eval(if_last)).fit(images, LABELS)
    assert stated.image_shape_ == (third, first, second)
    stated = make(image_shape=eval(if_first)).fit(images, LABELS)
    assert stated.image_shape_ == sizes


@pytest.mark.parametrize(
    "axes", [LAST, ("width", "channels", "height"), ("channels", "width", "height")]
)
def test_every_order_of_axes(axes):
    sizes = {"channels": 16, "height": 8, "width": 4}
    first = RNG.random((12, 16, 8, 4))
    names = list(sizes)
    moved = first.transpose(0, *(1 + names.index(name) for name in axes))
    expected = make(image_shape=(16, 8, 4)).fit(first, LABELS)
    clf = make(image_shape={name: sizes[name] for name in axes}).fit(moved, LABELS)
    assert clf.image_shape_ == (16, 8, 4)
    np.testing.assert_array_equal(
        clf.predict_proba(moved), expected.predict_proba(first)
    )
    decoded = clf.reconstruct(moved)
    assert decoded.shape == moved.shape
    np.testing.assert_array_equal(
        decoded.transpose(0, *(1 + axes.index(name) for name in names)),
        expected.reconstruct(first),
    )


def test_series_are_images_one_pixel_high():
    series = RNG.random((12, 3, 40))
    one = make(image_shape=(3, 1, 40)).fit(series, LABELS)
    other = make().fit(series[:, :, None], LABELS)
    np.testing.assert_array_equal(
        one.predict_proba(series), other.predict_proba(series[:, :, None])
    )
    assert one.reconstruct(series).shape == series.shape


@pytest.mark.parametrize(
    "image_shape",
    [{"height": 8, "width": 8}, {"h": 1, "w": 8, "c": 8}, (8, True), (0, 8), (8, -8)],
)
def test_shapes_that_are_none(image_shape):
    with pytest.raises(ValueError, match=r'image_shape must be "auto", .* a dict'):
        make(image_shape=image_shape).fit(X, Y)


@pytest.mark.parametrize(
    ("images", "one"),
    [
        (X.reshape(-1, 8, 8), X[0].reshape(8, 8)),
        (RNG.random((90, 3, 8, 8)), RNG.random((3, 8, 8))),
    ],
    ids=["grey", "colour"],
)
def test_one_image_needs_an_axis(images, one):
    clf = make().fit(images, Y)
    with pytest.raises(ValueError, match=r"got one image, .* pass X\[None\]"):
        clf.predict(one)
    assert clf.predict(one[None]).shape == (1,)


def as_objects(images):
    objects = np.empty(len(images), dtype=object)
    objects[:] = list(images)
    return objects


IMAGES = X.reshape(-1, 8, 8)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (as_objects(IMAGES), ValueError, r"row of ndarray objects.*np\.stack\(X\)"),
        (pd.Series(list(IMAGES)), ValueError, r"np\.stack\(X\)"),
        (["a.png", "b.png"], ValueError, r"got strings such as .*a\.png.*read the"),
        (np.array([["a.png"], ["b.png"]]), ValueError, "got strings such as"),
        (np.zeros((2, 4), "M8[s]"), ValueError, r"got datetime64\[s\]"),
        (np.zeros((2, 4), "m8[s]"), ValueError, r"got timedelta64\[s\]"),
        (torch.utils.data.DataLoader([1, 2]), TypeError, "got a DataLoader; stack"),
        (
            [Image.new("L", (8, 8)), Image.new("RGB", (8, 8))],
            ValueError,
            "one number of channels.*to one mode",
        ),
    ],
    ids=lambda value: None,
)
def test_what_is_no_array_of_numbers(given, error, message):
    with pytest.raises(error, match=message):
        make().fit(given, [0, 1])
    with pytest.raises(error, match=message):
        make().fit(X, Y).predict(given)


def test_lists_of_pictures():
    pictures = [
        Image.fromarray((16 * image).clip(0, 255).astype("uint8")) for image in IMAGES
    ]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    np.testing.assert_array_equal(
        make().fit(pictures, Y).predict_proba(pictures),
        make().fit(arrays, Y).predict_proba(arrays),
    )
