import hashlib
import re

import numpy as np
import pytest

from skcaps.datasets import _isbi2012, load_isbi2012

SHAPE = (30, 4, 5)
PARTS = {"train": range(20), "test": range(20, 30), "all": range(30)}


@pytest.fixture
def arrays(rng):
    return {
        "images": rng.integers(0, 256, SHAPE, dtype=np.uint8),
        "membranes": rng.integers(0, 2, SHAPE, dtype=np.uint8),
    }


@pytest.fixture
def home(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(_isbi2012, "SHAPE", SHAPE)
    for name, array in arrays.items():
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        monkeypatch.setitem(_isbi2012.SHA256, name, digest)
    (tmp_path / "isbi2012").mkdir()
    np.savez_compressed(tmp_path / "isbi2012" / "isbi2012.npz", **arrays)
    return tmp_path


@pytest.mark.parametrize("subset", PARTS)
def test_bunch(home, arrays, subset):
    bunch = load_isbi2012(subset=subset, data_home=home)
    part = list(PARTS[subset])
    np.testing.assert_array_equal(bunch.images, arrays["images"][part], strict=True)
    np.testing.assert_array_equal(bunch.target, arrays["membranes"][part], strict=True)
    np.testing.assert_array_equal(bunch.slices, np.array(part), strict=True)
    assert bunch.data.shape == (len(part), 20)
    assert np.shares_memory(bunch.data, bunch.images)
    assert bunch.images.flags.writeable
    assert bunch.images.base is None
    assert bunch.target_names == ["cell", "membrane"]
    assert "Drosophila" in bunch.DESCR


def test_no_slice_is_in_both_parts(home):
    train, test = (
        load_isbi2012(subset=part, data_home=home) for part in PARTS if part != "all"
    )
    assert sorted([*train.slices, *test.slices]) == list(range(30))


def test_train_is_the_default(home):
    assert load_isbi2012(data_home=home).slices.tolist() == list(range(20))


def test_return_X_y(home, arrays):
    X, y = load_isbi2012(data_home=home, return_X_y=True)
    np.testing.assert_array_equal(X, arrays["images"][:20])
    np.testing.assert_array_equal(y, arrays["membranes"][:20])


def test_caller_may_change_the_names(home):
    load_isbi2012(data_home=home).target_names.clear()
    assert len(load_isbi2012(data_home=home).target_names) == 2


def test_environment_names_the_folder(home, monkeypatch):
    monkeypatch.setenv("SKCAPS_DATA", str(home))
    assert load_isbi2012().images.shape == (20, 4, 5)


def test_unknown_subset(home):
    with pytest.raises(
        ValueError, match=r"one of \['all', 'test', 'train'\], got 'val"
    ):
        load_isbi2012(subset="validation", data_home=home)


def test_missing_file(tmp_path):
    path = tmp_path / "isbi2012" / "isbi2012.npz"
    message = f"{path} does not exist; get train-volume.tif and train-labels.tif"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_isbi2012(data_home=tmp_path)


@pytest.mark.parametrize("name", ["images", "membranes"])
def test_other_values(home, arrays, name):
    arrays[name][3, 2, 1] ^= 1
    np.savez(home / "isbi2012" / "isbi2012.npz", **arrays)
    with pytest.raises(
        ValueError, match=f"values of {name} in .* must have the SHA-256"
    ):
        load_isbi2012(data_home=home)


def test_damaged_file(home):
    path = home / "isbi2012" / "isbi2012.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"must be a whole \.npz archive"):
        load_isbi2012(data_home=home)


# The stack as its papers describe it: 30 slices of 512x512 pixels, dark membranes.
def test_real_slices(data_home):
    isbi = load_isbi2012(subset="all", data_home=data_home)
    assert isbi.images.shape == isbi.target.shape == (30, 512, 512)
    assert np.unique(isbi.target).tolist() == [0, 1]
    assert isbi.target.mean() == pytest.approx(0.2196, abs=5e-5)
    is_membrane = isbi.target == 1
    assert isbi.images[is_membrane].mean() == pytest.approx(85.3, abs=0.05)
    assert isbi.images[~is_membrane].mean() == pytest.approx(137.7, abs=0.05)


def test_real_neighbours_are_alike(data_home):
    """What the split by slices is for, and that they are in order."""
    images = load_isbi2012(subset="all", data_home=data_home).images[:, ::4, ::4]
    similar = np.corrcoef(images.reshape(30, -1))
    assert np.diag(similar, 1).mean() > np.diag(similar, 5).mean() + 0.1
