"""Arrays of known shape from NumPy's archives, with errors that say what is wrong."""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skcaps.datasets._bytes import as_array
from skcaps.datasets._zip import DAMAGES, read_member

LONGEST_HEADER = 1 << 12


def read_npz(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, np.ndarray]:
    """Read arrays whose names, shapes and type are known.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    shapes : mapping from str to tuple of int
        The shape of each array, by its name. Other arrays in the file are not read.
    dtype : numpy.dtype
        Their type.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays, writeable.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or an array is missing or another one.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from skcaps.datasets._npz import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers.npz")
    ...     np.savez(path, a=np.arange(3, dtype=np.uint8))
    ...     read_npz(path, {"a": (3,)}, np.dtype("u1"))
    {'a': array([0, 1, 2], dtype=uint8)}
    """
    # Opened out here, because a missing file is no damage.
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {
                    name: _read_array(archive, f"{name}.npy", shape, dtype)
                    for name, shape in shapes.items()
                }
        except DAMAGES as error:
            raise ValueError(
                f"{path} must be a whole .npz archive of the arrays "
                f"{' and '.join(shapes)}, got {type(error).__name__}: {error}"
            ) from error


def _read_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray:
    limit = LONGEST_HEADER + math.prod(shape) * dtype.itemsize
    raw = read_member(archive, name, limit)
    start = 10 + int.from_bytes(raw[8:10], "little")
    header, expected = _strip(raw[:start]), _strip(_header(shape, dtype))
    if header != expected:
        raise ValueError(
            f"{name} must hold {dtype} of the shape {shape}, with the header "
            f"{expected!r}, got {header[:200]!r}"
        )
    return as_array(Path(name), raw, start, dtype, shape)


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what NumPy writes before the values of such an array."""
    file = io.BytesIO()
    description = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def _strip(header: bytes | bytearray) -> bytes:
    """Leave out the length and the padding, which versions of NumPy choose."""
    return bytes(header[:8] + header[10:].rstrip())
