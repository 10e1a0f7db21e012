"""ISBI 2012: the membranes of neurons in slices of brain under the microscope."""

import hashlib
import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skcaps.datasets._files import ENVIRONMENT_VARIABLE, find_home
from skcaps.datasets._npz import read_npz

FOLDER = "isbi2012"
FILE = "isbi2012.npz"
PAGE = "https://imagej.net/events/isbi-2012-segmentation-challenge"

SHAPE = (30, 512, 512)

# Which slices of the stack. Neighbours are alike, so that the two parts touch once.
SUBSETS = {"train": slice(0, 20), "test": slice(20, 30), "all": slice(0, 30)}

# Of the values, as the same values make other bytes in another archive.
SHA256 = {
    "images": "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
    "membranes": "c276728e13e043af8be8da63d2fad087d8b7b37b1d216b00c7aa67d39967f22e",
}

TARGET_NAMES = ["cell", "membrane"]

DESCRIPTION = (
    "ISBI 2012: 30 neighbouring slices of the ventral nerve cord of a first instar "
    "larva of Drosophila, serial section transmission electron microscopy, 512x512 "
    "grey images of 4x4 nm a pixel, 50 nm apart, with the membranes marked by an "
    "expert. The training stack of the challenge, whose test stack has no published "
    "labels. For research; its terms of use are not stated with the file. Cardona et "
    "al. (2010), An integrated micro- and macroarchitectural analysis of the "
    "Drosophila brain by computer-assisted serial section electron microscopy, PLoS "
    "Biology 8(10). Arganda-Carreras et al. (2015), Crowdsourcing the creation of "
    "image segmentation algorithms for connectomics, Frontiers in Neuroanatomy 9:142."
)


def load_isbi2012(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the ISBI 2012 slices of brain with their cell membranes.

    The file ``isbi2012.npz`` is read from the folder ``isbi2012`` in `data_home`. It
    holds two arrays of the shape (30, 512, 512) and the type uint8: ``images``, and
    ``membranes``, 1 for membrane and 0 for the rest. Nothing is downloaded, as no
    lasting address is known. From the two files of the challenge's training stack,
    which mark membranes by 0, it is made by::

        images = read_stack("train-volume.tif")
        labels = read_stack("train-labels.tif")
        membranes = (labels == 0).astype("uint8")
        np.savez_compressed("isbi2012.npz", images=images, membranes=membranes)

    where ``read_stack`` is any function that reads all pages of a TIFF file. The values
    are checked by SHA-256 at every load.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The first 20 slices, the last 10, or all 30. The split is that of this package,
        as the challenge's own test stack has no published labels. It is one of whole
        slices at one place, because neighbouring slices, and even more so patches of
        one slice, show the same cells.
    data_home : str or path-like, default=None
        The folder that holds the folder ``isbi2012``, as in :func:`load_mnist`.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a
        :class:`~sklearn.utils.Bunch`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, 512, 512), dtype uint8
            The slices, 0 is black and 255 is white. Membranes are dark.
        data : ndarray of shape (n_samples, 262144), dtype uint8
            The same slices flattened, a view of ``images``.
        target : ndarray of shape (n_samples, 512, 512), dtype uint8
            The class of each pixel, an index into ``target_names``.
        target_names : list of str
            ``["cell", "membrane"]``.
        slices : ndarray of shape (n_samples,), dtype int64
            The place of each slice in the stack, from 0 to 29.
        DESCR : str
            What the data set is and where it comes from.
    (images, target) : tuple if `return_X_y` is True
        The slices and the classes of their pixels, in their shape.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If the file is damaged, or its values are other ones.

    See Also
    --------
    skcaps.metrics.dice_score : How well masks agree.

    References
    ----------
    Arganda-Carreras et al. (2015), Crowdsourcing the creation of image segmentation
    algorithms for connectomics, Frontiers in Neuroanatomy 9:142.

    Examples
    --------
    >>> from skcaps.datasets import load_isbi2012
    >>> isbi = load_isbi2012(subset="test")  # doctest: +SKIP
    >>> isbi.images.shape  # doctest: +SKIP
    (10, 512, 512)

    Where the file is missing, the error says where it is to be had:

    >>> load_isbi2012(data_home="no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: no...isbi2012.npz does not exist; get train-volume.tif ...
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {sorted(SUBSETS)}, got {subset!r}.")
    arrays = _read(find_home(data_home) / FOLDER / FILE)
    chosen = SUBSETS[subset]
    # Copies, so that the rest of the stack does not stay in memory.
    images, target = (arrays[name][chosen].copy() for name in ("images", "membranes"))
    if return_X_y:
        return images, target
    return Bunch(
        data=images.reshape(len(images), -1),
        images=images,
        target=target,
        target_names=list(TARGET_NAMES),
        slices=np.arange(SHAPE[0], dtype=np.int64)[chosen].copy(),
        DESCR=DESCRIPTION,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; get train-volume.tif and train-labels.tif of the "
            f"ISBI 2012 challenge by way of {PAGE}, make the file of them as the "
            "documentation of load_isbi2012 says, and name the folder that holds the "
            f"folder {FOLDER!r} by data_home or by the environment variable "
            f"{ENVIRONMENT_VARIABLE}."
        )
    arrays = read_npz(path, dict.fromkeys(SHA256, SHAPE), np.dtype(np.uint8))
    for name, expected in SHA256.items():
        found = hashlib.sha256(arrays[name].data).hexdigest()
        if found != expected:
            raise ValueError(
                f"The values of {name} in {path} must have the SHA-256 {expected}, got "
                f"{found}; they are not those of the challenge's training stack."
            )
    return arrays
