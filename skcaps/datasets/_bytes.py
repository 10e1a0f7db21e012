"""From the bytes of a file to an array, with errors that say what is wrong."""

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Read at a time, so that no memory is taken for what does not come.
_PART = 1 << 16


def decompress(path: Path, limit: int) -> bytearray:
    """Read a gzip file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    limit : int
        How many bytes the published file has at most, uncompressed. A few bytes can
        be the compressed form of any number.

    Returns
    -------
    raw : bytearray
        Its uncompressed content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole gzip file, or holds more.

    Examples
    --------
    >>> import gzip, tempfile
    >>> from pathlib import Path
    >>> from skcaps.datasets._bytes import decompress
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers.gz")
    ...     size = path.write_bytes(gzip.compress(b"123"))
    ...     decompress(path, limit=3)
    bytearray(b'123')
    """
    try:
        with gzip.open(path) as file:
            return read_all(path, file.read, limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzip file, got: {error}; get it again."
        ) from error


def read_file(path: Path, limit: int) -> bytearray:
    """Read a file as it is.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    limit : int
        How many bytes the published file has at most.

    Returns
    -------
    raw : bytearray
        Its content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds more.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.datasets._bytes import read_file
    >>> read_file(Path("no/such/file"), limit=3)
    Traceback (most recent call last):
    FileNotFoundError: ...
    """
    with path.open("rb") as file:
        return read_all(path, file.read, limit)


def read_all(path: Path, read: Callable[[int], bytes], limit: int) -> bytearray:
    """Read an open file to its end, or a bit beyond a limit.

    Parameters
    ----------
    path : pathlib.Path
        Named where something is wrong.
    read : callable
        The method of the file, which returns at most so many bytes.
    limit : int
        How many bytes the published file has at most.

    Returns
    -------
    raw : bytearray
        What was read.

    Raises
    ------
    ValueError
        If there are more bytes.

    Examples
    --------
    >>> import io
    >>> from pathlib import Path
    >>> from skcaps.datasets._bytes import read_all
    >>> read_all(Path("numbers"), io.BytesIO(b"123").read, limit=3)
    bytearray(b'123')
    """
    raw = bytearray()
    while len(raw) <= limit and (part := read(_PART)):
        raw += part
    if len(raw) > limit:
        raise ValueError(
            f"{path} must hold at most {limit} bytes, uncompressed, got more; it is "
            "not the published file."
        )
    return raw


def as_array(
    path: Path,
    raw: bytes | bytearray,
    start: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Return the values that follow a header.

    Parameters
    ----------
    path : pathlib.Path
        Named where something is wrong.
    raw : bytes or bytearray
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
