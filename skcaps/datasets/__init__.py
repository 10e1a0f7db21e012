"""Image data sets, published and generated, as NumPy arrays."""

from skcaps.datasets._affnist import load_affnist
from skcaps.datasets._mnist import load_fashion_mnist, load_mnist
from skcaps.datasets._smallnorb import load_smallnorb
from skcaps.datasets._viewpoints import novel_viewpoint_split

__all__ = [
    "load_affnist",
    "load_fashion_mnist",
    "load_mnist",
    "load_smallnorb",
    "novel_viewpoint_split",
]
