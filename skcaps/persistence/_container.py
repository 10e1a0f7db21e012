"""The safetensors file around a description and the weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

FORMAT_VERSION = 3

# One key, since the order of several in the file would change from run to run.
_METADATA_KEY = "skcaps"
# What precedes the header: its length.
_PREFIX = 8

Weights = dict[str, np.ndarray]


def pack(content: dict[str, Any], weights: Weights) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    content : dict
        The description, which is JSON.
    weights : dict of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps.persistence._container import pack
    >>> data = pack({"class": "Example"}, {"weight": np.zeros(3)})
    >>> b"Example" in data
    True
    """
    arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
    content = {"format_version": FORMAT_VERSION, **content}
    content["sha256"] = _checksum(content, arrays)
    return to_bytes(arrays, {_METADATA_KEY: json.dumps(content, allow_nan=False)})


def unpack(path: Path) -> tuple[dict[str, Any], Weights]:
    """Read a file that `pack` has made, every bit of it.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    content : dict
    weights : dict of ndarray

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or another one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.persistence._container import unpack
    >>> unpack(Path("no/such/file"))
    Traceback (most recent call last):
    FileNotFoundError: There is no file no...file; skcaps.save writes one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; skcaps.save writes one.")
    # Not mapped into memory: where another program cuts the file meanwhile, that ends
    # the process.
    with path.open("rb") as stream:
        content = _read_content(path, stream)
        _check_version(path, content)
        stream.seek(0)
        data = stream.read()
    try:
        weights = from_bytes(data)
    except (LookupError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error!r}.") from error
    _check_sum(path, content, weights)
    return content, weights


def _check_sum(path: Path, content: dict[str, Any], weights: Weights) -> None:
    expected = content.pop("sha256", None)
    try:
        found = _checksum(content, weights)
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: {error!r}.") from error
    if found != expected:
        raise ValueError(
            f"{path} is damaged: the SHA-256 of its description and weights must be "
            f"{expected}, got {found}; get the file again."
        )


def _checksum(content: dict[str, Any], weights: Weights) -> str:
    """Return the SHA-256 of a description and the weights it belongs to."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_content(path: Path, stream: IO[bytes]) -> dict[str, Any]:
    """Read the description, before the rest of a file that may be no such file."""
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(_PREFIX), "little")
    if length > size - _PREFIX:
        raise ValueError(
            f"{path} is no safetensors file, or a damaged one: it has {size} bytes, "
            f"and a header of {length} bytes should be within them."
        )
    try:
        header = json.loads(stream.read(length))
        text = (header.get("__metadata__") or {}).get(_METADATA_KEY)
    except (AttributeError, RecursionError, ValueError) as error:
        raise ValueError(
            f"{path} is no safetensors file, or a damaged one: {error}."
        ) from error
    if text is None:
        raise ValueError(
            f"{path} is a safetensors file, but skcaps.save did not write it, or it is "
            "damaged; load bare weights with network_.load_state_dict."
        )
    return _parse(path, text)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(text)
        content["format_version"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error!r}.") from error
    return content


def _check_version(path: Path, content: dict[str, Any]) -> None:
    version, writer = content["format_version"], content.get("skcaps_version")
    if type(version) is not int or version < 1:
        raise ValueError(
            f"{path} is damaged: its format version must be a positive integer, got "
            f"{version!r}."
        )
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by skcaps {writer} in format {version}, and this "
            f"version reads formats up to {FORMAT_VERSION}; upgrade skcaps."
        )
    if version < FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by an older skcaps, {writer}, in format {version}, "
            f"and this version reads format {FORMAT_VERSION}; load it there, or fit "
            "again."
        )
