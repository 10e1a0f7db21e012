"""Capsule networks as scikit-learn estimators."""

from skcaps.estimators import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    SegCapsSegmenter,
)
from skcaps.persistence import load, save

__version__ = "0.1.0"
__all__ = [
    "CapsNetClassifier",
    "EfficientCapsNetClassifier",
    "SegCapsSegmenter",
    "__version__",
    "load",
    "save",
]
