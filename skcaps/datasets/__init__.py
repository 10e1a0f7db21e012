"""Image data sets, read from local files into NumPy arrays."""

from skcaps.datasets._mnist import load_fashion_mnist, load_mnist

__all__ = ["load_fashion_mnist", "load_mnist"]
