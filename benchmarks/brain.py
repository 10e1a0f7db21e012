"""Slices of a brain with its tissues, from the template in the wheel of nilearn.

The ICBM 152 template of 2009, nonlinear, symmetric, release a: the average of many
people's scans, with maps of how much of each place is grey and white matter. It is one
brain, and each side of it is the exact mirror image of the other, so it shows that a
segmentation works, and ranks nothing. Parts to train and to test on have to be blocks
of slices, never the two sides.

Nilearn is BSD-licensed; its description of the template states that its licence is
unknown. Fonov, Evans, McKinstry, Almli, Collins (2009), Unbiased nonlinear average
age-appropriate brain templates from birth to adulthood, NeuroImage 47, S102.
"""

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

FILES = {
    kind: f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    for kind in ("t1", "gm", "wm")
}
# From left to right, from back to front, from bottom to top, 1 mm each.
SHAPE = (197, 233, 189)
# The header of a NIfTI-1 file of unsigned bytes: its length, the number of axes, the
# type, where the values start, and the end.
N_BYTES, UINT8, START, MAGIC = 348, 2, 352.0, b"n+1\0"

TISSUES = ["background", "grey matter", "white matter", "other"]


def load_brain_slices(folder=None, *, min_brain=0.05):
    """Load axial slices of the template, and the tissue of each pixel.

    Parameters
    ----------
    folder : path-like, default=None
        The folder with the files; ``None`` is that of the installed nilearn, which is
        found but not imported.
    min_brain : float, default=0.05
        The smallest part of a slice that is brain.

    Returns
    -------
    data : Bunch
        ``images`` (n_slices, 233, 197) uint8, front at the end; ``target`` of the same
        shape, uint8, the tissue that most of a pixel is, an index into
        ``target_names``; ``slices`` (n_slices,), their places from the bottom.

    Raises
    ------
    FileNotFoundError
        If a file or nilearn is missing.
    ValueError
        If a file is not the expected one.
    """
    folder = find_nilearn() if folder is None else Path(folder)
    scan, grey, white = (read_nifti(folder / name) for name in FILES.values())
    # Wide enough for what is left of the whole.
    rest = 255 - grey.astype(np.int16) - white
    tissue = 1 + np.argmax([grey, white, rest], axis=0).astype(np.uint8)
    # The scan is stripped of all that is no brain.
    target = np.where(scan > 0, tissue, 0).astype(np.uint8)
    slices = np.flatnonzero((target > 0).mean(axis=(1, 2)) > min_brain)
    return Bunch(
        images=scan[slices],
        target=target[slices],
        target_names=list(TISSUES),
        slices=slices,
    )


def find_nilearn():
    """Return the folder with nilearn's own volumes."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None:
        raise FileNotFoundError(
            "nilearn is not installed; install it (`pip install nilearn`), or pass the "
            f"folder that holds {', '.join(FILES.values())}."
        )
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def read_nifti(path):
    """Return the volume of one file, slices first, then rows from the back."""
    n_values = int(np.prod(SHAPE))
    with gzip.open(path) as file:
        raw = file.read(int(START) + n_values + 1)
    header = raw[:N_BYTES].ljust(N_BYTES, b"\0")
    (length,) = struct.unpack("<i", header[:4])
    _, *shape = struct.unpack("<4h", header[40:48])
    (dtype,) = struct.unpack("<h", header[70:72])
    (start,) = struct.unpack("<f", header[108:112])
    found = (length, tuple(shape), dtype, start, header[344:], len(raw) - START)
    expected = (N_BYTES, SHAPE, UINT8, START, MAGIC, n_values)
    if found != expected:
        raise ValueError(f"{path} must have the header {expected}, got {found}.")
    return np.frombuffer(raw, np.uint8, offset=int(START)).reshape(SHAPE[::-1])
