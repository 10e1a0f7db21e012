# Nothing here imports skcaps at the top: a failing import is then a failing test,
# and not a session that cannot start.
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture
def rng():
    """A random generator that starts the same way in every test."""
    return np.random.default_rng(0)


@pytest.fixture
def data_home():
    """The folder with the real data sets; the test is skipped without it."""
    home = os.environ.get("SKCAPS_DATA")
    if not home:
        pytest.skip("the environment variable SKCAPS_DATA is not set")
    if not Path(home).is_dir():
        pytest.skip(f"SKCAPS_DATA is {home}, which is no folder")
    return Path(home)


@pytest.fixture
def references(data_home):
    """Open a file of values computed with the authors' code, as tensors."""
    folder = data_home.parent / "references"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")

    def load(name, case):
        with np.load(folder / f"{name}.npz") as file:
            return {
                key.removeprefix(f"{case}/"): torch.as_tensor(file[key])
                for key in file.files
                if key.startswith(f"{case}/")
            }

    return load


def flip(data, rng):
    """Change one bit."""
    place = int(rng.integers(len(data)))
    changed = bytes([data[place] ^ 1 << rng.integers(8)])
    return data[:place] + changed + data[place + 1 :]


def cut(data, rng):
    """Leave the end out."""
    return data[: rng.integers(len(data))]


def splice(data, rng):
    """Take a part out, and put it in elsewhere in the place of another."""
    start, place = rng.integers(len(data), size=2)
    part = data[start : start + int(rng.integers(64))]
    return data[:place] + part + data[place + int(rng.integers(64)) :]


def overwrite(data, rng):
    """Put an extreme number somewhere."""
    place = int(rng.integers(len(data)))
    number = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1][rng.integers(7)]
    return data[:place] + struct.pack("<Q", number) + data[place + 8 :]


@pytest.fixture
def damages():
    """Functions that damage the bytes of a file at random."""
    return [flip, cut, splice, overwrite]
