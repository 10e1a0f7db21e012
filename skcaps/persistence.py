"""Fitted classifiers as safetensors files: weights and JSON, no pickle."""

from __future__ import annotations

import importlib.metadata
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from sklearn.utils.validation import check_is_fitted

from skcaps import estimators

FORMAT_VERSION = 3
CLASSES: dict[str, Any] = {
    name: getattr(estimators, name) for name in estimators.__all__
}

# One key, since the order of several in the file would change from run to run.
_METADATA_KEY = "skcaps"
_HELP = (
    'write it with joblib.dump(estimator, "file.joblib") instead, and load that file '
    "only where you trust it."
)
_SET_BY_METHODS = {
    "_metadata_request": "set_fit_request or set_score_request",
    "_skl_callbacks": "set_callbacks",
}
_PLAIN = (bool, int, str, type(None))
_ARRAY_KINDS = "biufUO"


def save(estimator, path):
    """Write a fitted classifier to one safetensors file.

    The file holds the weights, and the parameters and fitted attributes as JSON.
    Loading it runs no code from it, unlike a pickle or joblib file.

    Parameters
    ----------
    estimator : CapsNetClassifier or EfficientCapsNetClassifier
        A fitted classifier.
    path : str or path-like
        The file to write. One that is there is replaced as a whole, or left as it was
        if writing fails.

    Returns
    -------
    None
        The file is written.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    FileNotFoundError
        If there is no such folder.
    TypeError
        If `estimator` is of another class, or a parameter or attribute has a value
        that JSON cannot hold, such as a torch module as `stem`, a callback, a function,
        a random generator or a request set by `set_fit_request`.

    See Also
    --------
    load : Read the file.

    Notes
    -----
    The state of the optimiser is not kept, nor is it in a pickle.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skcaps
    >>> from skcaps.persistence import save
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = skcaps.EfficientCapsNetClassifier(max_epochs=1, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "digits.safetensors"
    ...     save(clf.fit(X, y), path)
    ...     path.stat().st_size > 0
    True
    """
    name = type(estimator).__name__
    if CLASSES.get(name) is not type(estimator):
        raise TypeError(
            f"estimator must be one of {', '.join(CLASSES)}, got {estimator!r}; {_HELP}"
        )
    check_is_fitted(estimator)
    state = estimator.__getstate__()
    for attribute, method in _SET_BY_METHODS.items():
        if attribute in state:
            raise TypeError(
                f"What {method} has set cannot be written to a safetensors file; "
                f"{_HELP}"
            )
    weights = state.pop("_weights")
    params = {key: state.pop(key) for key in estimator.get_params(deep=False)}
    content = {
        "format_version": FORMAT_VERSION,
        "skcaps_version": _installed_version(),
        "class": name,
        "params": _encode_all(params),
        "fitted": _encode_all(state),
    }
    metadata = {_METADATA_KEY: json.dumps(content, allow_nan=False)}
    arrays = {key: np.asarray(array, order="C") for key, array in weights.items()}
    replace_file(Path(path), to_bytes(arrays, metadata))


