import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# The scripts import each other as they do when one of them is run.
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture
def generated(monkeypatch):
    """Put generated images in the place of all data sets."""
    from ._generated import install

    install(monkeypatch.setattr)
