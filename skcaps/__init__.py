"""Capsule networks as scikit-learn estimators."""

from skcaps.estimators import CapsNetClassifier, EfficientCapsNetClassifier

__version__ = "0.1.0"
__all__ = ["CapsNetClassifier", "EfficientCapsNetClassifier", "__version__"]
