import gzip
import struct

import brain
import numpy as np
import pytest
from brain import load_brain_slices

# From left to right, from back to front, from bottom to top.
SHAPE = (3, 2, 4)


def nifti(volume):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<4h", header, 40, 3, *volume.shape)
    struct.pack_into("<h", header, 70, 2)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    # The first axis is counted first.
    return bytes(header) + volume.tobytes(order="F")


@pytest.fixture
def volumes():
    scan, grey, white = np.zeros((3, *SHAPE), dtype=np.uint8)
    scan[:, :, 1:3] = 100
    scan[2, 1, 2] = 200
    grey[0, 0, 1:3], white[0, 0, 1:3] = 150, 100
    grey[1, 0, 1:3], white[1, 0, 1:3] = 100, 150
    grey[2, 0, 1:3], white[2, 0, 1:3] = 60, 60
    grey[0, 0, 0] = 255
    return {"t1": scan, "gm": grey, "wm": white}


@pytest.fixture
def folder(volumes, tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "SHAPE", SHAPE)
    for kind, volume in volumes.items():
        body = gzip.compress(nifti(volume))
        (tmp_path / brain.FILES[kind]).write_bytes(body)
    return tmp_path


def test_slices_are_axial(folder, volumes):
    slices = load_brain_slices(folder)
    assert slices.slices.tolist() == [1, 2]
    assert slices.images.shape == slices.target.shape == (2, 2, 3)
    for place, image in zip([1, 2], slices.images, strict=True):
        np.testing.assert_array_equal(image, volumes["t1"][:, :, place].T)


def test_tissue_is_what_most_of_a_pixel_is(folder):
    slices = load_brain_slices(folder)
    names = np.array(slices.target_names)[slices.target[0, 0]]
    assert names.tolist() == ["grey matter", "white matter", "other"]
    assert slices.target.dtype == np.uint8


def test_outside_the_brain_is_background(folder):
    whole = load_brain_slices(folder, min_brain=-1)
    assert whole.slices.tolist() == [0, 1, 2, 3]
    assert not whole.target[[0, 3]].any()


@pytest.mark.parametrize("change", [-1, 1])
def test_other_length(folder, volumes, change):
    body = nifti(volumes["gm"])
    body = body[:-1] if change < 0 else body + b"\0"
    (folder / brain.FILES["gm"]).write_bytes(gzip.compress(body))
    with pytest.raises(ValueError, match=r"_gm_.* must have the header .*, got"):
        load_brain_slices(folder)


@pytest.mark.parametrize("place", [0, 42, 70, 109, 345])
def test_other_header(folder, volumes, place):
    body = bytearray(nifti(volumes["wm"]))
    body[place] ^= 1
    (folder / brain.FILES["wm"]).write_bytes(gzip.compress(bytes(body)))
    with pytest.raises(ValueError, match=r"_wm_.* must have the header .*, got"):
        load_brain_slices(folder)


def test_missing_file(folder):
    (folder / brain.FILES["t1"]).unlink()
    with pytest.raises(FileNotFoundError, match="_t1_"):
        load_brain_slices(folder)


def test_missing_nilearn(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="nilearn is not installed; install it"):
        load_brain_slices()
