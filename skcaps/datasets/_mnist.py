"""MNIST and Fashion-MNIST, from the four IDX files that each is published as."""

import os
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skcaps.datasets._files import find_home, obtain
from skcaps.datasets._idx import read_idx

BASE_URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
    ),
}

PREFIXES = {"train": "train", "test": "t10k"}

# Of the uncompressed files: a header, and a byte for each pixel or label.
SIZES = {
    "train-images-idx3-ubyte.gz": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte.gz": 8 + 60_000,
    "t10k-images-idx3-ubyte.gz": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte.gz": 8 + 10_000,
}

# Of the uncompressed bytes, by data set and file.
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte.gz": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte.gz": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
}

TARGET_NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "fashion-mnist": [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
}

DESCRIPTIONS = {
    "mnist": (
        "MNIST: handwritten digits, 28x28 grey images, 60,000 for training and 10,000 "
        "for testing. LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning "
        "applied to document recognition, Proceedings of the IEEE 86(11)."
    ),
    "fashion-mnist": (
        "Fashion-MNIST: articles of clothing, 28x28 grey images, 60,000 for training "
        "and 10,000 for testing. Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a novel "
        "image dataset for benchmarking machine learning algorithms, "
        "arXiv:1708.07747."
    ),
}


def load_mnist(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the MNIST handwritten digits.

    The files ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
    ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz`` are read from the
    folder ``mnist`` in `data_home`. The two files of a subset are downloaded into it
    where they are missing, 10 MB for training and 2 MB for testing. Their
    uncompressed contents are checked by SHA-256 at every load.

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        The 60,000 training images or the 10,000 test images.
    data_home : str or path-like, default=None
        The folder that holds the folder ``mnist``. ``None`` takes the
        environment variable ``SKCAPS_DATA`` and, where that is not set, a cache
        folder of the operating system's choice, for example ``~/.cache/skcaps``.
        Missing files are downloaded into whichever it is.
    download_if_missing : bool, default=True
        Whether missing files are downloaded. If not, they are an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, 28, 28), dtype uint8
            The images, 0 is black and 255 is white.
        data : ndarray of shape (n_samples, 784), dtype uint8
            The same images flattened, a view of ``images``.
        target : ndarray of shape (n_samples,), dtype int64
            The class of each image, an index into ``target_names``.
        target_names : list of str
            The names of the ten classes.
        DESCR : str
            What the data set is and where it comes from.
    (data, target) : tuple if `return_X_y` is True
        The flat images and their classes.

    Raises
    ------
    FileNotFoundError
        If a file is missing and `download_if_missing` is false.
    OSError
        If a file cannot be downloaded or stored.
    ValueError
        If a file is not the published one. Delete a damaged file to have it
        downloaded again.

    See Also
    --------
    load_fashion_mnist : Clothing in the same format, harder to tell apart.

    Examples
    --------
    >>> from skcaps.datasets import load_mnist
    >>> mnist = load_mnist(subset="test")  # doctest: +SKIP
    >>> mnist.images.shape  # doctest: +SKIP
    (10000, 28, 28)

    Where nothing may be downloaded, the error says which file is missing:

    >>> load_mnist(data_home="no/such/folder", download_if_missing=False)
    Traceback (most recent call last):
    FileNotFoundError: no...train-images-idx3-ubyte.gz does not exist; ...
    """
    return _load("mnist", subset, data_home, download_if_missing, return_X_y)


def load_fashion_mnist(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the Fashion-MNIST articles of clothing.

    The files have MNIST's names and format, and are read from the folder
    ``fashion-mnist`` in `data_home`. The two files of a subset are downloaded into it
    where they are missing, 26 MB for training and 4 MB for testing. Their
    uncompressed contents are checked by SHA-256 at every load.

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        The 60,000 training images or the 10,000 test images.
    data_home : str or path-like, default=None
        The folder that holds the folder ``fashion-mnist``. ``None`` takes the
        environment variable ``SKCAPS_DATA`` and, where that is not set, a cache
        folder of the operating system's choice, for example ``~/.cache/skcaps``.
        Missing files are downloaded into whichever it is.
    download_if_missing : bool, default=True
        Whether missing files are downloaded. If not, they are an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes ``images``, ``data``, ``target``, ``target_names`` and
        ``DESCR``, as :func:`load_mnist` gives them.
    (data, target) : tuple if `return_X_y` is True
        The flat images and their classes.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As :func:`load_mnist`.

    See Also
    --------
    load_mnist : Handwritten digits in the same format.

    Examples
    --------
    >>> from skcaps.datasets import load_fashion_mnist
    >>> fashion = load_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> fashion.target_names[fashion.target[0]]  # doctest: +SKIP
    'Ankle boot'

    Where nothing may be downloaded, the error says which file is missing:

    >>> load_fashion_mnist(data_home="no/such/folder", download_if_missing=False)
    Traceback (most recent call last):
    FileNotFoundError: no...train-images-idx3-ubyte.gz does not exist; ...
    """
    return _load("fashion-mnist", subset, data_home, download_if_missing, return_X_y)


def _load(
    name: str,
    subset: str,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    return_X_y: bool,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    if subset not in PREFIXES:
        raise ValueError(f"subset must be one of {sorted(PREFIXES)}, got {subset!r}.")
    folder = find_home(data_home) / name
    prefix = PREFIXES[subset]
    images, target = (
        _read(folder, f"{prefix}-{kind}-ubyte.gz", download_if_missing)
        for kind in ("images-idx3", "labels-idx1")
    )
    target = target.astype(np.int64)
    data = images.reshape(len(images), -1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=images,
        target=target,
        target_names=list(TARGET_NAMES[name]),
        DESCR=DESCRIPTIONS[name],
    )


def _read(folder: Path, file_name: str, download_if_missing: bool) -> np.ndarray:
    name, size = folder.name, SIZES[file_name]
    read = partial(read_idx, limit=size, sha256=SHA256[name][file_name])
    url = BASE_URLS[name] + file_name
    path = obtain(
        folder / file_name,
        url,
        check=read,
        limit=size,
        download_if_missing=download_if_missing,
    )
    return read(path)
