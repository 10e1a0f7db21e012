"""Capsule networks as scikit-learn estimators."""

from skcaps import export as export
from skcaps._versions import show_versions
from skcaps.estimators import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.persistence import load, save

__version__ = "0.1.0"
__all__ = [
    "CapsNetClassifier",
    "EfficientCapsNetClassifier",
    "__version__",
    "load",
    "save",
    "show_versions",
]
