# Nothing here imports skcaps at the top: a failing import is then a failing test,
# and not a session that cannot start.
import os
from pathlib import Path

import numpy as np
import pytest


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
