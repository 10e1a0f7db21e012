import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skcaps.datasets import _multimnist, iter_multimnist, make_multimnist

ARRAYS = ["images", "data", "target", "sources", "source_target", "source_indices"]


@st.composite
def labelled_images(draw):
    """A few images, and labels of two classes at least."""
    shape = draw(st.tuples(st.integers(2, 8), st.integers(1, 6), st.integers(1, 6)))
    dtype = draw(st.sampled_from([np.uint8, np.float32, np.float64]))
    values = None if dtype == np.uint8 else st.floats(0, 1, width=32)
    X = draw(npst.arrays(dtype, shape, elements=values))
    y = draw(npst.arrays(np.int64, shape[0], elements=st.integers(-2, 3)))
    if len(np.unique(y)) < 2:
        y[0] = 7
    return X, y


SIZES = st.tuples(st.integers(1, 20), st.integers(0, 3), st.integers(0, 3))


def make(data, sizes):
    n_samples, pad, max_shift = sizes
    return make_multimnist(
        *data, n_samples=n_samples, pad=pad, max_shift=max_shift, random_state=0
    )


@given(labelled_images(), SIZES)
@settings(deadline=None, derandomize=True)
def test_classes_differ_and_are_marked(data, sizes):
    _, y = data
    pairs = make(data, sizes)
    np.testing.assert_array_equal(pairs.source_target, y[pairs.source_indices])
    assert (pairs.source_target[:, 0] != pairs.source_target[:, 1]).all()
    np.testing.assert_array_equal(pairs.classes, np.unique(y))
    expected = (pairs.source_target[:, :, None] == pairs.classes).any(1)
    np.testing.assert_array_equal(pairs.target, expected.astype(np.uint8), strict=True)


@given(labelled_images(), SIZES)
@settings(deadline=None, derandomize=True)
def test_sum_of_the_sources_is_clipped(data, sizes):
    X, _ = data
    pairs = make(data, sizes)
    n_samples, pad, _ = sizes
    size = (X.shape[1] + 2 * pad, X.shape[2] + 2 * pad)
    assert pairs.sources.shape == (n_samples, 2, *size)
    assert pairs.images.dtype == pairs.sources.dtype == X.dtype
    wide = np.int64 if X.dtype == np.uint8 else X.dtype
    highest = 255 if X.dtype == np.uint8 else X.max()
    expected = np.minimum(pairs.sources.astype(wide).sum(1), highest)
    np.testing.assert_array_equal(pairs.images, expected.astype(X.dtype), strict=True)


@given(labelled_images(), SIZES)
@settings(deadline=None, derandomize=True)
def test_no_ink_is_cut_within_the_padding(data, sizes):
    X, _ = data
    n_samples, pad, max_shift = sizes
    pairs = make(data, (n_samples, pad, min(pad, max_shift)))
    # Sorted, as the sum of floating-point numbers depends on their order.
    before = np.sort(X[pairs.source_indices].reshape(n_samples, 2, -1))
    after = np.sort(pairs.sources.reshape(n_samples, 2, -1))
    n_pixels = before.shape[2]
    np.testing.assert_array_equal(after[:, :, -n_pixels:], before)
    assert not after[:, :, :-n_pixels].any()


@given(labelled_images(), st.integers(1, 30), st.integers(1, 12))
@settings(deadline=None, derandomize=True)
def test_batches_hold_what_is_made_at_once(data, n_samples, batch_size):
    options = {"n_samples": n_samples, "pad": 1, "max_shift": 1, "random_state": 3}
    whole = make_multimnist(*data, **options)
    batches = list(iter_multimnist(*data, batch_size=batch_size, **options))
    assert [len(batch.images) for batch in batches[:-1]] == [batch_size] * (
        len(batches) - 1
    )
    for name in ARRAYS:
        found = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(found, whole[name], strict=True)


@given(labelled_images(), st.integers(1, 4))
@settings(deadline=None, derandomize=True)
def test_every_image_has_its_turn(data, n_passes):
    X, y = data
    pairs = make_multimnist(X, y, n_samples=n_passes * len(X), random_state=0)
    np.testing.assert_array_equal(
        np.bincount(pairs.source_indices[:, 0], minlength=len(X)), n_passes
    )


@pytest.fixture
def X(rng):
    return rng.integers(0, 256, (30, 28, 28), dtype=np.uint8)


@pytest.fixture
def y():
    return np.arange(30) % 10


def test_shapes_of_the_paper(X, y):
    pairs = make_multimnist(X, y, random_state=0)
    assert pairs.images.shape == (30, 36, 36)
    assert pairs.data.shape == (30, 36 * 36)
    assert np.shares_memory(pairs.data, pairs.images)
    assert pairs.target.shape == (30, 10)
    assert "MultiMNIST" in pairs.DESCR


