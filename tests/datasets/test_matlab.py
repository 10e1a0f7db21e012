import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from skcaps.datasets._matlab import read_record

LIMIT = 100_000


def mat_bytes(record, **options):
    file = io.BytesIO()
    savemat(file, {"data": record}, **options)
    return file.getvalue()


def element(kind, content):
    padding = bytes(-len(content) % 8 if kind != 15 else 0)
    return struct.pack("<II", kind, len(content)) + content + padding


def matrix(kind, shape, name, *elements):
    return element(
        14,
        element(6, struct.pack("<II", kind, 0))
        + element(5, struct.pack(f"<{len(shape)}i", *shape))
        + element(1, name)
        + b"".join(elements),
    )


def file_of(*variables):
    return bytes(124) + b"\x00\x01IM" + b"".join(variables)


def record_of(field, names=b"field\0", width=6, shape=(1, 1)):
    lengths = element(5, struct.pack("<i", width))
    return matrix(2, shape, b"data", lengths, element(1, names), field)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (2, 3, 4), (0, 5)])
def test_as_scipy_reads_it(rng, dtype, shape, compressed):
    values = {
        "one": rng.integers(0, 100, shape).astype(dtype),
        "other": rng.random((2, 2)),
        "unread": ["text", {"deep": 1j}],
    }
    raw = mat_bytes(values, do_compression=compressed)
    expected = loadmat(io.BytesIO(raw))["data"]
    found = read_record(raw, "data", ["one", "other"], limit=LIMIT)
    assert sorted(found) == ["one", "other"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name].item(), strict=True)
        assert array.flags.writeable


@pytest.mark.parametrize("stored", [(2, "<u1"), (3, "<i2"), (5, "<i4"), (9, "<f8")])
def test_numbers_stored_in_a_smaller_type(stored):
    """As MATLAB does, and SciPy does not."""
    kind, dtype = stored
    content = element(kind, np.arange(6, dtype=dtype).tobytes())
    raw = file_of(record_of(matrix(6, (2, 3), b"", content)))
    found = read_record(raw, "data", ["field"], limit=LIMIT)["field"]
    expected = np.array([[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]])
    np.testing.assert_array_equal(found, expected, strict=True)


def test_fields_that_are_not_there():
    raw = mat_bytes({"one": np.zeros(3)})
    assert read_record(raw, "data", ["other"], limit=LIMIT) == {}


@pytest.mark.parametrize("compressed", [False, True])
def test_among_other_variables(compressed):
    file = io.BytesIO()
    variables = {"a": np.zeros(3), "data": {"one": [5]}, "z": "text"}
    savemat(file, variables, do_compression=compressed)
    found = read_record(file.getvalue(), "data", ["one"], limit=LIMIT)
    np.testing.assert_array_equal(found["one"], [[5]])


def test_missing_variable():
    raw = mat_bytes({"one": [1]})
    with pytest.raises(ValueError, match=r"the variable other, got \['data'\]"):
        read_record(raw, "other", ["one"], limit=LIMIT)


@pytest.mark.parametrize(
    "raw", [b"", bytes(128), bytes(124) + b"\x01\x00MI", b"x" * 99]
)
def test_other_header(raw):
    with pytest.raises(ValueError, match=r"must start with the header .* got b"):
        read_record(raw, "data", ["field"], limit=LIMIT)


NUMBERS = element(9, bytes(8))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (file_of(b"abc"), "must start with 8 bytes, got 3"),
        (file_of(struct.pack("<II", 14, 2**32 - 1)), "have 4294967295 bytes, got 0"),
        (file_of(struct.pack("<HHI", 14, 5, 0)), "have 5 bytes, got 4"),
        (file_of(NUMBERS), "of the kind 14, got 9"),
        (file_of(element(14, b"")), "of the kind 6, got None"),
        (file_of(element(15, b"no")), "cannot be uncompressed"),
        (file_of(element(15, zlib.compress(NUMBERS))), "of the kind 14, got 9"),
        (file_of(element(15, zlib.compress(b""))), "of the kind 14, got None"),
        (file_of(element(15, zlib.compress(bytes(99))[:-1])), "got its beginning"),
        (file_of(element(15, zlib.compress(bytes(10**6)))), "at most 100000 bytes"),
        (file_of(matrix(6, (-1, 2), b"data")), "no size below 0"),
        (file_of(matrix(6, (1,), b"data")), "sizes of 4 bytes for each axis, got 8"),
        (file_of(matrix(6, (1,) * 9, b"data")), "for each axis, got 8 and 36"),
        (file_of(matrix(6, (1, 1), b"data", NUMBERS)), "one record, got 1 of the ki"),
        (file_of(record_of(b"", shape=(1, 2))), "must be one record, got 2"),
        (file_of(record_of(b"", width=0)), "names of 0 bytes, got 6"),
        (file_of(record_of(b"", width=-6)), "names of -6 bytes, got 6"),
        (file_of(record_of(b"", width=4)), "names of 4 bytes, got 6"),
        (file_of(matrix(2, (1, 1), b"data", element(5, b""))), "kind 1, got None"),
        (
            file_of(matrix(2, (1, 1), b"data", element(5, b""), element(1, b"ab"))),
            "names of 0 bytes, got 2",
        ),
        (file_of(record_of(b"")), "of the kind 14, got None"),
        (file_of(record_of(NUMBERS)), "of the kind 14, got 9"),
        (
            file_of(record_of(matrix(1, (1, 1), b""))),
            "matrix of numbers, got the kind 1",
        ),
        (file_of(record_of(matrix(6, (1, 1), b""))), "kind 6 stored as None"),
        (
            file_of(record_of(matrix(6, (1, 1), b"", element(14, b"")))),
            "kind 6 stored as 14",
        ),
        (
            file_of(record_of(matrix(9, (1, 1), b"", NUMBERS))),
            "in no larger type, with 8 bytes, got float64 and 8",
        ),
        (
            file_of(record_of(matrix(6, (2**30, 2**30), b"", NUMBERS))),
            "with 9223372036854775808 bytes, got float64 and 8",
        ),
        (
            file_of(record_of(matrix(6, (1, 1), b"", NUMBERS, NUMBERS))),
            "real numbers, got complex",
        ),
    ],
)
def test_damaged_file(raw, message):
    with pytest.raises(ValueError, match=message):
        read_record(raw, "data", ["field"], limit=LIMIT)


def test_limit_holds_for_all_variables_together():
    variable = element(15, zlib.compress(matrix(6, (1, 1), b"a", bytes(40_000))))
    raw = file_of(*[variable] * 1000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 19"):
        read_record(raw, "data", ["field"], limit=LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("place", range(128, 320))
def test_one_changed_byte(place):
    """Some of them end the process in SciPy's reader."""
    record = {"image": np.arange(90, dtype=np.uint8).reshape(9, 10), "label_int": [1.0]}
    raw = bytearray(mat_bytes(record))
    for change in (0x01, 0x80, 0xFF):
        raw[place] ^= change
        try:
            found = read_record(raw, "data", record, limit=LIMIT)
        except ValueError:
            found = {}
        assert sum(array.nbytes for array in found.values()) < 1000
