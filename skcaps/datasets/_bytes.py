"""From the bytes of a file to an array, with errors that say what is wrong."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def decompress(path: Path) -> bytes:
    """Read a gzip file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    raw : bytes
        Its uncompressed content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole gzip file.

    Examples
    --------
    >>> import gzip, tempfile
    >>> from pathlib import Path
    >>> from skcaps.datasets._bytes import decompress
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers.gz")
    ...     size = path.write_bytes(gzip.compress(b"123"))
    ...     decompress(path)
    b'123'
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzip file, got: {error}; get it again."
        ) from error


def as_array(
    path: Path, raw: bytes, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> np.ndarray:
    """Return the values that follow a header.

    Parameters
    ----------
    path : pathlib.Path
        Named where something is wrong.
    raw : bytes
        Header and values.
    start : int
        The length of the header.
    dtype : numpy.dtype
        The type of the values in the file.
    shape : tuple of int
        What the header says.

    Returns
    -------
    array : ndarray
        A writeable array of its own, in the machine's byte order.

    Raises
    ------
    ValueError
        If there are more or fewer bytes than the header says.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from skcaps.datasets._bytes import as_array
    >>> as_array(Path("numbers"), b"head" + bytes([1, 2]), 4, np.dtype("u1"), (2,))
    array([1, 2], dtype=uint8)
    """
    expected = start + dtype.itemsize * math.prod(shape)
    if len(raw) != expected:
        raise ValueError(
            f"{path} must hold {expected} bytes for the shape {shape} in its header, "
            f"got {len(raw)}; the file is damaged, get it again."
        )
    values = np.frombuffer(raw, dtype=dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
