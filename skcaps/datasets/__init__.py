"""Image data sets, published and generated, as NumPy arrays."""

from skcaps.datasets._affnist import load_affnist
from skcaps.datasets._affnist_like import make_affnist_like
from skcaps.datasets._isbi2012 import load_isbi2012
from skcaps.datasets._masks import SourceMasks, label_pixels, masks_from_sources
from skcaps.datasets._mnist import load_fashion_mnist, load_mnist
from skcaps.datasets._multimnist import iter_multimnist, make_multimnist
from skcaps.datasets._shift import pad_and_shift
from skcaps.datasets._smallnorb import load_smallnorb
from skcaps.datasets._viewpoints import novel_viewpoint_split

__all__ = [
    "SourceMasks",
    "iter_multimnist",
    "label_pixels",
    "load_affnist",
    "load_fashion_mnist",
    "load_isbi2012",
    "load_mnist",
    "load_smallnorb",
    "make_affnist_like",
    "make_multimnist",
    "masks_from_sources",
    "novel_viewpoint_split",
    "pad_and_shift",
]
