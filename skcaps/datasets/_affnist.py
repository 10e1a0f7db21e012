"""affNIST: MNIST's digits under affine maps, from the published MATLAB files."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from sklearn.utils import Bunch

from skcaps.datasets._files import find_home, obtain

FOLDER = "affnist"
BASE_URL = "https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/"

FILES = {"test": "test.mat", "validation": "validation.mat"}

# 10,000 digits of MNIST, 32 times each.
N_SAMPLES = 320_000
SIDE = 40

DESCRIPTION = (
    "affNIST: MNIST's handwritten digits under random affine maps, 40x40 grey images, "
    "32 of each of 10,000 digits; the test images come from MNIST's test set, the "
    "validation images from its training set. Tieleman (2013), affNIST, University of "
    "Toronto."
)


def load_affnist(
    *,
    subset: str = "test",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the affNIST digits, which networks trained on shifted MNIST are tested on.

    The file ``test.mat`` or ``validation.mat`` is read from the folder ``affnist`` in
    `data_home`, as it is or in the archive ``test.mat.zip`` or
    ``validation.mat.zip`` that it is published in, which is downloaded where neither
    is there.

    No checksum of these files is published. A download is checked by those inside
    the archive, which find damage, but not another file in its place. At every load,
    the shape and the type of the contents and the range of the labels are checked.

    Parameters
    ----------
    subset : {"test", "validation"}, default="test"
        The images made from MNIST's test set, or those made from 10,000 images of
        its training set. The protocol of capsule papers needs no other training
        set than MNIST itself, see :func:`pad_and_shift`.
    data_home : str or path-like, default=None
        The folder that holds the folder ``affnist``, as in :func:`load_mnist`.
    download_if_missing : bool, default=True
        Whether a missing file is downloaded. If not, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (320000, 40, 40), dtype uint8
            The images, 0 is black and 255 is white.
        data : ndarray of shape (320000, 1600), dtype uint8
            The same images flattened, a view of ``images``.
        target : ndarray of shape (320000,), dtype int64
            The digit in each image, an index into ``target_names``.
        target_names : list of str
            The names of the ten classes.
        DESCR : str
            What the data set is and where it comes from.
    (data, target) : tuple if `return_X_y` is True
        The flat images and their digits.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As :func:`load_mnist`.

    See Also
    --------
    make_affnist_like : Images in the manner of affNIST, from any images.
    pad_and_shift : The training set of the protocol.

    Examples
    --------
    >>> from skcaps.datasets import load_affnist
    >>> affnist = load_affnist()  # doctest: +SKIP
    >>> affnist.images.shape  # doctest: +SKIP
    (320000, 40, 40)

    Where nothing may be downloaded, the error says which file is missing:

    >>> load_affnist(data_home="no/such/folder", download_if_missing=False)
    Traceback (most recent call last):
    FileNotFoundError: no...affnist...test.mat.zip does not exist; ...
    """
    if subset not in FILES:
        raise ValueError(f"subset must be one of {sorted(FILES)}, got {subset!r}.")
    path = _find_file(FILES[subset], data_home, download_if_missing)
    columns, labels = read_affnist(path)
    if len(labels) != N_SAMPLES:
        raise ValueError(
            f"{path} must hold {N_SAMPLES} images, got {len(labels)}; it is not the "
            "published file."
        )
    images = np.ascontiguousarray(columns.T).reshape(-1, SIDE, SIDE)
    data = images.reshape(len(images), -1)
    if return_X_y:
        return data, labels
    return Bunch(
        data=data,
        images=images,
        target=labels,
        target_names=[str(digit) for digit in range(10)],
        DESCR=DESCRIPTION,
    )


def read_affnist(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and the labels from one of affNIST's MATLAB files.

    Parameters
    ----------
    path : pathlib.Path
        The file, or a zip archive with this file and no other in it where the name
        ends in ``.zip``.

    Returns
    -------
    columns : ndarray of shape (1600, n_samples), dtype uint8
        The images, one a column, each row by row.
    labels : ndarray of shape (n_samples,), dtype int64
        The digits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or has other contents.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.datasets._affnist import read_affnist
    >>> columns, labels = read_affnist(Path("test.mat.zip"))  # doctest: +SKIP
    """
    record = _read_record(path)
    missing = {"image", "label_int"} - set(record.dtype.names or ())
    if missing or record.size != 1:
        raise ValueError(
            f"{path} must hold one record affNISTdata with the fields image and "
            f"label_int, got {record.size} with the fields {record.dtype.names}."
        )
    columns, labels = record["image"].item(), record["label_int"].item().ravel()
    if columns.dtype != np.uint8 or columns.shape != (SIDE * SIDE, labels.size):
        raise ValueError(
            f"{path} must hold images of the type uint8 and the shape "
            f"({SIDE * SIDE}, {labels.size}), by its labels, got {columns.dtype} and "
            f"{columns.shape}."
        )
    if not np.isin(labels, np.arange(10)).all():
        raise ValueError(
            f"{path} must label each image by a digit from 0 to 9, got the labels "
            f"{np.unique(labels)}."
        )
    return columns, labels.astype(np.int64)


def _find_file(
    name: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> Path:
    path = find_home(data_home) / FOLDER / name
    if path.is_file():
        return path
    archive = path.with_name(f"{name}.zip")
    return obtain(archive, BASE_URL + archive.name, _check_zip, download_if_missing)


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            _only_member(path, archive)
            damaged = archive.testzip()
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole zip archive, got: {error}."
        ) from error
    if damaged is not None:
        raise ValueError(f"{path} must be whole, got {damaged} damaged.")


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    members = [name for name in archive.namelist() if name.endswith(".mat")]
    if len(members) != 1:
        raise ValueError(f"{path} must hold one file .mat, got {archive.namelist()}.")
    return members[0]


def _read_record(path: Path) -> np.ndarray:
    """Read the MATLAB record affNISTdata, which holds everything."""
    from scipy.io.matlab import MatReadError

    # What SciPy raises depends on where a file is damaged.
    damages = (
        EOFError, IndexError, KeyError, MatReadError, MemoryError, NotImplementedError,
        OSError, OverflowError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
    )  # fmt: skip
    # Opened out here, because a missing file is no damage.
    with path.open("rb") as file:
        try:
            return _parse(path, file)
        except damages as error:
            raise ValueError(
                f"{path} must be a whole MATLAB file with the record affNISTdata, got "
                f"{type(error).__name__}: {error}; get it again."
            ) from error


def _parse(path: Path, file: IO[bytes]) -> np.ndarray:
    from scipy.io import loadmat

    if path.suffix != ".zip":
        return np.asarray(loadmat(file)["affNISTdata"])
    with (
        zipfile.ZipFile(file) as archive,
        archive.open(_only_member(path, archive)) as member,
    ):
        return np.asarray(loadmat(member)["affNISTdata"])
