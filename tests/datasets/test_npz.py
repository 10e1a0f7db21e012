import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from skcaps.datasets._npz import read_npz

SHAPES = {"images": (3, 4, 5), "masks": (2,)}
UINT8 = np.dtype(np.uint8)


@pytest.fixture
def arrays(rng):
    return {
        name: rng.integers(0, 256, shape, dtype=np.uint8)
        for name, shape in SHAPES.items()
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.npz"


def read(path):
    return read_npz(path, SHAPES, UINT8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_round_trip(path, arrays, save):
    save(path, **arrays, more=np.arange(3.0))
    found = read(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable


def test_padding_of_the_header_may_differ(path, arrays):
    """Older NumPy fills its headers to a multiple of 16 bytes, newer of 64."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            text = (
                f"{{'descr': '|u1', 'fortran_order': False, 'shape': {array.shape}, }}"
            )
            header = text.encode() + b"    \n"
            length = len(header).to_bytes(2, "little")
            body = b"\x93NUMPY\x01\x00" + length + header + array.tobytes()
            archive.writestr(f"{name}.npy", body)
    np.testing.assert_array_equal(read(path)["images"], arrays["images"])


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[:2],
        lambda images: images.astype(bool),
        lambda images: images.astype(np.float64),
        np.asfortranarray,
        lambda images: images.astype(object),
    ],
    ids=["shape", "bool", "float64", "fortran", "object"],
)
def test_other_array(path, arrays, change):
    np.savez(path, **arrays | {"images": change(arrays["images"])})
    message = "images.npy must hold uint8 of the shape (3, 4, 5), with the header"
    with pytest.raises(ValueError, match=re.escape(message)):
        read(path)


def test_missing_array(path, arrays):
    np.savez(path, images=arrays["images"])
    with pytest.raises(ValueError, match=r"images and masks, got KeyError: .*masks"):
        read(path)


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"some\.npz"):
        read(path)


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_cut_file(path, arrays, kept):
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"must be a whole \.npz archive"):
        read(path)


def test_damaged_value(path, arrays):
    np.savez(path, **arrays)
    body = path.read_bytes()
    start = body.index(arrays["images"].tobytes())
    path.write_bytes(body[:start] + bytes([body[start] ^ 1]) + body[start + 1 :])
    with pytest.raises(ValueError, match="BadZipFile: Bad CRC-32"):
        read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(path, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("images.npy", b"123")
    with pytest.raises(ValueError, match=f"must be deflated, got the method {method}"):
        read(path)


def test_more_than_the_array_has(path):
    """A few bytes can be the compressed form of any number."""
    np.savez_compressed(path, images=np.zeros(10**7, dtype=np.uint8))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"images.npy must hold at most \d+ bytes"):
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20
