"""Fitted classifiers as safetensors files: weights and JSON, no pickle."""

from skcaps.persistence._container import FORMAT_VERSION
from skcaps.persistence._saving import load, save

__all__ = ["FORMAT_VERSION", "load", "save"]
