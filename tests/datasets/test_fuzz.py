"""Random damage: every reader answers with an error, or with what is there."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from skcaps.datasets import _affnist
from skcaps.datasets._affnist import read_affnist
from skcaps.datasets._idx import read_idx
from skcaps.datasets._norb_format import read_norb
from skcaps.datasets._npz import read_npz

N_DAMAGES = 300
SIDE = 12


def idx_file(images):
    return struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes()


def norb_file(images):
    return struct.pack("<Ii3i", 0x1E3D4C55, 3, *images.shape) + images.tobytes()


def mat_file(images, **options):
    file = io.BytesIO()
    columns = images.reshape(len(images), -1).T
    labels = np.arange(len(images), dtype=np.uint8)[None]
    record = {"image": columns, "label_int": labels, "more": ["text", 1.5]}
    savemat(file, {"affNISTdata": record}, **options)
    return file.getvalue()


def zip_file(images):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.mat", mat_file(images))
    return file.getvalue()


def npz_file(images):
    file = io.BytesIO()
    np.savez_compressed(file, images=images)
    return file.getvalue()


def read_images(path):
    return read_npz(path, {"images": (7, SIDE, SIDE)}, np.dtype(np.uint8))


# The name of a file, what is in it, and its reader.
FORMATS = {
    "idx": ("a.gz", lambda x: gzip.compress(idx_file(x)), read_idx),
    "norb": ("a.mat", norb_file, read_norb),
    "norb-gzip": ("a.mat.gz", lambda x: gzip.compress(norb_file(x)), read_norb),
    "affnist": ("a.mat", mat_file, read_affnist),
    "affnist-deflated": (
        "a.mat",
        lambda x: mat_file(x, do_compression=True),
        read_affnist,
    ),
    "affnist-zip": ("a.mat.zip", zip_file, read_affnist),
    "npz": ("a.npz", npz_file, read_images),
}


def where_the_tags_are(damage):
    """Damage the beginning alone."""
    return lambda data, rng: damage(data[:400], rng) + data[400:]


@pytest.mark.parametrize("name", FORMATS)
def test_random_damage(tmp_path, rng, monkeypatch, damages, name):
    monkeypatch.setattr(_affnist, "SIDE", SIDE)
    monkeypatch.setattr(_affnist, "N_SAMPLES", 7)
    file_name, make, read = FORMATS[name]
    images = rng.integers(0, 256, (7, SIDE, SIDE), dtype=np.uint8)
    data, path = make(images), tmp_path / file_name
    options = {"limit": 10_000} if read in (read_idx, read_norb) else {}
    chosen = [*damages, where_the_tags_are(damages[0])]
    tracemalloc.start()
    n_errors = 0
    for number in range(N_DAMAGES):
        path.write_bytes(chosen[number % len(chosen)](data, rng))
        try:
            read(path, **options)
        except ValueError:
            n_errors += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_errors > N_DAMAGES / 10
    assert peak < 4 << 20