def load(path):
    """Read a classifier from a file that `save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : CapsNetClassifier or EfficientCapsNetClassifier
        The fitted classifier, on the device that its parameter `device` names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, not written by `save`, or written by another version.

    See Also
    --------
    save : Write the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skcaps
    >>> from skcaps.persistence import load, save
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = skcaps.EfficientCapsNetClassifier(max_epochs=1, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "digits.safetensors"
    ...     save(clf.fit(X, y), path)
    ...     loaded = load(path)
    >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    path = Path(path)
    metadata, weights = _read(path)
    content = _parse(path, metadata)
    try:
        estimator = CLASSES[content["class"]](**_decode_all(content["params"]))
        state = {**estimator.__getstate__(), **_decode_all(content["fitted"])}
        estimator.__setstate__({**state, "_weights": weights})
    # Whatever goes wrong with the content, the file is what is wrong.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is damaged, or does not fit this version of skcaps (it was "
            f"written by {content.get('skcaps_version')}): {error}"
        ) from error
    return estimator


def _installed_version():
    try:
        return importlib.metadata.version("skcaps")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def replace_file(path, data):
    """Write beside the file and swap, so that no reader ever sees a part."""
    target = path.resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} to write into.")
    # tempfile would leave a file that only its owner may read.
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; skcaps.save writes one.")
    try:
        with safe_open(path, framework="numpy") as stream:
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return stream.metadata() or {}, weights
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file, or a damaged one: {error}"
        ) from error


def _parse(path, metadata):
    """Return the JSON content after checking that it can be understood."""
    if _METADATA_KEY not in metadata:
        raise ValueError(
            f"{path} is a safetensors file, but skcaps.save did not write it; load "
            "bare weights with network_.load_state_dict."
        )
    try:
        content = json.loads(metadata[_METADATA_KEY])
        version, name = content["format_version"], content["class"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if type(version) is not int or version < 1:
        raise ValueError(
            f"{path} is damaged: its format version must be a positive integer, got "
            f"{version!r}."
        )
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by skcaps {content.get('skcaps_version')} in format "
            f"{version}, and this version reads formats up to {FORMAT_VERSION}; "
            "upgrade skcaps."
        )
    if version < FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by an older skcaps, "
            f"{content.get('skcaps_version')}, in format {version}, and this version "
            f"reads format {FORMAT_VERSION}; load it there, or fit again."
        )
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(
            f"{path} holds a {name!r}; only {', '.join(CLASSES)} can be loaded."
        )
    return content


def _encode_all(values):
    return {name: _encode(value, name) for name, value in values.items()}


def _decode_all(values):
    return {name: _decode(value) for name, value in values.items()}


def _encode(value, name):
    """Return a value as JSON; what JSON lacks becomes an object with one "$" key."""
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"$float": str(value)}
    if type(value) is list:
        return [_encode(item, name) for item in value]
    if type(value) is tuple:
        return {"$tuple": [_encode(item, name) for item in value]}
    if type(value) is dict:
        return _encode_dict(value, name)
    if isinstance(value, torch.device):
        return {"$device": str(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        return _encode_array(value, name)
    raise _refusal(value, name)


def _encode_dict(value, name):
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item, name) for key, item in value.items()}
    items = [[_encode(key, name), _encode(item, name)] for key, item in value.items()]
    return {"$dict": items}


def _encode_array(value, name):
    array = np.asarray(value)
    # tolist gives a long double as it is, not as a Python float.
    too_long = array.dtype.kind == "f" and array.dtype.itemsize > 8
    if array.dtype.kind not in _ARRAY_KINDS or too_long:
        raise _refusal(value, name)
    return {
        "$array" if isinstance(value, np.ndarray) else "$scalar": {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "values": [_encode(item, name) for item in array.ravel().tolist()],
        }
    }


def _refusal(value, name):
    return TypeError(
        f"{name}={value!r} cannot be written to a safetensors file, which holds "
        f"numbers, strings, None, and lists, tuples, dicts and arrays of them; {_HELP}"
    )


def _decode(value):
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if tag.startswith("$"):
        return _DECODERS[tag](value[tag])
    return _decode_all(value)


def _decode_dict(items):
    return {_decode(key): _decode(item) for key, item in items}


def _decode_array(content):
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"arrays of {dtype} are not part of the format.")
    values = _decode(content["values"])
    array = np.empty(len(values), dtype=dtype)
    # A list in one assignment would be taken for a further axis of an object array.
    for position, item in enumerate(values):
        array[position] = item
    return array.reshape(content["shape"])


_DECODERS = {
    "$array": _decode_array,
    "$device": torch.device,
    "$dict": _decode_dict,
    "$float": float,
    "$scalar": lambda content: _decode_array(content)[()],
    "$tuple": lambda items: tuple(map(_decode, items)),
}
