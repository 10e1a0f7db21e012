"""Write fitted estimators to files, and read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from skcaps import estimators
from skcaps._replacing import replace_file
from skcaps._versions import version_of
from skcaps.persistence._checks import check_state
from skcaps.persistence._container import pack, unpack
from skcaps.persistence._values import HELP, decode, encode

CLASSES: dict[str, Any] = {
    name: getattr(estimators, name) for name in estimators.__all__
}

_SET_BY_METHODS = {
    "_metadata_request": "set_fit_request or set_score_request",
    "_skl_callbacks": "set_callbacks",
}
# What a description that is no such thing makes Python, NumPy and torch raise.
_TROUBLES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one safetensors file.

    The file holds the weights, and the parameters and fitted attributes as JSON.
    Loading it runs no code from it, unlike a pickle or joblib file.

    Parameters
    ----------
    estimator : object
        A fitted estimator of skcaps.
    path : str or path-like
        The file to write. One that is there is replaced as a whole, or left as it was
        if writing fails; its mode stays and, where the system lets it, its owner.

    Returns
    -------
    None
        The file is written.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    FileExistsError
        If `path` is no file, but a folder, a device or a pipe.
    FileNotFoundError
        If there is no such folder.
    ValueError
        If `path` is empty, a parameter is out of its range by now, fitted attributes
        do not fit together any more, or a weight is infinite or NaN.
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
    path = _as_path(path)
    name = type(estimator).__name__
    if CLASSES.get(name) is not type(estimator):
        raise TypeError(
            f"estimator must be one of {', '.join(CLASSES)}, got {estimator!r}; {HELP}"
        )
    check_is_fitted(estimator)
    state = estimator.__getstate__()
    for attribute, method in _SET_BY_METHODS.items():
        if attribute in state:
            raise TypeError(
                f"What {method} has set cannot be written to a safetensors file; {HELP}"
            )
    weights = state.pop("_weights")
    params = {key: state.pop(key) for key in estimator.get_params(deep=False)}
    content = {
        "skcaps_version": version_of("skcaps"),
        "class": name,
        "params": _encode_all(params),
        "fitted": _encode_all(state),
    }
    # What does not fit together could be written, but not be read again.
    check_state(estimator, state, weights)
    replace_file(path, pack(content, weights))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator from a file that `save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : object
        The fitted estimator, on the device that its parameter `device` names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If `path` is empty, or the file is damaged, not written by `save`, or written by
        another version. A checksum of the description and of the weights finds every
        changed bit.

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
    path = _as_path(path)
    content, weights = unpack(path)
    try:
        return _restore(content, weights)
    except _TROUBLES as error:
        raise ValueError(
            f"{path} is damaged, or does not fit this version of skcaps (it was "
            f"written by {content.get('skcaps_version')}): {error}"
        ) from error


def _restore(content: dict[str, Any], weights: dict[str, Any]) -> Any:
    name = content["class"]
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"only {', '.join(CLASSES)} can be loaded, got {name!r}.")
    params = _decode_all(content["params"])
    fitted = _decode_all(content["fitted"])
    # What a later version adds has its default.
    estimator = CLASSES[name](**params)
    check_state(estimator, fitted, weights)
    state = {**estimator.__getstate__(), **fitted, "_weights": weights}
    estimator.__setstate__(state)
    return estimator


def _encode_all(values: dict[str, Any]) -> dict[str, Any]:
    return {name: encode(value, name) for name, value in values.items()}


def _decode_all(values: dict[str, Any]) -> dict[str, Any]:
    decoded = {name: decode(value) for name, value in values.items()}
    # Some values can be written in several ways, and numbers can be cut to a type.
    if _encode_all(decoded) != values:
        raise ValueError("its values are not written as save writes them.")
    return decoded


def _as_path(path: str | os.PathLike[str]) -> Path:
    # An empty path means the current folder elsewhere.
    if os.fspath(path) == "":
        raise ValueError('path must name a file, got ""; name one.')
    return Path(path)
