"""The IDX file format of MNIST: a header with the shape, then the values."""

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np

from skcaps.datasets._bytes import as_array, decompress

DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: Path, *, limit: int, sha256: str | None = None) -> np.ndarray:
    """Read an array from a gzipped IDX file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    limit : int
        How many uncompressed bytes the published file has at most.
    sha256 : str, default=None
        The expected SHA-256 of the uncompressed bytes, in hexadecimal. ``None``
        skips this check. The compressed bytes may differ between two copies of
        the same data, because gzip stores a name and a time.

    Returns
    -------
    array : ndarray
        A writeable array of its own, in the machine's byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole IDX file, or its SHA-256 is another one.

    Examples
    --------
    >>> import gzip, tempfile
    >>> from pathlib import Path
    >>> from skcaps.datasets._idx import read_idx
    >>> header = bytes([0, 0, 0x08, 2]) + bytes([0, 0, 0, 2, 0, 0, 0, 3])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers-idx2-ubyte.gz")
    ...     size = path.write_bytes(gzip.compress(header + bytes(range(6))))
    ...     read_idx(path, limit=100)
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint8)
    """
    raw = decompress(path, limit)
    dtype, shape, start = _parse_header(path, raw)
    array = as_array(path, raw, start, dtype, shape)
    if sha256 is not None:
        _check_sha256(path, raw, sha256)
    return array


def _parse_header(
    path: Path, raw: bytearray
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    magic = raw[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise ValueError(
            f"{path} must start with the four magic bytes of an IDX file "
            f"(two zeros, a type, a number of axes), got 0x{magic.hex()}."
        )
    n_axes = magic[3]
    start = 4 + 4 * n_axes
    if len(raw) < start:
        raise ValueError(
            f"{path} must have a header of {start} bytes for {n_axes} axes, "
            f"got {len(raw)} bytes in all; the file is damaged, get it again."
        )
    return DTYPES[magic[2]], struct.unpack(f">{n_axes}I", raw[4:start]), start


def _check_sha256(path: Path, raw: bytearray, expected: str) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} must have the SHA-256 {expected} when uncompressed, got {found}; "
            "it is damaged or not the original file, get it again."
        )
