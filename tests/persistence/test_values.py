import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skcaps.persistence._values import MOST_LEVELS, decode, encode


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1, 1e300, float("inf"), -float("inf"), "ä\n", "$tuple",
        (), (1, (2.0, None)), [], [1, "a"], {}, {"a": 1}, {1: (2,), "b": None},
        {"$tuple": [1]}, [{0: 1.0}, {True: 2}], np.float64(0.1), np.float32(0.1),
        np.int8(-3), np.bool_(True), np.str_("x"), torch.device("cuda:1"),
        Path("a") / "b", Path(),
        np.datetime64("2020-02-29T12", "h"), np.timedelta64(-3, "D"),
    ],
    ids=repr,
)  # fmt: skip
def test_values_round_trip(value):
    text = json.dumps(encode(value, "value"), allow_nan=False)
    decoded = decode(json.loads(text))
    assert type(decoded) is type(value)
    assert decoded == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.array([0.1, np.nan, -np.inf], dtype=np.float32),
        np.array(["a", "bcd"]),
        np.array(["a", 1, None, (1, 2)], dtype=object),
        np.array([True, False]),
        np.array([], dtype=float),
        np.array(5),
        np.array([1, 2], dtype=">i4"),
        np.array(["a", ""], dtype=">U7"),
        np.array(["2020-02-29", "NaT"], dtype="M8[D]"),
        np.array([[-3, 2**62]], dtype=">m8[15us]"),
        np.array([0], dtype="m8"),
    ],
    ids=repr,
)
def test_arrays_round_trip(array):
    text = json.dumps(encode(array, "array"), allow_nan=False)
    decoded = decode(json.loads(text))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


def test_nan_round_trips():
    assert np.isnan(decode(json.loads(json.dumps(encode(np.nan, "value")))))


def wrapped(levels):
    value = float("inf")
    for _ in range(levels):
        value = (value,)
    return value


def test_all_that_is_written_can_be_read():
    """Also at the deepest level, where infinity is an object in JSON."""
    value = wrapped(MOST_LEVELS - 1)
    assert decode(encode(value, "value")) == value
    with pytest.raises(TypeError, match=rf"at most {MOST_LEVELS} levels"):
        encode((value,), "value")


@pytest.mark.parametrize("make", [lambda x: [x], lambda x: {"$tuple": [x]}])
def test_deep_json(make):
    value = 0
    for _ in range(500):
        value = make(value)
    with pytest.raises(ValueError, match=rf"at most {MOST_LEVELS} levels deep"):
        decode(value)


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("<U100000000", ["a"], "texts of this length"),
        ("<U2", ["a"], "texts of this length"),
        ("V1000000000", ["a"], "not part of the format"),
        ("f8,f8", [[1, 2]], "not part of the format"),
        ("S5", ["a"], "not part of the format"),
        ("<c16", [1], "not part of the format"),
    ],
)
def test_types_that_ask_for_memory(dtype, values, message):
    content = {"dtype": dtype, "shape": [len(values)], "values": values}
    with pytest.raises(ValueError, match=message):
        decode({"$array": content})


@pytest.mark.parametrize("shape", [[10**9], [10**9] * 9, [2, 2]])
def test_shapes_that_ask_for_memory(shape):
    content = {"dtype": "<f8", "shape": shape, "values": [1.0]}
    with pytest.raises(ValueError, match=r"reshape|too many|dimension"):
        decode({"$array": content})
