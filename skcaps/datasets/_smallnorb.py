"""smallNORB: toys photographed from many sides, as pairs of images."""

import hashlib
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skcaps.datasets._files import find_home, obtain
from skcaps.datasets._norb_format import read_norb

FOLDER = "smallnorb"
BASE_URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"

PREFIXES = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}

# 5 categories x 5 toys x 9 elevations x 18 azimuths x 6 lightings.
N_SAMPLES = 24_300
SHAPES: dict[str, tuple[int, ...]] = {"dat": (2, 96, 96), "cat": (), "info": (4,)}
DTYPES: dict[str, np.dtype[Any]] = {
    "dat": np.dtype(np.uint8),
    "cat": np.dtype("i4"),
    "info": np.dtype("i4"),
}
# Of a type, a number of axes and the size of each of up to four.
LONGEST_HEADER = 24

# Of the compressed bytes, as the list of TensorFlow Datasets has them; it has none for
# the uncompressed ones.
SHA256 = {
    "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz": (
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873"
    ),
    "smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat.gz": (
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"
    ),
    "smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz": (
        "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32"
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat.gz": (
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474"
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat.gz": (
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff"
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat.gz": (
        "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2"
    ),
}

TARGET_NAMES = ["animal", "human", "airplane", "truck", "car"]
INFO_NAMES = ["instance", "elevation", "azimuth", "lighting"]

DESCRIPTION = (
    "smallNORB: 50 toys of five categories under 6 lightings, from 9 elevations and "
    "18 azimuths, as pairs of 96x96 grey images; 24,300 pairs of 25 toys for training "
    "and 24,300 of the other 25 for testing. For research only. LeCun, Huang, Bottou "
    "(2004), Learning methods for generic object recognition with invariance to pose "
    "and lighting, CVPR."
)


def load_smallnorb(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the smallNORB pairs of images of toys.

    The published files, ``smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat``,
    ``-cat.mat`` and ``-info.mat`` and those of ``5x01235...-testing``, are read from
    the folder ``smallnorb`` in `data_home`, with or without ``.gz`` at the end of
    their names. The three files of a subset are downloaded into it where they are
    missing, 130 MB.

    A download is checked by the SHA-256 of its compressed bytes. At every load, the
    type, the shape and the size of each file are checked, and that no value leaves
    its range.

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        The 24,300 training pairs, or as many test pairs, which show other toys.
    data_home : str or path-like, default=None
        The folder that holds the folder ``smallnorb``, as in :func:`load_mnist`.
    download_if_missing : bool, default=True
        Whether missing files are downloaded. If not, they are an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, 2, 96, 96), dtype uint8
            The pairs of images, the left camera's first.
        data : ndarray of shape (n_samples, 18432), dtype uint8
            The same pairs flattened, a view of ``images``.
        target : ndarray of shape (n_samples,), dtype int64
            The category of each pair, an index into ``target_names``.
        target_names : list of str
            The names of the five categories.
        info : ndarray of shape (n_samples, 4), dtype int64
            How each pair was taken, in the order of ``info_names``: which of the
            ten toys of its category, 0 to 9; the elevation, 0 to 8 for 30 to 70
            degrees; the azimuth in tens of degrees, 0, 2, ..., 34; the lighting, 0
            to 5.
        info_names : list of str
            The names of the columns of ``info``.
        DESCR : str
            What the data set is and where it comes from.
    (data, target) : tuple if `return_X_y` is True
        The flat pairs and their categories.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As :func:`load_mnist`.

    See Also
    --------
    novel_viewpoint_split : Train on some viewpoints, test on the others.

    Examples
    --------
    >>> from skcaps.datasets import load_smallnorb
    >>> norb = load_smallnorb(subset="test")  # doctest: +SKIP
    >>> norb.images.shape  # doctest: +SKIP
    (24300, 2, 96, 96)

    Where nothing may be downloaded, the error says which file is missing:

    >>> load_smallnorb(data_home="no/such/folder", download_if_missing=False)
    Traceback (most recent call last):
    FileNotFoundError: no...smallnorb-...-training-dat.mat.gz does not exist; ...
    """
    if subset not in PREFIXES:
        raise ValueError(f"subset must be one of {sorted(PREFIXES)}, got {subset!r}.")
    folder = find_home(data_home) / FOLDER
    images, target, info = (
        _read(folder, PREFIXES[subset], kind, download_if_missing) for kind in SHAPES
    )
    target, info = target.astype(np.int64), info.astype(np.int64)
    _check_values(folder, target, info)
    data = images.reshape(len(images), -1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=images,
        target=target,
        target_names=list(TARGET_NAMES),
        info=info,
        info_names=list(INFO_NAMES),
        DESCR=DESCRIPTION,
    )


def _read(
    folder: Path, prefix: str, kind: str, download_if_missing: bool
) -> np.ndarray:
    path = folder / f"{prefix}-{kind}.mat"
    shape = (N_SAMPLES, *SHAPES[kind])
    limit = LONGEST_HEADER + math.prod(shape) * DTYPES[kind].itemsize
    if not path.is_file():
        name = f"{path.name}.gz"
        path = obtain(
            folder / name,
            BASE_URL + name,
            check=partial(_check_sha256, expected=SHA256[name]),
            limit=limit,
            download_if_missing=download_if_missing,
        )
    array = read_norb(path, limit=limit)
    if array.shape != shape or array.dtype != DTYPES[kind]:
        raise ValueError(
            f"{path} must hold {DTYPES[kind]} of the shape {shape}, got "
            f"{array.dtype} of the shape {array.shape}; it is not the published file."
        )
    return array


def _check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{path} must have the SHA-256 {expected}, got {found}.")


def _check_values(folder: Path, target: np.ndarray, info: np.ndarray) -> None:
    values = np.column_stack([target, info])
    names = ["category", *INFO_NAMES]
    for name, column, highest in zip(names, values.T, [4, 9, 8, 34, 5], strict=True):
        if column.min() < 0 or column.max() > highest:
            raise ValueError(
                f"The files in {folder} must name each {name} by a number from 0 to "
                f"{highest}, got {column.min()} to {column.max()}; they are not the "
                "published ones."
            )
