"""Capsule networks as scikit-learn estimators."""

import importlib
import typing

from skcaps._versions import show_versions
from skcaps.estimators import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    MatrixCapsNetClassifier,
    SegCapsSegmenter,
)
from skcaps.persistence import load, save

__version__ = "0.1.0"
__all__ = [
    "CapsNetClassifier",
    "EfficientCapsNetClassifier",
    "MatrixCapsNetClassifier",
    "SegCapsSegmenter",
    "__version__",
    "load",
    "save",
    "show_versions",
]

# Packages that are loaded when they are first asked for.
_LATE = ("datasets", "export", "inspection", "metrics")

if typing.TYPE_CHECKING:
    from skcaps import datasets as datasets
    from skcaps import export as export
    from skcaps import inspection as inspection
    from skcaps import metrics as metrics
else:

    def __getattr__(name):
        if name in _LATE:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
