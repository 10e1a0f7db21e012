"""The binary matrix format of NORB: a type, a shape, then the values."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from skcaps.datasets._bytes import as_array, decompress, read_file

# The packed type, 0x1E3D4C52, is not among them: no published file has it.
DTYPES: dict[int, np.dtype[Any]] = {
    0x1E3D4C51: np.dtype("<f4"),
    0x1E3D4C53: np.dtype("<f8"),
    0x1E3D4C54: np.dtype("<i4"),
    0x1E3D4C55: np.dtype("<u1"),
    0x1E3D4C56: np.dtype("<i2"),
}

# A shape of fewer axes is filled up with ones in the file.
MIN_SIZES = 3
# No published file has more; a damaged one may claim billions.
MAX_AXES = 8


def read_norb(path: Path, *, limit: int) -> np.ndarray:
    """Read an array from a file in NORB's binary matrix format.

    Parameters
    ----------
    path : pathlib.Path
        The file. It is uncompressed first where its name ends in ``.gz``.
    limit : int
        How many uncompressed bytes the published file has at most.

    Returns
    -------
    array : ndarray
        A writeable array of its own, in the machine's byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole binary matrix.

    References
    ----------
    The file ``readme`` that is published beside the small NORB data set.

    Examples
    --------
    >>> import struct, tempfile
    >>> from pathlib import Path
    >>> from skcaps.datasets._norb_format import read_norb
    >>> header = struct.pack("<5i", 0x1E3D4C55, 2, 2, 3, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers.mat")
    ...     size = path.write_bytes(header + bytes(range(6)))
    ...     read_norb(path, limit=100)
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint8)
    """
    read = decompress if path.suffix == ".gz" else read_file
    raw = read(path, limit)
    dtype, shape, start = _parse_header(path, raw)
    return as_array(path, raw, start, dtype, shape)


def _parse_header(
    path: Path, raw: bytearray
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    if len(raw) < 8:
        raise ValueError(
            f"{path} must start with a type and a number of axes, 8 bytes, got "
            f"{len(raw)} bytes in all; the file is damaged, get it again."
        )
    magic, n_axes = struct.unpack("<Ii", raw[:8])
    if magic not in DTYPES:
        raise ValueError(
            f"{path} must start with one of NORB's types, "
            f"{', '.join(f'0x{known:X}' for known in DTYPES)}, little endian, "
            f"got 0x{magic:08X}."
        )
    if not 0 <= n_axes <= MAX_AXES:
        raise ValueError(
            f"{path} must have between 0 and {MAX_AXES} axes, got {n_axes}; "
            "the file is damaged, get it again."
        )
    start = 8 + 4 * max(n_axes, MIN_SIZES)
    if len(raw) < start:
        raise ValueError(
            f"{path} must have a header of {start} bytes for {n_axes} axes, got "
            f"{len(raw)} bytes in all; the file is damaged, get it again."
        )
    shape = struct.unpack(f"<{n_axes}I", raw[8 : 8 + 4 * n_axes])
    return DTYPES[magic], shape, start
