import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skcaps.datasets import _affnist_like, make_affnist_like
from skcaps.datasets._warp import warp


def rings(n_samples, dtype=np.uint8, highest=255):
    """Rings about as large as MNIST's digits, in 28x28 pixels."""
    rows, columns = np.mgrid[:28, :28] - 13.5
    ring = np.abs(np.hypot(rows, columns) - 8) < 1.5
    return np.tile(highest * ring.astype(dtype), (n_samples, 1, 1))


@st.composite
def labelled_images(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    X = draw(npst.arrays(np.uint8, shape))
    return X, draw(npst.arrays(np.int64, shape[0], elements=st.integers(0, 9)))


@given(labelled_images(), st.integers(1, 3), st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_labels_and_shapes(data, n_versions, pad):
    X, y = data
    made = make_affnist_like(X, y, n_versions=n_versions, pad=pad, random_state=0)
    size = (X.shape[1] + 2 * pad, X.shape[2] + 2 * pad)
    assert made.images.shape == (n_versions * len(X), *size)
    np.testing.assert_array_equal(made.target, np.tile(y, n_versions))
    np.testing.assert_array_equal(made.target, y[made.source_indices])
    assert made.images.max() <= X.max()


@given(labelled_images(), st.floats(0, 90), st.floats(0, 0.5))
@settings(deadline=None, derandomize=True)
def test_no_ink_is_cut_where_it_fits(data, max_rotation, max_shear):
    """A much larger result, with the same maps and shifts, holds no more ink."""
    X, y = data
    X = X.astype(np.float64)
    options = {"max_rotation": max_rotation, "max_shear": max_shear}
    made = make_affnist_like(X, y, pad=6, **options, random_state=0)
    # 9 pixels at 90 degrees with half a pixel of shear and 1.2 are at most 17 wide.
    size = (made.images.shape[1] + 20, made.images.shape[2] + 20)
    larger = warp(X, made.matrices, made.shifts, size)
    np.testing.assert_allclose(larger[:, 10:-10, 10:-10], made.images, atol=1e-9)
    inside = made.images.sum((1, 2))
    np.testing.assert_allclose(inside, larger.sum((1, 2)), rtol=1e-9)


def test_shifts_use_the_whole_range():
    made = make_affnist_like(rings(2000), np.zeros(2000), random_state=0)
    assert abs(made.shifts).max() <= 8
    assert (made.shifts.min(0) < -7.5).all()
    assert (made.shifts.max(0) > 7.5).all()
    ring_is_whole = made.images[:, [0, -1]].max() < 255
    assert ring_is_whole


def test_matrices_stay_in_their_ranges():
    """Take rotation, shear and scale out of each matrix again."""
    made = make_affnist_like(rings(2000), np.zeros(2000), random_state=0)
    row, column = made.matrices[:, 0], made.matrices[:, 1]
    vertical = np.hypot(*row.T)
    rotation = np.rad2deg(np.arctan2(row[:, 1], row[:, 0]))
    horizontal = np.linalg.det(made.matrices) / vertical
    shear = (row * column).sum(1) / vertical / horizontal
    for found, lower, upper in [
        (vertical, 0.8, 1.2),
        (horizontal, 0.8, 1.2),
        (rotation, -20, 20),
        (shear, -0.2, 0.2),
    ]:
        margin = (upper - lower) / 100
        assert lower - 1e-9 <= found.min() <= lower + margin
        assert upper - margin <= found.max() <= upper + 1e-9


def test_factors_are_drawn_on_their_own():
    made = make_affnist_like(rings(2000), np.zeros(2000), max_rotation=0, max_shear=0,
                             random_state=0)  # fmt: skip
    factors = np.diagonal(made.matrices, axis1=1, axis2=2)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.1
    assert abs(np.corrcoef(made.shifts.T)[0, 1]) < 0.1


def test_without_any_range_the_image_is_in_the_middle(rng):
    X = rng.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    made = make_affnist_like(
        X, np.arange(3), max_rotation=0, max_shear=0, scale=(1, 1), max_shift=0
    )
    np.testing.assert_array_equal(made.images, np.pad(X, ((0, 0), (6, 6), (6, 6))))


def test_ink_too_large_for_the_result_stays_in_the_middle():
    X = np.ones((1, 9, 9))
    made = make_affnist_like(
        X, [0], pad=0, max_rotation=0, max_shear=0, scale=(3, 3), random_state=0
    )
    np.testing.assert_allclose(made.shifts, 0, atol=1e-12)
    np.testing.assert_array_equal(made.images, X)


def test_images_without_ink_stay_without():
    made = make_affnist_like(np.zeros((2, 9, 9)), [0, 1], random_state=0)
    assert not made.images.any()
    assert np.isfinite(made.shifts).all()


def test_ink_at_the_edge_comes_back_inside():
    X = np.zeros((300, 9, 9))
    X[:, 0, :] = 1
    made = make_affnist_like(
        X, np.zeros(300), pad=0, max_rotation=0, max_shear=0, scale=(1, 1),
        random_state=0,
    )  # fmt: skip
    np.testing.assert_allclose(made.images.sum((1, 2)), 9)
    assert made.shifts[:, 0].min() >= 0
    assert made.shifts[:, 0].max() > 7


def test_versions_differ():
    made = make_affnist_like(rings(1), [0], n_versions=2, random_state=0)
    assert (made.images[0] != made.images[1]).any()


def test_types_agree():
    """The same images in each type, but for rounding."""
    y = np.zeros(20)
    exact = make_affnist_like(rings(20, np.float64), y, random_state=0).images
    single = make_affnist_like(rings(20, np.float32), y, random_state=0).images
    whole = make_affnist_like(rings(20), y, random_state=0).images
    np.testing.assert_allclose(single, exact, atol=255 * 1e-5)
    np.testing.assert_allclose(whole, exact, atol=0.5 + 255 * 1e-5)


def test_return_X_y():
    made = make_affnist_like(rings(3), [0, 1, 2], random_state=0)
    X, y = make_affnist_like(rings(3), [0, 1, 2], random_state=0, return_X_y=True)
    np.testing.assert_array_equal(X, made.data)
    np.testing.assert_array_equal(y, made.target)
    assert np.shares_memory(made.data, made.images)


def test_description_says_that_it_is_not_the_published_set():
    made = make_affnist_like(rings(1), [0])
    assert "not the published affNIST" in made.DESCR
    assert "not the official affNIST" in make_affnist_like.__doc__


def test_blocks_make_no_difference(monkeypatch):
    expected = make_affnist_like(rings(10), np.zeros(10), random_state=0)
    monkeypatch.setattr(_affnist_like, "BLOCK", 3)
    found = make_affnist_like(rings(10), np.zeros(10), random_state=0)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.shifts, expected.shifts)


@pytest.mark.parametrize("name", ["max_rotation", "max_shear", "max_shift"])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_wrong_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite and not below 0"):
        make_affnist_like(rings(1), [0], **{name: value})


@pytest.mark.parametrize(
    "scale", [(1.2, 0.8), (0, 1), (-1, 1), (1,), (1, 1, 1), (1, np.inf), (np.nan, 1)]
)
def test_wrong_scale(scale):
    with pytest.raises(ValueError, match="scale must be two finite numbers above 0"):
        make_affnist_like(rings(1), [0], scale=scale)


def test_wrong_number_of_versions():
    with pytest.raises(ValueError, match=r"n_versions must be .* at least 1, got 0"):
        make_affnist_like(rings(1), [0], n_versions=0)
