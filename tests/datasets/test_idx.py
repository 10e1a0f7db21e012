import gzip
import hashlib
import re
import struct
import tracemalloc

import numpy as np
import pytest

from skcaps.datasets._idx import DTYPES, read_idx

LIMIT = 10_000
CODES = {dtype.newbyteorder("="): code for code, dtype in DTYPES.items()}


def idx_bytes(array):
    header = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype], array.ndim, *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def write(tmp_path):
    def write(raw):
        path = tmp_path / "some-idx.gz"
        path.write_bytes(gzip.compress(raw))
        return path

    return write


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 3)])
def test_round_trip(write, rng, dtype, shape):
    array = rng.integers(0, 100, shape).astype(dtype)
    found = read_idx(write(idx_bytes(array)), limit=LIMIT)
    np.testing.assert_array_equal(found, array, strict=True)
    assert found.dtype.isnative
    assert found.flags.writeable


def test_right_sha256_passes(write):
    raw = idx_bytes(np.arange(3, dtype=np.uint8))
    digest = hashlib.sha256(raw).hexdigest()
    np.testing.assert_array_equal(
        read_idx(write(raw), limit=LIMIT, sha256=digest), [0, 1, 2]
    )


def test_wrong_sha256_is_named(write):
    raw = idx_bytes(np.arange(3, dtype=np.uint8))
    digest = hashlib.sha256(raw).hexdigest()
    with pytest.raises(ValueError, match=f"SHA-256 {'0' * 64} .* got {digest}"):
        read_idx(write(raw), limit=LIMIT, sha256="0" * 64)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here.gz", limit=LIMIT)


def test_not_gzip(tmp_path):
    path = tmp_path / "plain.gz"
    path.write_bytes(idx_bytes(np.arange(3, dtype=np.uint8)))
    with pytest.raises(ValueError, match="must be a whole gzip file"):
        read_idx(path, limit=LIMIT)


# Cut in gzip's header, in the compressed stream and in the trailer.
@pytest.mark.parametrize("kept", [5, 20, -4])
def test_cut_gzip(write, rng, kept):
    path = write(idx_bytes(rng.integers(0, 255, 1000).astype(np.uint8)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="must be a whole gzip file"):
        read_idx(path, limit=LIMIT)


def test_damaged_gzip(write, rng):
    path = write(idx_bytes(rng.integers(0, 255, 1000).astype(np.uint8)))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="must be a whole gzip file"):
        read_idx(path, limit=LIMIT)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", "0x"),
        (b"\0\0\x08", "0x000008"),
        (b"\0\1\x08\1" + b"\0\0\0\0", "0x00010801"),
        (b"\0\0\x07\1" + b"\0\0\0\0", "0x00000701"),
    ],
    ids=["empty", "short", "not-zero", "unknown-type"],
)
def test_wrong_magic(write, raw, shown):
    with pytest.raises(ValueError, match=re.escape(f"got {shown}.")):
        read_idx(write(raw), limit=LIMIT)


def test_cut_header(write):
    with pytest.raises(ValueError, match="header of 16 bytes for 3 axes, got 8 bytes"):
        read_idx(write(b"\0\0\x08\3" + b"\0\0\0\1"), limit=LIMIT)


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_values(write, change):
    raw = idx_bytes(np.zeros(10, dtype=np.uint8))
    raw = raw[:change] if change < 0 else raw + bytes(change)
    with pytest.raises(ValueError, match=rf"18 bytes .* got {18 + change}"):
        read_idx(write(raw), limit=LIMIT)


@pytest.mark.parametrize("excess", [1, 10**8])
def test_more_than_the_published_file_has(write, excess):
    """A few bytes can be the compressed form of any number."""
    path = write(bytes(LIMIT + excess))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must hold at most 10000 bytes, .* got more"):
        read_idx(path, limit=LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_huge_shape_allocates_nothing(write):
    raw = b"\0\0\x0e\3" + b"\xff" * 12
    with pytest.raises(ValueError, match="the file is damaged"):
        read_idx(write(raw), limit=LIMIT)
