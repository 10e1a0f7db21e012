import numpy as np
import pytest

from skcaps.datasets import novel_viewpoint_split

COLUMNS = {"elevation": 1, "azimuth": 2}


@pytest.fixture
def info():
    """Every viewpoint and lighting of one toy, shuffled."""
    grid = np.meshgrid([4], np.arange(9), np.arange(0, 36, 2), np.arange(6))
    info = np.stack(grid, axis=-1).reshape(-1, 4)
    return np.random.default_rng(0).permutation(info)


@pytest.mark.parametrize("by", sorted(COLUMNS))
def test_a_third_is_familiar(info, by):
    familiar, novel = novel_viewpoint_split(info, by=by)
    assert 3 * len(familiar) == len(info)
    both = np.concatenate([familiar, novel])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(info)))


@pytest.mark.parametrize("by", sorted(COLUMNS))
def test_no_viewpoint_is_in_both(info, by):
    familiar, novel = novel_viewpoint_split(info, by=by)
    column = info[:, COLUMNS[by]]
    assert not set(column[familiar]) & set(column[novel])


@pytest.mark.parametrize("by", sorted(COLUMNS))
def test_indices_ascend(info, by):
    for indices in novel_viewpoint_split(info, by=by):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()


def test_familiar_azimuths_surround_the_front(info):
    familiar, _ = novel_viewpoint_split(info, by="azimuth")
    degrees = 10 * np.unique(info[familiar, 2])
    np.testing.assert_array_equal(degrees, [0, 20, 40, 300, 320, 340])


def test_familiar_elevations_are_the_lowest(info):
    familiar, novel = novel_viewpoint_split(info, by="elevation")
    assert info[familiar, 1].max() < info[novel, 1].min()


def test_azimuth_is_the_default(info):
    for found, expected in zip(
        novel_viewpoint_split(info), novel_viewpoint_split(info, by="azimuth"),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected)


def test_unknown_by(info):
    with pytest.raises(
        ValueError, match=r"one of \['azimuth', 'elevation'\], got 'l.*'"
    ):
        novel_viewpoint_split(info, by="lighting")


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 3, 4)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"shape \(n_samples, 4\).* got \("):
        novel_viewpoint_split(np.zeros(shape, dtype=int))
