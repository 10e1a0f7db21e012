"""affNIST: MNIST's digits under affine maps, from the published MATLAB files."""

import os
import zipfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skcaps.datasets._bytes import read_file
from skcaps.datasets._files import find_home, obtain
from skcaps.datasets._matlab import read_record
from skcaps.datasets._zip import DAMAGES, read_member

FOLDER = "affnist"
BASE_URL = "https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/"

FILES = {"test": "test.mat", "validation": "validation.mat"}

# 10,000 digits of MNIST, 32 times each.
N_SAMPLES = 320_000
SIDE = 40
FIELDS = ("image", "label_int")

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
    raw = _unzip(path) if path.suffix == ".zip" else read_file(path, _limit())
    try:
        arrays = read_record(raw, "affNISTdata", FIELDS, limit=_limit())
    except ValueError as error:
        raise ValueError(
            f"{path} must be a whole MATLAB file with the record affNISTdata, got: "
            f"{error}; get it again."
        ) from error
    if len(arrays) != len(FIELDS):
        raise ValueError(
            f"{path} must hold the fields {' and '.join(FIELDS)} in the record "
            f"affNISTdata, got {', '.join(arrays) or 'neither'}."
        )
    columns, labels = arrays["image"], arrays["label_int"].ravel()
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
    return obtain(
        archive,
        BASE_URL + archive.name,
        check=_unzip,
        limit=_limit(),
        download_if_missing=download_if_missing,
    )


def _limit() -> int:
    """Return how many bytes a file has at most: few beside its images."""
    return 2 * N_SAMPLES * SIDE**2 + (1 << 16)


def _unzip(path: Path) -> bytearray:
    """Read the one MATLAB file in an archive, up to its checksum."""
    # Opened out here, because a missing file is no damage.
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return read_member(archive, _find_member(archive), _limit())
        except DAMAGES as error:
            raise ValueError(
                f"{path} must be a whole zip archive of one MATLAB file, got "
                f"{type(error).__name__}: {error}; get it again."
            ) from error


def _find_member(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    members = [name for name in names if name.endswith(".mat")]
    if len(members) != 1:
        raise ValueError(f"it must hold one file .mat, got {names[:5]}")
    return members[0]
