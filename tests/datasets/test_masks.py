import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skcaps.datasets import (
    iter_multimnist,
    label_pixels,
    load_mnist,
    make_multimnist,
    masks_from_sources,
)

SHAPES = st.tuples(*[st.integers(1, 4)] * 4)
UINT8 = npst.arrays(np.uint8, SHAPES)


@given(UINT8)
@settings(deadline=None, derandomize=True)
def test_masks_are_those_of_each_pixel(sources):
    objects, overlap, depth = masks_from_sources(sources)
    assert (objects.dtype, overlap.dtype, depth.dtype) == (bool, bool, np.uint8)
    for place, value in np.ndenumerate(sources):
        assert objects[place] == (value > 255 / 2)
    for (sample, *place), found in np.ndenumerate(depth):
        covered = [bool(mask[tuple(place)]) for mask in objects[sample]]
        assert found == sum(covered)
        assert overlap[(sample, *place)] == (sum(covered) > 1)


@given(UINT8)
@settings(deadline=None, derandomize=True)
def test_scale_of_the_images_makes_no_difference(sources):
    expected = masks_from_sources(sources)
    for found in (
        masks_from_sources((sources / 255).astype(np.float32)),
        masks_from_sources(sources / 10, threshold=12.75),
    ):
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.fixture
def pairs(rng):
    X = rng.integers(0, 256, (20, 6, 6), dtype=np.uint8)
    return make_multimnist(X, np.arange(20) % 5, random_state=0)


def test_batches_have_the_masks_of_the_whole(rng):
    X, y = rng.random((20, 6, 6)), np.arange(20) % 5
    whole = masks_from_sources(make_multimnist(X, y, random_state=0).sources)
    batches = iter_multimnist(X, y, batch_size=7, n_samples=20, random_state=0)
    parts = [masks_from_sources(batch.sources) for batch in batches]
    for name in whole._fields:
        found = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(found, getattr(whole, name))


@pytest.mark.parametrize("names", [None, np.array(["a", "b", "c", "d", "e"])])
def test_labels_are_those_of_each_pixel(pairs, names):
    objects, _, _ = masks_from_sources(pairs.sources)
    target, background, both = pairs.source_target, 5, -1
    if names is not None:
        target, background, both = names[target], "background", "unknown"
    labels = label_pixels(objects, target, background=background, overlap=both)
    assert labels.shape == pairs.images.shape
    for (sample, *place), found in np.ndenumerate(labels):
        first, second = objects[sample, :, *place]
        expected = {
            (False, False): background,
            (True, False): target[sample, 0],
            (False, True): target[sample, 1],
            (True, True): both,
        }
        assert found == expected[first, second]


def test_overlap_is_unknown_by_default():
    objects = np.ones((1, 2, 1, 1), dtype=bool)
    assert label_pixels(objects, [[3, 4]], background=10).tolist() == [[[-1]]]


def test_labels_of_a_small_type_hold_the_overlap():
    objects = np.ones((1, 2, 1, 1), dtype=bool)
    target = np.array([[3, 4]], dtype=np.uint8)
    assert label_pixels(objects, target, background=10).tolist() == [[[-1]]]


@pytest.mark.parametrize(
    ("sources", "options", "match"),
    [
        (np.zeros((2, 3, 3)), {}, r"of the shape \(n_samples, .* got .* \(2, 3, 3\)"),
        (np.zeros((0, 2, 3, 3)), {}, r"got float64 of the shape \(0, 2, 3, 3\)"),
        (np.zeros((1, 2, 3, 3), int), {}, "sources must be uint8, .* got int64"),
        (np.full((1, 2, 1, 1), -1.0), {}, r"not below 0, .* from -1\.0"),
        (np.full((1, 2, 1, 1), np.nan), {}, "sources must be finite .* got .* nan"),
        (np.full((1, 2, 1, 1), 16.0), {}, r"not be above 1, .* got 16\.0; pass thr"),
        (np.ones((1, 2, 1, 1)), {"threshold": 0}, "number above 0, got 0"),
        (np.ones((1, 2, 1, 1)), {"threshold": np.nan}, "number above 0, got nan"),
        (np.ones((1, 2, 1, 1)), {"threshold": "0.5"}, "number above 0, got '0.5'"),
    ],
)
def test_wrong_sources(sources, options, match):
    with pytest.raises(ValueError, match=match):
        masks_from_sources(sources, **options)


@pytest.mark.parametrize(
    ("objects", "target"),
    [
        (np.ones((1, 2, 3), bool), [[1, 2]]),
        (np.ones((1, 2, 3, 3)), [[1, 2]]),
        (np.ones((1, 2, 3, 3), bool), [1]),
    ],
    ids=["axes", "type", "labels"],
)
def test_wrong_objects(objects, target):
    with pytest.raises(ValueError, match="objects must be boolean, of the shape"):
        label_pixels(objects, target, background=10)


def test_numbers_and_names():
    with pytest.raises(ValueError, match="all numbers or all strings, got int64, 'no'"):
        label_pixels(np.ones((1, 1, 1, 1), bool), [[1]], background="no")


def test_real_digits(data_home):
    """Digits cover a part of their images, and of each other."""
    mnist = load_mnist(subset="test", data_home=data_home)
    pairs = make_multimnist(mnist.images, mnist.target, n_samples=500, random_state=0)
    masks = masks_from_sources(pairs.sources)
    assert 0.05 < masks.objects.mean() < 0.1
    assert 0.1 < masks.overlap.sum() / masks.objects[:, 0].sum() < 0.4
