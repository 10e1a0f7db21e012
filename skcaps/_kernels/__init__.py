"""Convolutions that are faster on a CPU; one function, its algorithms behind it."""

from skcaps._kernels._conv2d import FEWEST_CHANNELS, conv2d

__all__ = ["FEWEST_CHANNELS", "conv2d"]
