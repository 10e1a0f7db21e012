"""What an export needs: a fitted classifier, and packages that are seldom there."""

from __future__ import annotations

import importlib
from typing import Any

from sklearn.utils.validation import check_is_fitted

from skcaps.estimators._base import BaseCapsuleClassifier


def check_classifier(estimator: Any) -> None:
    """Raise an error unless a classifier of this package comes that is fitted.

    Raises
    ------
    TypeError
        If it is something else, such as a pipeline.
    NotFittedError
        If it is not fitted.
    """
    if not isinstance(estimator, BaseCapsuleClassifier):
        raise TypeError(
            "estimator must be a classifier of skcaps, got "
            f"{type(estimator).__name__}; of a pipeline or a search, pass the "
            "classifier in it, such as pipeline[-1] or search.best_estimator_."
        )
    check_is_fitted(estimator)


def require(packages: tuple[str, ...], extra: str) -> None:
    """Raise ImportError, which says how to install them, unless packages are there."""
    for name in packages:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ImportError(
                f"This needs the package {name}, which is not installed; run "
                f'pip install "skcaps[{extra}]".'
            ) from error
