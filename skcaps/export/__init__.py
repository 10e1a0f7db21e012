"""Fitted classifiers for others: as ONNX files, and as model cards."""

from skcaps.export._card import model_card
from skcaps.export._onnx import to_onnx

__all__ = ["model_card", "to_onnx"]
