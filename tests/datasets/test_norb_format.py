import gzip
import re
import struct

import numpy as np
import pytest

from skcaps.datasets._norb_format import DTYPES, read_norb

LIMIT = 10_000
CODES = {dtype.newbyteorder("="): code for code, dtype in DTYPES.items()}


def norb_bytes(array):
    shape = (*array.shape, 1, 1, 1)[: max(array.ndim, 3)]
    header = struct.pack(f"<Ii{len(shape)}i", CODES[array.dtype], array.ndim, *shape)
    return header + array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.fixture
def write(tmp_path):
    def write(raw):
        path = tmp_path / "some.mat"
        path.write_bytes(raw)
        return path

    return write


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (0, 2)])
def test_round_trip(write, rng, dtype, shape):
    array = np.asarray(rng.integers(0, 100, shape)).astype(dtype)
    found = read_norb(write(norb_bytes(array)), limit=LIMIT)
    np.testing.assert_array_equal(found, array, strict=True)
    assert found.flags.writeable


def test_published_header(write):
    """The header of the published training images, byte by byte."""
    sizes = bytes([236, 94, 0, 0, 2, 0, 0, 0, 96, 0, 0, 0, 96, 0, 0, 0])
    header = bytes([0x55, 0x4C, 0x3D, 0x1E, 4, 0, 0, 0]) + sizes
    with pytest.raises(ValueError, match=re.escape("shape (24300, 2, 96, 96)")):
        read_norb(write(header), limit=LIMIT)


def test_gzip(tmp_path):
    path = tmp_path / "some.mat.gz"
    path.write_bytes(gzip.compress(norb_bytes(np.arange(3, dtype=np.int32))))
    np.testing.assert_array_equal(read_norb(path, limit=LIMIT), [0, 1, 2])


@pytest.mark.parametrize("kept", [5, 20, -4])
def test_cut_gzip(tmp_path, rng, kept):
    path = tmp_path / "some.mat.gz"
    raw = norb_bytes(rng.integers(0, 255, 1000).astype(np.uint8))
    path.write_bytes(gzip.compress(raw)[:kept])
    with pytest.raises(ValueError, match="must be a whole gzip file"):
        read_norb(path, limit=LIMIT)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_norb(tmp_path / "nothing-here.mat", limit=LIMIT)


@pytest.mark.parametrize("kept", [0, 7])
def test_cut_before_the_shape(write, kept):
    raw = norb_bytes(np.zeros(3, dtype=np.uint8))[:kept]
    with pytest.raises(ValueError, match=f"8 bytes, got {kept} bytes in all"):
        read_norb(write(raw), limit=LIMIT)


@pytest.mark.parametrize("magic", [0x1E3D4C52, 0x554C3D1E, 0])
def test_unknown_type(write, magic):
    with pytest.raises(ValueError, match=f"got 0x{magic:08X}"):
        read_norb(write(struct.pack("<5I", magic, 1, 1, 1, 1) + b"\0"), limit=LIMIT)


@pytest.mark.parametrize("n_axes", [-1, 9, 2**31 - 1])
def test_impossible_number_of_axes(write, n_axes):
    with pytest.raises(ValueError, match=f"between 0 and 8 axes, got {n_axes}"):
        read_norb(write(struct.pack("<Ii3i", 0x1E3D4C55, n_axes, 1, 1, 1)), limit=LIMIT)


def test_cut_shape(write):
    raw = norb_bytes(np.zeros((1, 1, 1, 1), dtype=np.uint8))[:20]
    with pytest.raises(ValueError, match="24 bytes for 4 axes, got 20 bytes in all"):
        read_norb(write(raw), limit=LIMIT)


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_values(write, change):
    raw = norb_bytes(np.zeros(10, dtype=np.uint8))
    raw = raw[:change] if change < 0 else raw + bytes(change)
    with pytest.raises(ValueError, match=rf"30 bytes .* got {30 + change}"):
        read_norb(write(raw), limit=LIMIT)


@pytest.mark.parametrize("compressed", [False, True])
def test_more_than_the_published_file_has(tmp_path, compressed):
    raw = bytes(LIMIT + 1)
    path = tmp_path / ("some.mat.gz" if compressed else "some.mat")
    path.write_bytes(gzip.compress(raw) if compressed else raw)
    with pytest.raises(ValueError, match=r"must hold at most 10000 bytes, .* got more"):
        read_norb(path, limit=LIMIT)


def test_huge_shape_allocates_nothing(write):
    raw = struct.pack("<Ii3I", 0x1E3D4C53, 3, *[2**32 - 1] * 3)
    with pytest.raises(ValueError, match="the file is damaged"):
        read_norb(write(raw), limit=LIMIT)
