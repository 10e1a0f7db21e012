"""Records in MATLAB files of version 5, read without trust in any of their bytes.

SciPy reads more kinds of files, but a wrong byte in one can end its process.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

HEADER = 128
# Where it ends: version 1.0, little endian.
_MAGIC = b"\x00\x01IM"
_MOST_AXES = 8

# Kinds of elements.
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"), 2: np.dtype("<u1"), 3: np.dtype("<i2"), 4: np.dtype("<u2"),
    5: np.dtype("<i4"), 6: np.dtype("<u4"), 7: np.dtype("<f4"), 9: np.dtype("<f8"),
    12: np.dtype("<i8"), 13: np.dtype("<u8"),
}  # fmt: skip

# Kinds of matrices. Their numbers are stored in any smaller type that holds them.
_RECORD = 2
_NUMBERS: dict[int, np.dtype[Any]] = {
    6: np.dtype("f8"), 7: np.dtype("f4"), 8: np.dtype("i1"), 9: np.dtype("u1"),
    10: np.dtype("i2"), 11: np.dtype("u2"), 12: np.dtype("i4"), 13: np.dtype("u4"),
    14: np.dtype("i8"), 15: np.dtype("u8"),
}  # fmt: skip

_Elements = Iterator[tuple[int, memoryview]]


class _Matrix(NamedTuple):
    """The head of a matrix, and the elements that follow it."""

    kind: int
    shape: tuple[int, ...]
    name: str
    elements: _Elements


def read_record(
    raw: bytes | bytearray, name: str, fields: Collection[str], *, limit: int
) -> dict[str, np.ndarray]:
    """Read fields of a record, which MATLAB calls a struct of size 1x1.

    Parameters
    ----------
    raw : bytes or bytearray
        A MATLAB file.
    name : str
        Of the variable that is the record.
    fields : collection of str
        Which fields to read: matrices of real numbers. Others may be anything.
    limit : int
        How many bytes all variables have at most, uncompressed.

    Returns
    -------
    arrays : dict of ndarray
        The fields, without those that the record does not have.

    Raises
    ------
    ValueError
        If the file is damaged, or has other contents.

    References
    ----------
    MathWorks, MAT-File Format, chapter 1.

    Examples
    --------
    >>> from skcaps.datasets._matlab import read_record
    >>> read_record(bytes(128), "data", ["image"], limit=100)
    Traceback (most recent call last):
    ValueError: it must start with the header of a little-endian MATLAB 5 file, ...
    """
    magic = bytes(raw[HEADER - len(_MAGIC) : HEADER])
    if magic != _MAGIC:
        raise ValueError(
            "it must start with the header of a little-endian MATLAB 5 file, "
            f"{HEADER} bytes of which the last are {_MAGIC!r}, got {magic!r}"
        )
    others = []
    for matrix in _variables(memoryview(raw)[HEADER:], limit):
        if matrix.name == name:
            parts = _split(matrix)
            return {
                field: _read_numbers(parts[field]) for field in fields if field in parts
            }
        others.append(matrix.name)
    raise ValueError(f"it must hold the variable {name}, got {others}")


def _variables(data: memoryview, limit: int) -> Iterator[_Matrix]:
    for kind, content in _elements(data):
        if kind == _COMPRESSED:
            inflated = _inflate(content, limit)
            limit -= len(inflated)
            yield _parse_matrix(_take(_elements(inflated), _MATRIX))
        else:
            yield _parse_matrix(_take(iter([(kind, content)]), _MATRIX))


def _inflate(data: memoryview, limit: int) -> memoryview:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"a variable cannot be uncompressed: {error}") from error
    if len(raw) > limit:
        raise ValueError(f"its variables must have at most {limit} bytes, got more")
    if not stream.eof:
        raise ValueError("a compressed variable must be whole, got its beginning")
    return memoryview(raw)


def _elements(data: memoryview) -> _Elements:
    """Yield the kind and the bytes of each element."""
    while data:
        if len(data) < 8:
            raise ValueError(f"an element must start with 8 bytes, got {len(data)}")
        kind, size = struct.unpack_from("<II", data)
        start, room = 8, len(data) - 8
        # An element of up to four bytes shares those of its size with them.
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            start, room = 4, 4
        if size > room:
            raise ValueError(f"an element must have {size} bytes, got {room}")
        end = start + size
        yield kind, data[start:end]
        # All others are filled up to a multiple of eight bytes.
        data = data[end if kind == _COMPRESSED else -(-end // 8) * 8 :]


def _take(elements: _Elements, kind: int) -> memoryview:
    found, content = next(elements, (None, memoryview(b"")))
    if found != kind:
        raise ValueError(f"an element must be of the kind {kind}, got {found}")
    return content


def _parse_matrix(data: memoryview) -> _Matrix:
    elements = _elements(data)
    flags = _take(elements, _UINT32)
    sizes = _take(elements, _INT32)
    name = _take(elements, _INT8)
    n_axes = len(sizes) // 4
    if len(flags) != 8 or len(sizes) % 4 or not 2 <= n_axes <= _MOST_AXES:
        raise ValueError(
            f"a matrix must have flags of 8 bytes and sizes of 4 bytes for each axis, "
            f"got {len(flags)} and {len(sizes)}"
        )
    shape = struct.unpack(f"<{n_axes}i", sizes)
    if min(shape) < 0:
        raise ValueError(f"a matrix must have no size below 0, got {shape}")
    return _Matrix(flags[0], shape, bytes(name).decode("latin1"), elements)


def _split(matrix: _Matrix) -> dict[str, memoryview]:
    """Return the matrix of each field of a record."""
    if matrix.kind != _RECORD or math.prod(matrix.shape) != 1:
        raise ValueError(
            f"{matrix.name} must be one record, got {math.prod(matrix.shape)} of the "
            f"kind {matrix.kind}"
        )
    width = int.from_bytes(_take(matrix.elements, _INT32), "little", signed=True)
    names = bytes(_take(matrix.elements, _INT8))
    if width < 1 or len(names) % width:
        raise ValueError(
            f"{matrix.name} must have names of {width} bytes, got {len(names)} in all"
        )
    return {
        names[start : start + width].split(b"\0")[0].decode("latin1"): _take(
            matrix.elements, _MATRIX
        )
        for start in range(0, len(names), width)
    }


def _read_numbers(data: memoryview) -> np.ndarray:
    matrix = _parse_matrix(data)
    stored, content = next(matrix.elements, (None, memoryview(b"")))
    if matrix.kind not in _NUMBERS or stored not in _STORED:
        raise ValueError(
            f"a field must be a matrix of numbers, got the kind {matrix.kind} stored "
            f"as {stored}"
        )
    dtype, smaller = _NUMBERS[matrix.kind], _STORED[stored]
    size = math.prod(matrix.shape) * smaller.itemsize
    if not np.can_cast(smaller, dtype) or len(content) != size:
        raise ValueError(
            f"a matrix of {dtype} and the shape {matrix.shape} must be stored in no "
            f"larger type, with {size} bytes, got {smaller} and {len(content)}"
        )
    if next(matrix.elements, None) is not None:
        raise ValueError("a field must be a matrix of real numbers, got complex ones")
    # MATLAB counts the first axis first.
    return (
        np.frombuffer(content, smaller).astype(dtype).reshape(matrix.shape, order="F")
    )
