"""Values of Python and NumPy as JSON, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

# More than any parameter has, and so few that no recursion ends at a limit.
MOST_LEVELS = 20

HELP = (
    'write it with joblib.dump(estimator, "file.joblib") instead, and load that file '
    "only where you trust it."
)
_PLAIN = (bool, int, str, type(None))
# Booleans, numbers, texts, Python objects, dates and durations.
_DTYPE = re.compile(r"[<>|=][biufUOmM]\d*(\[\w+\])?")

_Recursion = Callable[[Any], Any]


def encode(value: Any, name: str, levels: int = MOST_LEVELS) -> Any:
    """Return a value as JSON; what JSON lacks becomes an object with one "$" key.

    Parameters
    ----------
    value : object
    name : str
        For the error.
    levels : int
        How deeply containers may be nested.

    Raises
    ------
    TypeError
        If the value, or one inside it, cannot be kept.

    Examples
    --------
    >>> from skcaps.persistence._values import encode
    >>> encode({"shape": (1, 28, 28)}, "value")
    {'shape': {'$tuple': [1, 28, 28]}}
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if levels == 0:
        raise TypeError(
            f"{name} cannot be written to a safetensors file, which nests values at "
            f"most {MOST_LEVELS} levels deep; {HELP}"
        )
    if type(value) in _ENCODERS:
        return _ENCODERS[type(value)](
            value, partial(encode, name=name, levels=levels - 1)
        )
    if isinstance(value, np.ndarray | np.generic) and _is_kept(value.dtype):
        return _encode_array(value, partial(encode, name=name, levels=levels - 1))
    raise TypeError(
        f"{name}={value!r} cannot be written to a safetensors file, which holds "
        f"numbers, strings, paths, None, and lists, tuples, dicts and arrays of them; "
        f"{HELP}"
    )


def decode(value: Any, levels: int = MOST_LEVELS) -> Any:
    """Undo `encode`.

    It takes no more memory than a small multiple of the JSON does.

    Parameters
    ----------
    value : object
        From a file that anyone may have written.
    levels : int
        How deeply containers may be nested.

    Raises
    ------
    Exception
        Of many kinds, if no `encode` has made this value.

    Examples
    --------
    >>> from skcaps.persistence._values import decode
    >>> decode({"shape": {"$tuple": [1, 28, 28]}})
    {'shape': (1, 28, 28)}
    """
    if not isinstance(value, list | dict):
        return value
    if levels == 0:
        raise ValueError(f"values must be nested at most {MOST_LEVELS} levels deep.")
    inside = partial(decode, levels=levels - 1)
    if isinstance(value, list):
        return [inside(item) for item in value]
    tag = next(iter(value), "")
    if tag.startswith("$"):
        return _DECODERS[tag](value[tag], inside)
    return {key: inside(item) for key, item in value.items()}


def _encode_dict(value: dict[Any, Any], inside: _Recursion) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: inside(item) for key, item in value.items()}
    return {"$dict": [[inside(key), inside(item)] for key, item in value.items()]}


def _decode_dict(items: list[Any], inside: _Recursion) -> dict[Any, Any]:
    return {inside(key): inside(item) for key, item in items}


def _is_kept(dtype: np.dtype[Any]) -> bool:
    # tolist gives a long double as it is, not as a Python float.
    too_long = dtype.kind == "f" and dtype.itemsize > 8
    return _DTYPE.fullmatch(dtype.str) is not None and not too_long


def _encode_array(value: Any, inside: _Recursion) -> dict[str, Any]:
    array = np.asarray(value)
    values = array.astype(_as_numbers(array.dtype)).ravel().tolist()
    if array.dtype.kind == "U":
        # An array takes its longest text's room for each, and so must the file: a few
        # bytes in it could else ask for any amount of memory.
        width = _width(array.dtype)
        values = [text.ljust(width, "\0") for text in values]
    return {
        "$array" if isinstance(value, np.ndarray) else "$scalar": {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "values": [inside(item) for item in values],
        }
    }


def _decode_array(content: dict[str, Any], inside: _Recursion) -> np.ndarray:
    if not _DTYPE.fullmatch(content["dtype"]):
        raise ValueError(f"arrays of {content['dtype']} are not part of the format.")
    dtype = np.dtype(content["dtype"])
    values = [inside(item) for item in content["values"]]
    if dtype.kind == "U" and any(len(text) != _width(dtype) for text in values):
        raise ValueError(f"an array of {dtype} must hold texts of this length.")
    array = np.empty(len(values), dtype=_as_numbers(dtype))
    # A list in one assignment would be taken for a further axis of an object array.
    for position, item in enumerate(values):
        array[position] = item
    return array.astype(dtype, copy=False).reshape(content["shape"])


def _as_numbers(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which an array is written: a date is its number of units."""
    return np.dtype(np.int64) if dtype.kind in "mM" else dtype


def _width(dtype: np.dtype[Any]) -> int:
    return dtype.itemsize // np.dtype("U1").itemsize


_ENCODERS: dict[type, Callable[[Any, _Recursion], Any]] = {
    float: lambda value, inside: {"$float": str(value)},
    list: lambda value, inside: [inside(item) for item in value],
    tuple: lambda value, inside: {"$tuple": [inside(item) for item in value]},
    dict: _encode_dict,
    torch.device: lambda value, inside: {"$device": str(value)},
    # The class of paths on this system.
    type(Path()): lambda value, inside: {"$path": str(value)},
}
_DECODERS: dict[str, Callable[[Any, _Recursion], Any]] = {
    "$array": _decode_array,
    "$device": lambda name, inside: torch.device(name),
    "$dict": _decode_dict,
    "$float": lambda text, inside: float(text),
    "$path": lambda text, inside: Path(text),
    "$scalar": lambda content, inside: _decode_array(content, inside)[()],
    "$tuple": lambda items, inside: tuple(inside(item) for item in items),
}
