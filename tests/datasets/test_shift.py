import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skcaps.datasets import _shift, pad_and_shift

IMAGES = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(1, 8))
)


def find_shifts(pad, n_samples=2000, **options):
    """How far each of many equal images went down and right."""
    X = np.ones((n_samples, 1, 1), dtype=np.uint8)
    found = pad_and_shift(X, pad=pad, random_state=0, **options)
    rows, columns = np.nonzero(found)[1:]
    return np.column_stack([rows, columns]) - pad


@given(IMAGES, st.integers(0, 5), st.data())
@settings(deadline=None, derandomize=True)
def test_nothing_is_cut_within_the_padding(X, pad, data):
    max_shift = data.draw(st.integers(0, pad))
    found = pad_and_shift(X, pad=pad, max_shift=max_shift, random_state=0)
    height, width = X.shape[1:]
    assert found.shape == (len(X), height + 2 * pad, width + 2 * pad)
    for before, after in zip(X, found, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(after, before.shape)
        is_there = (windows == before).all((2, 3))
        whole = after.sum(dtype=int) == before.sum(dtype=int)
        assert is_there.any()
        assert whole


@given(IMAGES, st.integers(0, 3), st.integers(0, 12))
@settings(deadline=None, derandomize=True)
def test_no_value_is_new(X, pad, max_shift):
    found = pad_and_shift(X, pad=pad, max_shift=max_shift, random_state=0)
    for before, after in zip(X, found, strict=True):
        values, counts = np.unique(after[after > 0], return_counts=True)
        assert (counts <= [(before == value).sum() for value in values]).all()


def test_without_shift_the_image_is_in_the_middle(rng):
    X = rng.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    expected = np.pad(X, ((0, 0), (2, 2), (2, 2)))
    found = pad_and_shift(X, pad=2, max_shift=0, random_state=0)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_every_position_comes_as_often():
    shifts = find_shifts(pad=2, max_shift=2, n_samples=25_000)
    positions, counts = np.unique(shifts, axis=0, return_counts=True)
    assert len(positions) == 25
    # Six standard deviations of a binomial count around 1,000.
    assert abs(counts - 1000).max() < 6 * np.sqrt(1000)


def test_largest_shift_is_reached():
    shifts = find_shifts(pad=7, max_shift=5)
    assert shifts.min(0).tolist() == [-5, -5]
    assert shifts.max(0).tolist() == [5, 5]


def test_defaults_are_those_of_the_protocol():
    X = np.ones((2000, 28, 28), dtype=np.uint8)
    found = pad_and_shift(X, random_state=0)
    assert found.shape == (2000, 40, 40)
    corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1]].sum(0)
    assert corners.all()
    assert (found.sum((1, 2)) == 28 * 28).all()


def test_larger_shift_cuts():
    X = np.ones((500, 3, 3), dtype=np.uint8)
    ink = pad_and_shift(X, pad=0, max_shift=2, random_state=0).sum((1, 2))
    assert (ink.min(), ink.max()) == (1, 9)


def test_blocks_make_no_difference(rng, monkeypatch):
    X = rng.integers(0, 256, (10, 5, 5), dtype=np.uint8)
    expected = pad_and_shift(X, random_state=0)
    monkeypatch.setattr(_shift, "BLOCK", 3)
    np.testing.assert_array_equal(pad_and_shift(X, random_state=0), expected)


@pytest.mark.parametrize("shape", [(4, 81), (4, 9, 9)])
def test_flat_stays_flat(shape):
    found = pad_and_shift(np.zeros(shape, dtype=np.uint8), pad=1)
    assert found.shape == ((4, 121) if len(shape) == 2 else (4, 11, 11))