def test_return_X_y(X, y):
    pairs = make_multimnist(X, y, random_state=0)
    data, target = make_multimnist(X, y, random_state=0, return_X_y=True)
    np.testing.assert_array_equal(data, pairs.data)
    np.testing.assert_array_equal(target, pairs.target)


# By hand: of two whole shifts between -s and s the distance is 4 s (s + 1) / (6 s + 3)
# on average, and rows and columns are drawn on their own.
@pytest.mark.parametrize(("max_shift", "expected"), [(0, 1.0), (4, 0.7996), (6, 0.716)])
def test_overlap_of_the_boxes(X, y, max_shift, expected):
    pairs = make_multimnist(X, y, n_samples=20_000, max_shift=max_shift, random_state=0)
    assert pairs.overlap == pytest.approx(expected, abs=0.003)


def test_overlap_is_measured_on_the_images():
    X = np.ones((2, 5, 7))
    pairs = make_multimnist(X, [0, 1], n_samples=200, random_state=0)
    shared = pairs.sources.all(axis=1).mean(0).sum() / 35
    assert pairs.overlap == pytest.approx(shared)


def test_boxes_far_apart_do_not_overlap():
    X = np.ones((2, 2, 2))
    options = {"n_samples": 500, "pad": 9, "max_shift": 9, "random_state": 0}
    pairs = make_multimnist(X, [0, 1], **options)
    shared = pairs.sources.all(axis=1).mean(0).sum() / 4
    assert pairs.overlap == pytest.approx(shared)


def test_partners_are_equally_likely():
    """Of unequal classes, each other image comes as often."""
    X, y = np.ones((6, 1, 1)), np.array([1, 0, 2, 0, 0, 1])
    pairs = make_multimnist(X, y, n_samples=6 * 4000, random_state=0)
    first, second = pairs.source_indices.T
    counts = np.zeros((6, 6))
    np.add.at(counts, (first, second), 1)
    differ = y[:, None] != y
    expected = 4000 * differ / differ.sum(axis=1, keepdims=True)
    assert (counts[~differ] == 0).all()
    # Six standard deviations of a binomial count, at most.
    assert (abs(counts - expected) < 6 * np.sqrt(np.maximum(expected, 1))).all()


def test_shifts_are_independent():
    X = np.ones((2, 1, 1))
    pairs = make_multimnist(
        X, [0, 1], n_samples=9 * 9 * 200, max_shift=1, pad=1, random_state=0
    )
    places = np.argmax(pairs.sources.reshape(-1, 2, 9), axis=2)
    counts = np.bincount(places @ [9, 1], minlength=81)
    assert abs(counts - 200).max() < 6 * np.sqrt(200)


def test_labels_may_be_names(X):
    y = np.array(["cat", "dog", "eel"])[np.arange(30) % 3]
    pairs = make_multimnist(X, y, random_state=0)
    assert pairs.classes.tolist() == ["cat", "dog", "eel"]
    np.testing.assert_array_equal(pairs.source_target, y[pairs.source_indices])


def test_one_class_only(X):
    with pytest.raises(ValueError, match=r"two classes or more, .* got only"):
        make_multimnist(X, np.ones(30))


def test_blocks_make_no_difference(X, y, monkeypatch):
    expected = make_multimnist(X, y, n_samples=50, random_state=0)
    monkeypatch.setattr(_multimnist, "BLOCK", 7)
    found = make_multimnist(X, y, n_samples=50, random_state=0)
    for name in ARRAYS:
        np.testing.assert_array_equal(found[name], expected[name])


def test_stream_has_no_end(X, y):
    batches = iter_multimnist(X, y, batch_size=7, random_state=0)
    assert [len(batch.data) for batch in itertools.islice(batches, 20)] == [7] * 20


def test_stream_names_wrong_arguments_at_once(X, y):
    with pytest.raises(ValueError, match="batch_size must be a whole number, at least"):
        iter_multimnist(X, y, batch_size=0)


@pytest.mark.parametrize("function", [make_multimnist, iter_multimnist])
def test_wrong_n_samples(X, y, function):
    with pytest.raises(ValueError, match=r"n_samples must be .* at least 1, got 0"):
        function(X, y, n_samples=0)


def test_bunch_has_its_own_labels(X, y):
    batches = iter_multimnist(X, y, n_samples=256, random_state=0)
    next(batches).classes[:] = -1
    np.testing.assert_array_equal(next(batches).classes, np.arange(10))
