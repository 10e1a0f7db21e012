"""Masks: a label for every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skcaps.functional import odds_logits

_UNKNOWN = -1
# What a mask calls its background, where it says so.
_BACKGROUNDS = (0, "background")
# Each class has a capsule at every pixel, and grey values are no labels.
_MOST_CLASSES = 256


@dataclass(frozen=True, eq=False)
class MaskLabels:
    """A class for each pixel; all but the background have a capsule.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted.
    background : int
        Which of them has no capsule.
    ignored : object
        The label of pixels whose class is not known.
    flat : bool
        Whether a mask is a row of pixels.
    """

    classes: np.ndarray
    background: int
    ignored: Any
    flat: bool

    @property
    def n_capsules(self) -> int:
        """How many capsules stand for them."""
        return len(self.classes) - 1

    @property
    def options(self) -> dict[str, Any]:
        """All else that they are made of."""
        return {
            "background": self.background,
            "ignored": self.ignored,
            "flat": self.flat,
        }

    @property
    def order(self) -> np.ndarray:
        """The places in `classes` of the background and of each capsule's class."""
        places = np.arange(len(self.classes))
        return np.r_[self.background, np.delete(places, self.background)]

    def encode(self, masks: np.ndarray) -> np.ndarray:
        """Return 0 for the background, 1 and more for capsules, -1 for the unknown.

        Raises
        ------
        ValueError
            If a label is not in `classes`.
        """
        known = is_known(masks, self.ignored)
        unknown = np.setdiff1d(masks[known], self.classes)
        if len(unknown):
            raise ValueError(
                f"y has labels {unknown.tolist()} that are not in classes "
                f"{self.classes.tolist()}, which the first call to fit or partial_fit "
                "has set."
            )
        places = np.searchsorted(self.classes, np.where(known, masks, self.classes[0]))
        numbers = np.argsort(self.order).astype(np.int16)
        return np.where(known, numbers[places], np.int16(_UNKNOWN))

    def ignored_in(self, masks: np.ndarray) -> Any:
        """Return the label of unknown pixels, or None where no pixel has it."""
        return None if is_known(masks, self.ignored).all() else self.ignored

    def to_rows(self, encoded: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the encoded masks; there is nothing to add."""
        return encoded

    def mark(self, encoded: Tensor) -> tuple[Tensor, ...]:
        """Return nothing: a decoder needs no more than the masks."""
        return ()

    def decide(self, found: Tensor) -> Tensor:
        """Return encoded masks: the longest capsule's class, or the background.

        A capsule shorter than 0.5 says that its class is not there.
        """
        longest, number = found.max(dim=1)
        return torch.where(longest > 0.5, number + 1, 0).to(torch.int16)

    def probabilities(self, found: Tensor) -> Tensor:
        """Return probabilities (batch, n_classes, ...), in the order of `classes`.

        Exactly one class is there, or none: the odds of each capsule against the
        background's 1.
        """
        odds = odds_logits(found)
        both = torch.cat([torch.zeros_like(odds[:, :1]), odds], dim=1)
        return both.softmax(dim=1)[:, np.argsort(self.order).tolist()]

    def to_labels(self, encoded: np.ndarray) -> np.ndarray:
        """Undo `encode`."""
        return self.classes[self.order[encoded]]

    def is_right(self, found: Tensor, masks: Tensor) -> Tensor:
        """Return of each image the share of known pixels whose class is found."""
        known = masks >= 0
        right = (self.decide(found) == masks) & known
        return right.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)


def find_masks(
    masks: np.ndarray, classes, *, background, ignored, flat: bool
) -> MaskLabels:
    """Find the classes of the first masks, where they are not given.

    Raises
    ------
    ValueError
        If no pixel is labelled, there is one class or far too many, the label of what
        is not known is among them, or the background is not.
    """
    known = is_known(masks, ignored)
    if not known.any():
        raise ValueError(
            f"y must have a labelled pixel, got only ignore_label={ignored!r}."
        )
    found = np.unique(masks[known]) if classes is None else classes
    if not is_known(found, ignored).all():
        raise ValueError(
            f"classes must not hold ignore_label={ignored!r}, got {found.tolist()}; "
            "leave it out, or set another ignore_label."
        )
    if len(found) < 2:
        raise ValueError(
            "y must hold at least 2 classes, one of them the background; got 1 class: "
            f"{found.tolist()}."
        )
    if len(found) > _MOST_CLASSES:
        raise ValueError(
            f"y must hold at most {_MOST_CLASSES} classes, got {len(found)}; are these "
            "grey values instead of labels?"
        )
    return MaskLabels(found, _find_background(found, background), ignored, flat)


def is_known(masks: np.ndarray, ignored) -> np.ndarray:
    """Return which pixels are labelled."""
    is_text = masks.dtype.kind in "OU"
    if ignored is None or is_text != isinstance(ignored, str):
        return np.ones(masks.shape, dtype=bool)
    return np.asarray(masks != ignored)


def _find_background(classes: np.ndarray, chosen) -> int:
    labels = classes.tolist()
    if chosen != "auto" or "auto" in labels:
        if chosen not in labels:
            raise ValueError(
                f"background_label must be one of the labels {labels} or "
                f'"auto", got {chosen!r}.'
            )
        return labels.index(chosen)
    named = [label for label in _BACKGROUNDS if label in labels]
    return labels.index(named[0]) if named else 0
