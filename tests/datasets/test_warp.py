import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from skcaps.datasets._warp import affine_matrices, ink_extents, warp

IMAGES = npst.arrays(
    np.float64,
    st.tuples(st.just(1), st.integers(1, 7), st.integers(1, 7)),
    elements=st.sampled_from([0.0, 0.0, 0.25, 1.0]),
)
MATRICES = st.builds(
    lambda rotation, shear, rows, columns: affine_matrices(
        np.array([rotation]), np.array([shear]), np.array([[rows, columns]])
    ),
    st.floats(-180, 180),
    st.floats(-1, 1),
    st.floats(0.4, 2),
    st.floats(0.4, 2),
)
SHIFTS = npst.arrays(np.float64, (1, 2), elements=st.floats(-4, 4))


def shift_only(images, shift, size):
    matrices = np.tile(np.eye(2), (len(images), 1, 1))
    return warp(images, matrices, np.tile(shift, (len(images), 1)), size)


@given(IMAGES, MATRICES, SHIFTS, st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(deadline=None, derandomize=True)
def test_same_as_scipy(images, matrices, shifts, size):
    inverse = np.linalg.inv(matrices[0])
    middle = (np.array(size) - 1) / 2 + shifts[0]
    offset = (np.array(images.shape[1:]) - 1) / 2 - inverse @ middle
    expected = ndimage.affine_transform(
        # A border, as SciPy fades at an image's edge in some modes and not in others.
        np.pad(images[0], 1), inverse, offset + 1, size, order=1, mode="constant",
    )  # fmt: skip
    found = warp(images, matrices, shifts, size)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(IMAGES, MATRICES, SHIFTS)
@settings(deadline=None, derandomize=True)
def test_ink_lies_within_its_extents(images, matrices, shifts):
    size = (61, 61)
    found = warp(images, matrices, shifts, size)[0]
    extents = ink_extents(images, matrices)[0] + shifts[0][:, None]
    for places, (lower, upper) in zip(np.nonzero(found > 1e-9), extents, strict=True):
        if len(places):
            assert places.min() - 30 > lower - 1e-6
            assert places.max() - 30 < upper + 1e-6


@given(IMAGES)
@settings(deadline=None, derandomize=True)
def test_extents_of_the_unmoved_image_are_tight(images):
    lower, upper = np.moveaxis(ink_extents(images, np.eye(2)[None])[0], 1, 0)
    places = np.argwhere(images[0]) - (np.array(images.shape[1:]) - 1) / 2
    if len(places):
        np.testing.assert_array_equal(lower, places.min(0) - 1)
        np.testing.assert_array_equal(upper, places.max(0) + 1)
    else:
        assert not lower.any()
        assert not upper.any()


@given(IMAGES, MATRICES, SHIFTS)
@settings(deadline=None, derandomize=True)
def test_values_stay_between_the_background_and_the_brightest(images, matrices, shifts):
    found = warp(images, matrices, shifts, (9, 9))
    assert found.min() >= 0
    assert found.max() <= images.max()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_identity(rng, dtype):
    images = rng.integers(0, 256, (3, 5, 6)).astype(dtype)
    found = shift_only(images, (0.0, 0.0), (5, 6))
    np.testing.assert_array_equal(found, images)
    assert found.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_whole_shift(rng):
    images = rng.random((3, 5, 6))
    found = shift_only(images, (1.0, -2.0), (5, 6))
    np.testing.assert_array_equal(found[:, 1:, :-2], images[:, :-1, 2:])
    assert not found[:, 0].any()
    assert not found[:, :, -2:].any()


def test_half_a_shift_is_the_average():
    image = np.array([[[0.0, 1.0, 0.0, 0.0]]])
    found = shift_only(image, (0.0, 0.5), (1, 4))
    np.testing.assert_allclose(found, [[[0.0, 0.5, 0.5, 0.0]]])


def test_each_image_has_its_own_map(rng):
    images = rng.random((4, 5, 5))
    matrices = affine_matrices(
        rng.uniform(-90, 90, 4), rng.uniform(-1, 1, 4), rng.uniform(0.5, 2, (4, 2))
    )
    shifts = rng.uniform(-2, 2, (4, 2))
    together = warp(images, matrices, shifts, (8, 7))
    alone = [
        warp(images[i : i + 1], matrices[i : i + 1], shifts[i : i + 1], (8, 7))[0]
        for i in range(4)
    ]
    np.testing.assert_array_equal(together, alone)


def test_right_angle_turns_clockwise(rng):
    images = rng.random((1, 4, 4))
    matrices = affine_matrices(np.array([90.0]), np.zeros(1), np.ones((1, 2)))
    found = warp(images, matrices, np.zeros((1, 2)), (4, 4))
    np.testing.assert_allclose(found[0], np.rot90(images[0], -1), atol=1e-12)


def test_scale_grows_by_its_factor():
    image = np.zeros((1, 21, 21))
    image[0, 8:13, 8:13] = 1
    matrices = affine_matrices(np.zeros(1), np.zeros(1), np.array([[2.0, 1.0]]))
    found = warp(image, matrices, np.zeros((1, 2)), (21, 21))
    assert found.sum() == pytest.approx(2 * image.sum())
    assert (np.ptp(np.nonzero(found.any(2))[1]), found.any(1).sum()) == (10, 5)


def test_shear_moves_lower_rows_right():
    image = np.zeros((1, 5, 5))
    image[0, :, 2] = 1
    matrices = affine_matrices(np.zeros(1), np.array([1.0]), np.ones((1, 2)))
    found = warp(image, matrices, np.zeros((1, 2)), (5, 5))
    np.testing.assert_allclose(found[0], np.eye(5), atol=1e-12)
