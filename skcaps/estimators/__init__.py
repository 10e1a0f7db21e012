"""Capsule networks as scikit-learn classifiers."""

from skcaps.estimators._capsnet import CapsNetClassifier
from skcaps.estimators._efficient_capsnet import EfficientCapsNetClassifier
from skcaps.estimators._matrix_capsnet import MatrixCapsNetClassifier

__all__ = ["CapsNetClassifier", "EfficientCapsNetClassifier", "MatrixCapsNetClassifier"]
