"""Classes as texts, and which are mistakes."""

from __future__ import annotations

import numpy as np

from skcaps.inspection._drawing import MISTAKE_SIGN
from skcaps.inspection._sheet import TextRow


def to_text(label) -> str:
    """Name one class, or the several of an indicator's row."""
    if np.ndim(label) == 0:
        return str(label)
    return "+".join(map(str, np.flatnonzero(label))) or "none"


def class_rows(y_true, y_pred):
    """Return the rows of texts that name classes, and which images are mistakes.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_images,) or (n_images, n_classes) or None

    Returns
    -------
    rows : list of TextRow
    mistakes : ndarray of bool of shape (n_images,) or None
        None where one of both is not known.
    """
    named = {"true class": y_true, "predicted": y_pred}
    texts = {
        name: [to_text(label) for label in y]
        for name, y in named.items()
        if y is not None
    }
    mistakes = None
    if len(texts) == 2:
        differs = np.asarray(y_true) != np.asarray(y_pred)
        mistakes = differs.reshape(len(differs), -1).any(axis=1)
        texts["predicted"] = [
            f"{MISTAKE_SIGN} {text}" if mistake else text
            for text, mistake in zip(texts["predicted"], mistakes, strict=True)
        ]
    return [TextRow(name, found) for name, found in texts.items()], mistakes
