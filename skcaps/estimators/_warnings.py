"""Warnings that point to the line of the user."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import sklearn
import torch

# scikit-learn's callbacks and torch's decorators stand between a user and us.
_NOT_THE_USERS = (
    str(Path(__file__).parents[1]),
    *(str(Path(package.__path__[0])) for package in (sklearn, torch)),
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first caller outside of skcaps, scikit-learn and torch."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
