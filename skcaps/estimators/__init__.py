"""Capsule networks as scikit-learn estimators."""

from skcaps.estimators._capsnet import CapsNetClassifier
from skcaps.estimators._efficient_capsnet import EfficientCapsNetClassifier
from skcaps.estimators._matrix_capsnet import MatrixCapsNetClassifier
from skcaps.estimators._segcaps import SegCapsSegmenter

__all__ = [
    "CapsNetClassifier",
    "EfficientCapsNetClassifier",
    "MatrixCapsNetClassifier",
    "SegCapsSegmenter",
]
